//! A deployment's folder: reads it, and finds every mistake in it at once.

mod adapters;
mod check;
mod load;
mod routes;
mod rules;

pub use load::{Deployment, System, load, systems};
pub use rules::{policy, stating, system_rules};

use busbar_core::Catalog;
use std::path::Path;

/// The canonical schemas in `root`.
///
/// # Errors
/// What is wrong with each file, for a person.
pub fn catalog(root: &Path) -> Result<Catalog, String> {
    check::read_catalog(root).map_err(|errors| {
        let lines: Vec<_> = errors.into_iter().map(|(_, message, remedy)| format!("{message}; {remedy}")).collect();
        lines.join("\n")
    })
}
