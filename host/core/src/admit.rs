//! Admission: a message is checked against its schema and its deliveries are planned.

use crate::error::{Code, Problem};
use crate::journal::{Journal, NewMessage, Planned};
use crate::marks::Marks;
use crate::message::Message;
use crate::route::{Route, Scope};
use crate::schema::Catalog;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// Schemas and routes of a deployment.
#[derive(Default)]
pub struct Rules {
    pub catalog: Catalog,
    routes: Vec<Route>,
    /// The indices of those that cover a type, in their order.
    by_type: HashMap<String, Vec<usize>>,
    /// Of those that cover every other type.
    any_type: Vec<usize>,
}

impl Rules {
    pub fn new(catalog: Catalog, routes: Vec<Route>) -> Self {
        let covering = |kind: &str| {
            let covering = routes.iter().enumerate().filter(|(_, route)| route.covers(kind));
            covering.map(|(index, _)| index).collect::<Vec<_>>()
        };
        let named: BTreeSet<_> = routes.iter().flat_map(|route| &route.types).collect();
        let by_type = named.into_iter().map(|name| (name.clone(), covering(name))).collect();
        Self { catalog, by_type, any_type: covering("*"), routes }
    }

    pub fn routes(&self) -> &[Route] {
        &self.routes
    }

    /// Those that cover a type, however many others there are.
    fn covering(&self, kind: &str) -> impl Iterator<Item = &Route> {
        let indices = self.by_type.get(kind).unwrap_or(&self.any_type);
        indices.iter().filter_map(|index| self.routes.get(*index))
    }

    /// Checks `message` and plans its deliveries: one per system, in the order of the routes.
    ///
    /// # Errors
    /// `invalid-event`, `unknown-type`, `invalid-data`, `not-a-question`.
    pub fn admit(&self, message: Message, place: Option<String>) -> Result<NewMessage, Problem> {
        message.check()?;
        self.catalog.validate(&message.r#type, &message.data)?;
        self.admit_valid(message, place)
    }

    /// The same of a message that was held against its schema already, as an adapter's is when it is stated.
    ///
    /// # Errors
    /// `not-a-question`.
    pub fn admit_valid(&self, message: Message, place: Option<String>) -> Result<NewMessage, Problem> {
        if self.catalog.answer_type(&message.r#type).is_some() {
            let text = format!("`{}` is a question, not a message", message.r#type);
            return Err(Problem::new(Code::NotAQuestion, text).at("type"));
        }
        let (deliveries, journal) = self.plan(&message);
        let (message, marks) = (Arc::new(message), Marks::default());
        let new = NewMessage { marks, message, deliveries, place, stated_by: None, journal };
        if journal != Journal::None {
            // Here several messages are worked on at once; the store's writer has one thread.
            let _ = (new.pair(), new.content());
        }
        Ok(new)
    }

    /// The system that answers a question, by the first route that covers it and whose condition holds.
    ///
    /// # Errors
    /// `unknown-type`, `invalid-data`, `not-a-question`, `no-answerer`, `condition-failed`.
    pub fn answerer(&self, question: &Message) -> Result<&str, Problem> {
        question.check()?;
        self.catalog.validate(&question.r#type, &question.data)?;
        if self.catalog.answer_type(&question.r#type).is_none() {
            let text = format!("`{}` is a message, not a question", question.r#type);
            return Err(Problem::new(Code::NotAQuestion, text).at("type"));
        }
        let scope = Scope::of(question);
        // `*` is every message: a question is answered only by whom a route names for it.
        for route in self.covering(&question.r#type).filter(|r| r.types.contains(&question.r#type)) {
            if route.when.as_ref().map_or(Ok(true), |when| when.truth(&scope))?
                && let Some(system) = route.to.first()
            {
                return Ok(system);
            }
        }
        Err(Problem::new(Code::NoAnswerer, format!("no route for questions of type `{}`", question.r#type)))
    }

    fn plan(&self, message: &Message) -> (Vec<Planned>, Journal) {
        let mut planned: Vec<Planned> = Vec::new();
        let mut journal = None;
        let mut scope = None;
        for route in self.covering(&message.r#type) {
            let found = if route.when.is_none() && route.key.is_none() {
                Ok(Some(message.default_key().map(str::to_string)))
            } else {
                apply(route, message, scope.get_or_insert_with(|| Scope::of(message)))
            };
            let (key, error) = match found {
                Ok(None) => continue,
                Ok(Some(key)) => (key, None),
                Err(problem) => (message.default_key().map(str::to_string), Some(problem.record())),
            };
            journal = journal.max(Some(route.journal));
            for system in &route.to {
                // Two routes to one system are one delivery: its effect happens once.
                if !planned.iter().any(|p| &p.system == system) {
                    planned.push(Planned {
                        system: system.clone(),
                        key: key.clone(),
                        made: None,
                        error: error.clone(),
                    });
                }
            }
        }
        (planned, journal.unwrap_or_default())
    }
}

fn apply(route: &Route, message: &Message, scope: &Scope) -> Result<Option<Option<String>>, Problem> {
    if let Some(when) = &route.when
        && !when.truth(scope)?
    {
        return Ok(None);
    }
    match &route.key {
        Some(key) => Ok(Some(key.text(scope)?.filter(|k| !k.is_empty()))),
        None => Ok(Some(message.default_key().map(str::to_string))),
    }
}
