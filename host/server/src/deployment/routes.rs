//! The checks of the routes, and their compiled form.

use super::adapters::unknown_type;
use super::check::closest;
use super::load::System;
use crate::config::finding::Report;
use crate::config::model::{Config, JournalMode, RouteConfig, ViaKind};
use crate::config::source::Source;
use crate::wasm::Entry;
use busbar_core::{Catalog, Expr, Journal, Mistake, Route, Wanted};
use std::collections::BTreeMap;

pub fn check_routes(
    config: &Config,
    catalog: &Catalog,
    systems: &BTreeMap<String, System>,
    source: &Source,
    report: &mut Report,
) -> Vec<Route> {
    let check = RouteCheck { catalog, systems, source };
    check.shared_types(config, report);
    config.routes.iter().enumerate().map(|(i, route)| check.route(&format!("/routes/{i}"), route, report)).collect()
}

struct RouteCheck<'a> {
    catalog: &'a Catalog,
    systems: &'a BTreeMap<String, System>,
    source: &'a Source,
}

impl RouteCheck<'_> {
    /// All `via = "amqp"` systems listen at one exchange, where the type is the address: a type routed to
    /// two of them would reach both twice.
    fn shared_types(&self, config: &Config, report: &mut Report) {
        let mut owners: BTreeMap<&str, &str> = BTreeMap::new();
        for (r, route) in config.routes.iter().enumerate() {
            for (i, name) in route.to.iter().enumerate() {
                if self.systems.get(name).is_none_or(|s| s.config.via != Some(ViaKind::Amqp)) {
                    continue;
                }
                for kind in &route.types {
                    let owner = *owners.entry(kind).or_insert(name);
                    if owner != name {
                        let span = self.source.value_span(&format!("/routes/{r}/to/{i}"));
                        let message =
                            format!("`{kind}` goes to `{owner}` and `{name}`, both over AMQP: each would get it twice");
                        report.error(
                            "shared-type",
                            span,
                            message,
                            "route it to one of them, and let the other bind its queue to the exchange itself",
                        );
                    }
                }
            }
        }
    }

    fn route(&self, at: &str, route: &RouteConfig, report: &mut Report) -> Route {
        let known: Vec<String> = self.catalog.types().map(str::to_string).collect();
        for (i, name) in route.types.iter().enumerate() {
            let span = self.source.value_span(&format!("{at}/types/{i}"));
            if name != "*" && !self.catalog.contains(name) {
                unknown_type(name, &known, span, report);
            } else if self.catalog.answer_type(name).is_some() && route.to.len() > 1 {
                report.error(
                    "many-answerers",
                    span,
                    format!("`{name}` is a question: exactly one system answers it"),
                    "give the question a route of its own with one system",
                );
            }
        }
        for (i, system) in route.to.iter().enumerate() {
            self.target(&format!("{at}/to/{i}"), system, route, report);
        }
        Route {
            types: route.types.clone(),
            to: route.to.clone(),
            when: self.expression(&format!("{at}/when"), route, route.when.as_deref(), Wanted::Truth, report),
            key: self.expression(&format!("{at}/key"), route, route.key.as_deref(), Wanted::Key, report),
            journal: match route.journal {
                JournalMode::Full => Journal::Full,
                JournalMode::Envelope => Journal::Envelope,
                JournalMode::None => Journal::None,
            },
        }
    }

    fn mistake(&self, place: &str, mistake: Mistake, report: &mut Report) {
        let span = self.source.value_span(place);
        let remedy = match &mistake.unknown {
            Some((word, known)) => closest(word, known)
                .map_or_else(|| format!("known are: {}", known.join(", ")), |near| format!("did you mean `{near}`?")),
            None if mistake.certain => "see the schema of the type: /v1/schemas/<type>".to_string(),
            None => "without it the message is parked as `condition-failed`".to_string(),
        };
        match mistake.certain {
            true => report.error("wrong-expression", span, mistake.text, remedy),
            false => report.warning("unsafe-expression", span, mistake.text, remedy),
        }
    }

    fn target(&self, place: &str, name: &str, route: &RouteConfig, report: &mut Report) {
        let span = self.source.value_span(place);
        let Some(system) = self.systems.get(name) else {
            let names: Vec<String> = self.systems.keys().cloned().collect();
            let remedy = closest(name, &names)
                .map_or_else(|| format!("known are: {}", names.join(", ")), |n| format!("did you mean `{n}`?"));
            report.error("unknown-system", span, format!("no system `{name}`"), remedy);
            return;
        };
        if system.config.via == Some(ViaKind::Http) && route.types.iter().any(|t| self.catalog.answer_type(t).is_some())
        {
            return;
        }
        let Some(file) = &system.adapter else { return };
        for kind in &route.types {
            let question = self.catalog.answer_type(kind).is_some();
            let entry = match (question, &system.config.out) {
                (true, _) => Entry::Answer,
                (false, Some(_)) => Entry::Encode,
                (false, None) if system.config.connection.is_some() => Entry::Connection,
                (false, None) => Entry::Deliver,
            };
            if !file.inspection.exports.contains(&entry) {
                report.error(
                    "no-such-entry",
                    span.clone(),
                    format!("the adapter of `{name}` does not export `{entry}`"),
                    format!("it has {}", file.inspection.entries()),
                );
                return;
            }
            let Some(manifest) = &file.inspection.manifest else { continue };
            let takes = if question { &manifest.answers } else { &manifest.delivers };
            if kind != "*" && !takes.iter().any(|t| t == "*" || t == kind) {
                report.error(
                    "type-not-taken",
                    span.clone(),
                    format!("the adapter of `{name}` does not take `{kind}`"),
                    format!("it takes {}", takes.join(", ")),
                );
            }
        }
    }

    fn expression(
        &self,
        place: &str,
        route: &RouteConfig,
        text: Option<&str>,
        wanted: Wanted,
        report: &mut Report,
    ) -> Option<Expr> {
        match Expr::compile(text?) {
            Ok(expression) => {
                // Of `*` nothing is known of the data.
                let schema = |name: &'_ String| Some((self.catalog.schema(name)?, name.clone()));
                let schemas: Vec<_> = route.types.iter().filter_map(schema).collect();
                let types: Vec<_> = schemas.iter().map(|(schema, name)| (name.as_str(), *schema)).collect();
                for mistake in expression.mistakes(&types, wanted) {
                    self.mistake(place, mistake, report);
                }
                Some(expression)
            }
            Err(reason) => {
                report.error(
                    "broken-expression",
                    self.source.value_span(place),
                    reason,
                    "write CEL over `id source type subject time partitionkey correlationid data`",
                );
                None
            }
        }
    }
}
