//! Routes: which message types go to which systems, under which condition, with which key.
//! Expressions are CEL (cel.dev): they always end, and have no effects.

use crate::error::{Code, Problem};
use crate::journal::Journal;
use crate::message::Message;
use crate::typed::{self, Mistake, Wanted};
use cel::common::ast::{self, CallExpr};
use cel::objects::{Key, Map};
use cel::parser::Macro;
use cel::{Context, Env, Program, Value};
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, LazyLock};

/// Names an expression may use.
pub const VARIABLES: &[&str] = &["id", "source", "type", "subject", "time", "partitionkey", "correlationid", "data"];

static ENV: LazyLock<Arc<Env>> = LazyLock::new(|| {
    let mut env = Env::stdlib();
    // Without a zone a time is asked in UTC (cel-spec, "Timezones"). The crate keeps the offset that the text has, and
    // writes a time in UTC: once through text, there and back, is that time without the offset.
    let utc = Macro::global("timestamp", 1, |helper, _, args| {
        let Some(argument) = args.pop() else { return Ok(None) };
        let mut inner = argument;
        for name in ["timestamp", "string", "timestamp"] {
            let call = CallExpr { func_name: name.into(), target: None, args: vec![inner] };
            inner = helper.next_expr(ast::Expr::Call(call));
        }
        Ok(Some(inner))
    });
    // It can only fail where a macro of that name is there already.
    let _ = env.add_macro(utc);
    Arc::new(env)
});

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
        let mut bound = BTreeSet::new();
        typed::bound(program.expression(), &mut bound);
        let unknown: Vec<_> = program
            .references()
            .variables()
            .into_iter()
            .filter(|name| !VARIABLES.contains(name) && !bound.contains(*name))
            .map(|name| format!("`{name}`"))
            .collect();
        if unknown.is_empty() {
            return Ok(Self { source: source.to_string(), program });
        }
        Err(format!("unknown name {}; known are {}", unknown.join(", "), VARIABLES.join(", ")))
    }

    /// What is wrong with it for messages of these types, by their schemas.
    pub fn mistakes(&self, types: &[(&str, &serde_json::Value)], wanted: Wanted) -> Vec<Mistake> {
        typed::mistakes(self.program.expression(), types, wanted)
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
    pub fn of(message: &Message) -> Self {
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
        context.add_variable_from_value("data", value(&message.data));
        Self { context }
    }
}

/// JSON in CEL. Integers that fit are `int`, whatever their sign: the crate's own conversion makes `uint` of those that
/// are not negative, and then the type of a field, and with it what may be calculated, hangs on its value.
fn value(json: &serde_json::Value) -> Value {
    match json {
        serde_json::Value::Null => Value::Null,
        serde_json::Value::Bool(yes) => Value::Bool(*yes),
        serde_json::Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(int), _) => Value::Int(int),
            (None, Some(uint)) => Value::UInt(uint),
            (None, None) => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        serde_json::Value::String(text) => Value::String(Arc::new(text.clone())),
        serde_json::Value::Array(items) => Value::List(Arc::new(items.iter().map(value).collect())),
        serde_json::Value::Object(fields) => {
            let fields = fields.iter().map(|(name, field)| (Key::String(Arc::new(name.clone())), value(field)));
            Value::Map(Map { map: Arc::new(fields.collect::<HashMap<_, _>>()) })
        }
    }
}
