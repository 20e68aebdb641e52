//! What can be said of an expression before any message comes: held against the schemas of the types that it is for.
//! CEL itself finds a misspelt field or a comparison of text with a number only when a message has it (cel-spec,
//! "Gradual type checking"; the checker of cel-go has no counterpart in the crate).

use cel::IdedExpr;
use cel::common::ast::{CallExpr, Expr, LiteralValue, SelectExpr, operators};
use serde_json::Value;
use std::collections::BTreeSet;

const DEPTH_MAX: usize = 16;

/// What an expression is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// A condition: `true` or `false`.
    Truth,
    /// A key: text, a number, or null for none.
    Key,
}

/// Something wrong with an expression.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mistake {
    pub text: String,
    /// What was written, and what could have been meant.
    pub unknown: Option<(String, Vec<String>)>,
    /// Fails for every message; else for those that lack an optional field.
    pub certain: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Unknown,
    Truth,
    Text,
    Number,
    List,
    Fields,
    Moment,
    Span,
    Null,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Unknown => "something unknown",
            Self::Truth => "true or false",
            Self::Text => "text",
            Self::Number => "a number",
            Self::List => "a list",
            Self::Fields => "an object",
            Self::Moment => "a timestamp",
            Self::Span => "a duration",
            Self::Null => "null",
        }
    }
}

/// Functions of the standard library with what they give (cel-spec, "List of Standard Definitions").
const FUNCTIONS: &[(&str, Kind)] = &[
    ("size", Kind::Number),
    ("int", Kind::Number),
    ("uint", Kind::Number),
    ("double", Kind::Number),
    ("string", Kind::Text),
    ("bool", Kind::Truth),
    ("bytes", Kind::Unknown),
    ("dyn", Kind::Unknown),
    ("type", Kind::Unknown),
    ("timestamp", Kind::Moment),
    ("duration", Kind::Span),
    ("contains", Kind::Truth),
    ("startsWith", Kind::Truth),
    ("endsWith", Kind::Truth),
    ("matches", Kind::Truth),
    ("getFullYear", Kind::Number),
    ("getMonth", Kind::Number),
    ("getDate", Kind::Number),
    ("getDayOfMonth", Kind::Number),
    ("getDayOfWeek", Kind::Number),
    ("getDayOfYear", Kind::Number),
    ("getHours", Kind::Number),
    ("getMinutes", Kind::Number),
    ("getSeconds", Kind::Number),
    ("getMilliseconds", Kind::Number),
];

/// Everything wrong with `expression` for messages of these types.
pub(crate) fn mistakes(expression: &IdedExpr, types: &[(&str, &Value)], wanted: Wanted) -> Vec<Mistake> {
    let mut found = BTreeSet::new();
    // Without a schema the data is unknown, and the rest still has types.
    let unknown = Value::Bool(true);
    let none = [("", &unknown)];
    for (name, schema) in if types.is_empty() { &none } else { types } {
        let mut guards = BTreeSet::new();
        tested(expression, &mut guards);
        let mut check = Check { name, root: schema, guards, found: &mut found };
        let kind = check.infer(expression);
        let fits = match wanted {
            Wanted::Truth => matches!(kind, Kind::Truth | Kind::Unknown),
            Wanted::Key => matches!(kind, Kind::Text | Kind::Number | Kind::Null | Kind::Unknown),
        };
        if !fits {
            let needed = if wanted == Wanted::Truth { "true or false" } else { "text, a number or null" };
            check.wrong(format!("it gives {}, and must give {needed}", kind.name()));
        }
    }
    found.into_iter().collect()
}

struct Check<'a> {
    name: &'a str,
    root: &'a Value,
    /// Paths that the expression asks for by `has`.
    guards: BTreeSet<Vec<String>>,
    found: &'a mut BTreeSet<Mistake>,
}

/// The fields from `data` on, where the expression is such a path.
fn path(expression: &Expr) -> Option<Vec<String>> {
    match expression {
        Expr::Ident(name) if name == "data" => Some(Vec::new()),
        Expr::Select(select) if !select.test => {
            let mut fields = path(&select.operand.expr)?;
            fields.push(select.field.clone());
            Some(fields)
        }
        _ => None,
    }
}

/// Paths in all `has(…)` of an expression.
fn tested(expression: &IdedExpr, into: &mut BTreeSet<Vec<String>>) {
    if let Expr::Select(SelectExpr { operand, field, test: true }) = &expression.expr
        && let Some(mut fields) = path(&operand.expr)
    {
        fields.push(field.clone());
        into.insert(fields);
    }
    parts(expression).into_iter().for_each(|part| tested(part, into));
}

/// Names that an expression itself gives: of the elements that `exists`, `all`, `map` and the like go through.
pub(crate) fn bound(expression: &IdedExpr, into: &mut BTreeSet<String>) {
    if let Expr::Comprehension(all) = &expression.expr {
        into.extend([all.iter_var.clone(), all.accu_var.clone()].into_iter().chain(all.iter_var2.clone()));
    }
    parts(expression).into_iter().for_each(|part| bound(part, into));
}

fn parts(expression: &IdedExpr) -> Vec<&IdedExpr> {
    match &expression.expr {
        Expr::Call(call) => call.target.iter().map(Box::as_ref).chain(&call.args).collect(),
        Expr::Select(select) => vec![&select.operand],
        Expr::List(list) => list.elements.iter().collect(),
        Expr::Comprehension(all) => {
            vec![&all.iter_range, &all.accu_init, &all.loop_cond, &all.loop_step, &all.result]
        }
        _ => Vec::new(),
    }
}

impl Check<'_> {
    fn wrong(&mut self, text: String) {
        let of = if self.name.is_empty() { String::new() } else { format!(" (`{}`)", self.name) };
        self.found.insert(Mistake { text: format!("{text}{of}"), unknown: None, certain: true });
    }

    fn infer(&mut self, expression: &IdedExpr) -> Kind {
        match &expression.expr {
            Expr::Literal(literal) => match literal {
                LiteralValue::Boolean(_) => Kind::Truth,
                LiteralValue::String(_) => Kind::Text,
                LiteralValue::Int(_) | LiteralValue::UInt(_) | LiteralValue::Double(_) => Kind::Number,
                LiteralValue::Null => Kind::Null,
                LiteralValue::Bytes(_) => Kind::Unknown,
            },
            Expr::Ident(name) if name == "data" => Kind::Fields,
            Expr::Ident(name) if crate::route::VARIABLES.contains(&name.as_str()) => Kind::Text,
            Expr::Select(select) => self.select(expression, select),
            Expr::Call(call) => self.call(call),
            Expr::List(list) => {
                for element in &list.elements {
                    self.infer(element);
                }
                Kind::List
            }
            Expr::Map(_) | Expr::Struct(_) => Kind::Fields,
            Expr::Comprehension(_) => {
                for part in parts(expression) {
                    self.infer(part);
                }
                Kind::Unknown
            }
            Expr::Ident(_) | Expr::Unspecified => Kind::Unknown,
        }
    }

    fn select(&mut self, expression: &IdedExpr, select: &SelectExpr) -> Kind {
        let fields = if select.test { path(&select.operand.expr) } else { path(&expression.expr) };
        let Some(mut fields) = fields else {
            let kind = self.infer(&select.operand);
            if !matches!(kind, Kind::Fields | Kind::Unknown) {
                self.wrong(format!("`.{}` is asked of {}", select.field, kind.name()));
            }
            return if select.test { Kind::Truth } else { Kind::Unknown };
        };
        if !select.test {
            return self.at(&fields, true);
        }
        self.at(&fields, true);
        fields.push(select.field.clone());
        self.at(&fields, false);
        Kind::Truth
    }

    /// What stands at a path, and whether it is there; `read`: its value is needed, not only whether it is there.
    fn at(&mut self, fields: &[String], read: bool) -> Kind {
        let mut nodes = vec![self.root];
        for (depth, field) in fields.iter().enumerate() {
            let flat: Vec<&Value> = nodes.iter().flat_map(|node| flattened(self.root, node)).collect();
            let found: Vec<&Value> = flat.iter().filter_map(|node| node.get("properties")?.get(field)).collect();
            let so_far = fields.get(..=depth).unwrap_or_default();
            let shown = format!("data.{}", so_far.join("."));
            if found.is_empty() {
                let names = flat.iter().filter_map(|node| node.get("properties")?.as_object()).flat_map(|p| p.keys());
                let known: Vec<String> = names.cloned().collect();
                if !known.is_empty() {
                    self.found.insert(Mistake {
                        text: format!("`{}` has no field `{shown}`", self.name),
                        unknown: Some((field.clone(), known)),
                        certain: true,
                    });
                }
                return Kind::Unknown;
            }
            let is_last = depth + 1 == fields.len();
            let required = nodes.iter().all(|node| requires(self.root, node, field, 0));
            if !required && (read || !is_last) && !self.guards.contains(so_far) {
                self.found.insert(Mistake {
                    text: format!("`{shown}` may be missing in `{}`: ask first, `has({shown}) && …`", self.name),
                    unknown: None,
                    certain: false,
                });
            }
            nodes = found;
        }
        kind_of(self.root, &nodes)
    }

    fn call(&mut self, call: &CallExpr) -> Kind {
        let target = call.target.as_ref().map(|target| self.infer(target));
        let kinds: Vec<Kind> = call.args.iter().map(|argument| self.infer(argument)).collect();
        let pair = match kinds[..] {
            [left, right] => Some((left, right)),
            _ => None,
        };
        match (call.func_name.as_str(), pair) {
            (operators::LOGICAL_AND | operators::LOGICAL_OR, Some((left, right))) => {
                self.truths(&[left, right]);
                Kind::Truth
            }
            (operators::LOGICAL_NOT, _) => {
                self.truths(&kinds);
                Kind::Truth
            }
            (operators::EQUALS | operators::NOT_EQUALS, Some((left, right))) => {
                if !alike(left, right) && left != Kind::Null && right != Kind::Null {
                    self.wrong(format!("{} is compared with {}: they are never equal", left.name(), right.name()));
                }
                self.among(call);
                Kind::Truth
            }
            (
                operators::GREATER | operators::GREATER_EQUALS | operators::LESS | operators::LESS_EQUALS,
                Some((l, r)),
            ) => {
                if !alike(l, r) {
                    self.wrong(format!("{} is compared with {}", l.name(), r.name()));
                }
                Kind::Truth
            }
            (operators::IN, Some((_, right))) => {
                if !matches!(right, Kind::List | Kind::Fields | Kind::Unknown) {
                    self.wrong(format!("`in` looks into {}", right.name()));
                }
                self.among(call);
                Kind::Truth
            }
            (operators::ADD, Some((left, right))) if left == right => left,
            (
                operators::SUBSTRACT | operators::MULTIPLY | operators::DIVIDE | operators::MODULO,
                Some((left, right)),
            ) => {
                let fits = |kind| !matches!(kind, Kind::Text | Kind::Truth | Kind::List | Kind::Fields | Kind::Null);
                if !fits(left) || !fits(right) {
                    self.wrong(format!("it calculates with {} and {}", left.name(), right.name()));
                }
                if left == right && left == Kind::Number { Kind::Number } else { Kind::Unknown }
            }
            (operators::CONDITIONAL, _) => match kinds[..] {
                [condition, yes, no] => {
                    self.truths(&[condition]);
                    if yes == no { yes } else { Kind::Unknown }
                }
                _ => Kind::Unknown,
            },
            (name, _) => self.function(name, target),
        }
    }

    fn function(&mut self, name: &str, target: Option<Kind>) -> Kind {
        let is_operator = !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '.');
        let Some((_, kind)) = FUNCTIONS.iter().find(|(known, _)| *known == name) else {
            if !is_operator {
                let known = FUNCTIONS.iter().map(|(known, _)| (*known).to_string()).collect();
                let unknown = Some((name.to_string(), known));
                self.found.insert(Mistake { text: format!("there is no function `{name}`"), unknown, certain: true });
            }
            return Kind::Unknown;
        };
        let of_text = ["contains", "startsWith", "endsWith", "matches"].contains(&name);
        if let Some(target) = target.filter(|target| of_text && !matches!(target, Kind::Text | Kind::Unknown)) {
            self.wrong(format!("`{name}` is asked of {}, and is for text", target.name()));
        }
        *kind
    }

    fn truths(&mut self, kinds: &[Kind]) {
        for kind in kinds.iter().filter(|kind| !matches!(kind, Kind::Truth | Kind::Unknown)) {
            self.wrong(format!("{} stands where true or false is needed", kind.name()));
        }
    }

    /// A text that a field is compared with, and that is none of the words the schema lists for it.
    fn among(&mut self, call: &CallExpr) {
        let [left, right] = &call.args[..] else { return };
        let texts = |expression: &IdedExpr| -> Vec<String> {
            let elements = match &expression.expr {
                Expr::List(list) => list.elements.iter().collect(),
                _ => vec![expression],
            };
            let text = |e: &IdedExpr| match &e.expr {
                Expr::Literal(LiteralValue::String(text)) => Some(text.inner().to_string()),
                _ => None,
            };
            elements.into_iter().filter_map(text).collect()
        };
        for (field, other) in [(left, right), (right, left)] {
            let Some(fields) = path(&field.expr) else { continue };
            let words = self.words(&fields);
            for text in texts(other).into_iter().filter(|text| !words.is_empty() && !words.contains(text)) {
                let shown = format!("data.{}", fields.join("."));
                self.found.insert(Mistake {
                    text: format!("`{shown}` of `{}` is never `{text}`", self.name),
                    unknown: Some((text, words.clone())),
                    certain: true,
                });
            }
        }
    }

    /// The words that the schema allows at a path; none where it does not list them.
    fn words(&self, fields: &[String]) -> Vec<String> {
        let mut nodes = vec![self.root];
        for field in fields {
            let flat = nodes.iter().flat_map(|node| flattened(self.root, node));
            nodes = flat.filter_map(|node| node.get("properties")?.get(field)).collect();
        }
        let flat: Vec<&Value> = nodes.iter().flat_map(|node| flattened(self.root, node)).collect();
        let lists = flat.iter().filter_map(|node| node.get("enum")?.as_array());
        lists.flatten().filter_map(|word| word.as_str().map(str::to_string)).collect()
    }
}

fn alike(left: Kind, right: Kind) -> bool {
    left == right || left == Kind::Unknown || right == Kind::Unknown
}

/// A schema with what it refers to and is put together of.
fn flattened<'a>(root: &'a Value, schema: &'a Value) -> Vec<&'a Value> {
    let mut all = vec![schema];
    let mut at = 0;
    while let Some(node) = all.get(at).copied() {
        let target = node.get("$ref").and_then(Value::as_str).and_then(|text| text.strip_prefix('#'));
        all.extend(target.and_then(|target| root.pointer(target)));
        for word in ["allOf", "anyOf", "oneOf"] {
            all.extend(node.get(word).and_then(Value::as_array).into_iter().flatten());
        }
        at += 1;
        if all.len() > 1_000 {
            break;
        }
    }
    all
}

/// Whether every value of a schema has the field.
fn requires(root: &Value, schema: &Value, field: &str, depth: usize) -> bool {
    if depth > DEPTH_MAX {
        return false;
    }
    let listed = schema.get("required").and_then(Value::as_array).into_iter().flatten();
    let target = schema.get("$ref").and_then(Value::as_str).and_then(|text| text.strip_prefix('#'));
    let parts = |word: &str| schema.get(word).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default().iter();
    let every = |word: &str| parts(word).len() > 0 && parts(word).all(|part| requires(root, part, field, depth + 1));
    listed.into_iter().any(|name| name == field)
        || target.and_then(|target| root.pointer(target)).is_some_and(|part| requires(root, part, field, depth + 1))
        || parts("allOf").any(|part| requires(root, part, field, depth + 1))
        || every("anyOf")
        || every("oneOf")
}

fn kind_of(root: &Value, nodes: &[&Value]) -> Kind {
    let flat: Vec<&Value> = nodes.iter().flat_map(|node| flattened(root, node)).collect();
    let mut kinds = flat.iter().filter_map(|node| node.get("type")).map(|name| match name.as_str() {
        Some("string") => Kind::Text,
        Some("integer" | "number") => Kind::Number,
        Some("boolean") => Kind::Truth,
        Some("array") => Kind::List,
        Some("object") => Kind::Fields,
        _ => Kind::Unknown,
    });
    let first = kinds.next().unwrap_or(Kind::Unknown);
    if kinds.all(|kind| kind == first) { first } else { Kind::Unknown }
}
