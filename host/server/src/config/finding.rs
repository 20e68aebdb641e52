//! Mistakes in a deployment, shown with file, line, excerpt and remedy.

use super::source::Span;
use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use busbar_core::visible;
use serde_json::{Value, json};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The hub does not start.
    Error,
    /// The hub starts; somebody should look at it.
    Warning,
}

/// One mistake.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    pub severity: Severity,
    /// Stable name of the kind of mistake, e.g. `unknown-key`.
    pub kind: &'static str,
    pub message: String,
    pub remedy: String,
    /// Bytes in `busbar.toml`.
    pub span: Span,
}

/// Everything found in one deployment.
#[derive(Default)]
pub struct Report {
    pub path: String,
    pub text: String,
    pub findings: Vec<Finding>,
}

impl Report {
    pub fn error(&mut self, kind: &'static str, span: Span, message: impl Into<String>, remedy: impl Into<String>) {
        self.add(Severity::Error, kind, span, message.into(), remedy.into());
    }

    pub fn warning(&mut self, kind: &'static str, span: Span, message: impl Into<String>, remedy: impl Into<String>) {
        self.add(Severity::Warning, kind, span, message.into(), remedy.into());
    }

    fn add(&mut self, severity: Severity, kind: &'static str, span: Span, message: String, remedy: String) {
        // An adapter may have said this.
        let message = message.lines().map(visible).collect::<Vec<_>>().join("\n");
        let finding = Finding { severity, kind, message, remedy, span };
        if !self.findings.contains(&finding) {
            self.findings.push(finding);
        }
    }

    pub fn has_errors(&self) -> bool {
        self.count(Severity::Error) > 0
    }

    pub fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|f| f.severity == severity).count()
    }

    /// For a person.
    pub fn render(&self, colour: bool) -> String {
        let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
        let renderer = renderer.decor_style(DecorStyle::Ascii);
        let show = |finding: &Finding| {
            let level = match finding.severity {
                Severity::Error => Level::ERROR,
                Severity::Warning => Level::WARNING,
            };
            let end = self.text.len();
            let span = finding.span.start.min(end)..finding.span.end.min(end);
            let snippet = Snippet::source(&self.text).path(&self.path).annotation(AnnotationKind::Primary.span(span));
            let title = level.primary_title(&finding.message).id(finding.kind);
            renderer.render(&[title.element(snippet).element(Level::HELP.message(&finding.remedy))]).to_string()
        };
        let mut sorted: Vec<_> = self.findings.iter().collect();
        sorted.sort_by_key(|f| f.span.start);
        sorted.into_iter().map(show).collect::<Vec<_>>().join("\n\n")
    }

    /// For programs: kind, severity, message, remedy, file, line, column (both from 1).
    pub fn json(&self) -> Value {
        let show = |finding: &Finding| {
            let before = self.text.get(..finding.span.start).unwrap_or_default();
            json!({
                "severity": if finding.severity == Severity::Error { "error" } else { "warning" },
                "kind": finding.kind,
                "message": finding.message,
                "remedy": finding.remedy,
                "file": self.path,
                "line": before.matches('\n').count() + 1,
                "column": before.rsplit('\n').next().unwrap_or_default().chars().count() + 1,
            })
        };
        Value::Array(self.findings.iter().map(show).collect())
    }
}
