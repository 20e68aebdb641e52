//! Routes: which message types go to which systems, under which condition, with which key.
//! Expressions are CEL (cel.dev): they always end, and have no effects.

use crate::error::{Code, Problem};
use crate::journal::Journal;
use crate::message::Message;
use cel::{Context, Env, Program, Value};
use std::sync::{Arc, LazyLock};

/// Names an expression may use.
pub const VARIABLES: &[&str] = &["id", "source", "type", "subject", "time", "partitionkey", "correlationid", "data"];

static ENV: LazyLock<Arc<Env>> = LazyLock::new(|| Arc::new(Env::stdlib()));

/// One route of the deployment.
#[derive(Debug)]
pub struct Route {
    /// Exact types, or `*` for every message (questions are named).
    pub types: Vec<String>,
    /// Names of systems.
    pub to: Vec<String>,
    pub when: Option<Expr>,
    /// Default: `partitionkey`, else `subject`.
    pub key: Option<Expr>,
    pub journal: Journal,
}

impl Route {
    pub fn covers(&self, kind: &str) -> bool {
        self.types.iter().any(|t| t == "*" || t == kind)
    }
}

/// A compiled CEL expression over a message.
#[derive(Debug)]
pub struct Expr {
    source: String,
    program: Program,
}

impl Expr {
    /// # Errors
    /// What is wrong, for a person: syntax, or a name that is not one of [`VARIABLES`].
    pub fn compile(source: &str) -> Result<Self, String> {
        let program = ENV.compile(source).map_err(|e| e.to_string())?;
        let unknown: Vec<_> = program
            .references()
            .variables()
            .into_iter()
            .filter(|name| !VARIABLES.contains(name))
            .map(|name| format!("`{name}`"))
            .collect();
        if unknown.is_empty() {
            return Ok(Self { source: source.to_string(), program });
        }
        Err(format!("unknown name {}; known are {}", unknown.join(", "), VARIABLES.join(", ")))
    }

    /// # Errors
    /// `condition-failed` when it cannot be evaluated or is not a boolean.
    pub fn truth(&self, scope: &Scope) -> Result<bool, Problem> {
        match self.evaluate(scope)? {
            Value::Bool(yes) => Ok(yes),
            other => Err(self.failed(format!("gave {other:?}, not a boolean"))),
        }
    }

    /// The value as a key; null is no key.
    ///
    /// # Errors
    /// `condition-failed` when it cannot be evaluated or is not a string, a number or null.
    pub fn text(&self, scope: &Scope) -> Result<Option<String>, Problem> {
        match self.evaluate(scope)? {
            Value::Null => Ok(None),
            Value::String(text) => Ok(Some(text.to_string())),
            Value::Int(number) => Ok(Some(number.to_string())),
            Value::UInt(number) => Ok(Some(number.to_string())),
            other => Err(self.failed(format!("gave {other:?}, not a string"))),
        }
    }

    fn evaluate(&self, scope: &Scope) -> Result<Value, Problem> {
        self.program.execute(&scope.context).map_err(|e| self.failed(e.to_string()))
    }

    fn failed(&self, detail: String) -> Problem {
        Problem::new(Code::ConditionFailed, format!("expression `{}`: {detail}", self.source))
    }
}

/// What expressions see of one message.
pub struct Scope {
    context: Context<'static, 'static>,
}

impl Scope {
    /// # Errors
    /// `condition-failed` when the data has no CEL form.
    pub fn of(message: &Message) -> Result<Self, Problem> {
        let mut context = Context::with_env(ENV.clone());
        let optional = |text: &Option<String>| text.clone().unwrap_or_default();
        for (name, value) in [
            ("id", message.id.clone()),
            ("source", message.source.clone()),
            ("type", message.r#type.clone()),
            ("subject", optional(&message.subject)),
            ("time", optional(&message.time)),
            ("partitionkey", optional(&message.partitionkey)),
            ("correlationid", optional(&message.correlationid)),
        ] {
            context.add_variable_from_value(name, value);
        }
        let bad = |e: &dyn std::fmt::Display| Problem::new(Code::ConditionFailed, e.to_string()).at("/data");
        let data = cel::to_value(&*message.data).map_err(|e| bad(&e))?;
        context.add_variable_from_value("data", data);
        Ok(Self { context })
    }
}
