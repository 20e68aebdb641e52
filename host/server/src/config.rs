//! Configuration: its shape, reading it, and finding every mistake in it at once.

mod access;
mod adapters;
mod check;
pub mod connection;
pub mod credentials;
mod finding;
mod limits;
mod load;
pub mod model;
mod routes;
mod rules;
mod source;

pub use finding::{Finding, Report, Severity};
pub use load::{Deployment, System, load, systems};
pub use model::Config;
pub use rules::{policy, stating, system_rules};
pub use source::{Source, escape};

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
