//! The rules of delivery are core's: what can be read off the server's sources of that.

use super::code::below;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

/// Of core, what decides about deliveries: the engine and the stores' plan are asked as a whole, never in part.
const RULES: &[&str] = &["decide", "Next", "Lanes", "Breaker"];
const STATES: &[&str] = &["Ready", "Done", "Parked", "Waiting", "Dead", "Skipped"];
/// What was decided, as a record: only core makes one.
const DECIDED: &[&str] = &["Attempted", "Accepted"];

/// - backoff: `decide` is not called, and its settings are only read and handed over;
/// - parking, and going on: states of deliveries are named by the store alone, which writes and reads them, and nobody
///   sets one;
/// - order: no lane is looked into;
/// - repeats: nobody says that a message was accepted, or is one that is known, or compares what tells that.
pub fn rules(path: &str, text: &str) -> Vec<String> {
    let part = path.trim_start_matches("host/server/src/");
    let is_store = part.starts_with("store");
    let mut faults = Vec::new();
    let mut fault = |line: usize, what: String| faults.push(format!("{path}:{line}: {what}; that is core's"));
    for (line, name) in below(text, "busbar_core", RULES) {
        fault(line, format!("`{name}` decides about a delivery"));
    }
    if !is_store {
        for (line, name) in
            below(text, "busbar_core", &["commit"]).into_iter().chain(below(text, "DeliveryState", STATES))
        {
            fault(line, format!("`{name}` is for the store"));
        }
    }
    // These hand the settings over.
    let knows_settings = ["config/model.rs", "deployment/rules.rs"].contains(&part);
    let mut seen = Seen { found: Vec::new(), backoff: !knows_settings };
    if let Ok(parsed) = syn::parse_file(text) {
        seen.visit_file(&parsed);
    }
    // It measures the store with records of its own.
    let found = seen.found.into_iter().filter(|_| part != "store/bench.rs");
    found.for_each(|(line, what)| fault(line, what));
    faults
}

struct Seen {
    found: Vec<(usize, String)>,
    /// Whether the settings of the backoff may not be named.
    backoff: bool,
}

impl Seen {
    fn see(&mut self, span: proc_macro2::Span, what: String) {
        self.found.push((span.start().line, what));
    }
}

fn field(expr: &syn::Expr) -> Option<String> {
    match expr {
        syn::Expr::Field(field) => match &field.member {
            syn::Member::Named(name) => Some(name.to_string()),
            syn::Member::Unnamed(_) => None,
        },
        syn::Expr::MethodCall(call) if call.args.is_empty() => Some(call.method.to_string()),
        syn::Expr::Reference(of) => field(&of.expr),
        syn::Expr::Unary(of) => field(&of.expr),
        _ => None,
    }
}

impl Visit<'_> for Seen {
    fn visit_expr_struct(&mut self, item: &syn::ExprStruct) {
        let name = item.path.segments.last().map(|segment| segment.ident.to_string()).unwrap_or_default();
        // A variant of something else may be called so.
        if item.path.segments.iter().all(|s| DECIDED.contains(&&*s.ident.to_string()) || s.ident == "busbar_core")
            && DECIDED.contains(&name.as_str())
        {
            self.see(item.span(), format!("`{name}` says what was decided"));
        }
        visit::visit_expr_struct(self, item);
    }

    fn visit_expr_binary(&mut self, item: &syn::ExprBinary) {
        let compares = matches!(item.op, syn::BinOp::Eq(_) | syn::BinOp::Ne(_));
        let digest = [&item.left, &item.right].into_iter().any(|side| field(side).as_deref() == Some("digest"));
        if compares && digest {
            self.see(item.span(), "`digest` tells a repeat from another message".into());
        }
        visit::visit_expr_binary(self, item);
    }

    fn visit_ident(&mut self, name: &proc_macro2::Ident) {
        let text = name.to_string();
        if self.backoff && text.contains("backoff") {
            self.see(name.span(), format!("`{text}` says when a delivery is tried again"));
        }
    }
}

#[test]
fn a_rule_in_the_server_is_seen() {
    let of = |path: &str, body: &str| rules(&format!("host/server/src/{path}"), &format!("fn f() {{ {body} }}"));
    for bad in [
        "let next = busbar_core::outcome::decide(&policy, 1, &failure, 0.5, false);",
        "use busbar_core::{Code, outcome::{decide, Failure}};",
        "use busbar_core::Lanes;",
        "use busbar_core::engine::{Breaker, BreakerPolicy};",
        "delivery.state = DeliveryState::Parked;",
        "use busbar_core::DeliveryState::{Ready, Waiting};",
        "select! { _ = x => DeliveryState::Waiting }",
        "let accepted = Accepted { seq, duplicate: true, differs, deliveries };",
        "let attempted = busbar_core::Attempted { delivery, ..known };",
        "if known.digest == new.digest { skip() }",
        "if known.digest() != *new.digest() { skip() }",
        "use busbar_core::commit::Plan;",
        "let after_ms = policy.backoff_first_ms << tries;",
        "let backoff = tries * 500;",
    ] {
        assert_eq!(of("hub/driver.rs", bad).len().min(1), 1, "{bad}");
    }
    for (path, good) in [
        ("hub/driver.rs", "use busbar_core::outcome::pause_ms; DeliveryState::parse(text); DeliveryState::ALL;"),
        ("hub/driver.rs", "if decided == IntakeOutcome::Accepted { accept() } /* decide, DeliveryState::Parked */"),
        ("hub/driver.rs", "let shown = AcceptedMessage { duplicate: accepted.duplicate };"),
        ("store/find.rs", "match state { DeliveryState::Done => finished(), _ => open() }"),
        ("store/write.rs", "use busbar_core::commit::Plan;"),
        ("deployment/rules.rs", "Policy { backoff_first_ms: config.backoff_first_ms };"),
    ] {
        assert_eq!(of(path, good), Vec::<String>::new(), "{good}");
    }
    assert_eq!(of("store/write.rs", "Attempted { state: DeliveryState::Parked, ..attempted };").len(), 1);
}
