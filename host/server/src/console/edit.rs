//! Putting other data in place of a message's for one delivery. What the schema refuses is shown at its place.

use super::Held;
use super::page::{self, PageProblem, ProblemShown, Shown};
use super::texts::Texts;
use super::viewer::{PageFrame, Posted, Viewer};
use crate::config::model::Right;
use askama::Template;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use busbar_core::{Code, Problem, parse_json};
use serde_json::Value;

/// Lines shown around the place that is wrong.
const AROUND: usize = 6;

#[derive(Template)]
#[template(path = "edit.html")]
struct EditPage {
    t: &'static Texts,
    frame: PageFrame,
    id: String,
    seq: i64,
    system: String,
    r#type: String,
    text: String,
    rows: usize,
    may_edit: bool,
    problem: Option<ProblemShown>,
    /// Lines around the place that is wrong, with their numbers; and whether one is that place.
    around: Vec<(usize, String, bool)>,
}

type Named = Result<Path<String>, PathRejection>;

/// A line of JSON as it is written, with the pointer of what begins there.
fn lines(value: &Value, pointer: &str, lead: &str, indent: usize, comma: &str, out: &mut Vec<(String, String)>) {
    let pad = "  ".repeat(indent);
    let mut put = |text: String| out.push((pointer.to_string(), format!("{pad}{text}")));
    match value {
        Value::Object(members) if !members.is_empty() => {
            put(format!("{lead}{{"));
            for (at, (name, value)) in members.iter().enumerate() {
                let below = format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"));
                let comma = if at + 1 < members.len() { "," } else { "" };
                lines(value, &below, &format!("{}: ", Value::from(name.as_str())), indent + 1, comma, out);
            }
            out.push((String::from("-"), format!("{pad}}}{comma}")));
        }
        Value::Array(items) if !items.is_empty() => {
            put(format!("{lead}["));
            for (at, value) in items.iter().enumerate() {
                let comma = if at + 1 < items.len() { "," } else { "" };
                lines(value, &format!("{pointer}/{at}"), "", indent + 1, comma, out);
            }
            out.push((String::from("-"), format!("{pad}]{comma}")));
        }
        plain => put(format!("{lead}{plain}{comma}")),
    }
}

/// The data as it is written, and the lines around a place in it.
fn written(data: &Value, place: Option<&str>) -> (String, Vec<(usize, String, bool)>) {
    let mut all = Vec::new();
    lines(data, "/data", "", 0, "", &mut all);
    let text = all.iter().map(|(_, line)| line.as_str()).collect::<Vec<_>>().join("\n");
    // Where the place itself is missing, what should hold it is the place.
    let begins = |place: &str| all.iter().position(|(pointer, _)| pointer == place);
    let at = place.and_then(|place| {
        std::iter::successors(Some(place), |place| place.rsplit_once('/').map(|(up, _)| up)).find_map(begins)
    });
    let Some(at) = at else { return (text, vec![]) };
    let near = all.iter().enumerate().filter(|(line, _)| line.abs_diff(at) <= AROUND);
    let near = near.map(|(line, (_, text))| (line + 1, super::shown::line(text), line == at)).collect();
    (text, near)
}

async fn shown(console: &Held, viewer: Viewer, id: &str, given: Option<String>, problem: Option<Problem>) -> Shown {
    let missing = || Problem::new(Code::NotFound, format!("no delivery `{id}`"));
    let (seq, view) = console.api.hub.delivery(id.parse().map_err(|_| missing())?).await?;
    let gone = || Problem::new(Code::NotFound, "the delivery's message is not in the journal any more");
    let message = console.api.hub.store.message(seq).await?.ok_or_else(gone)?.message;
    let may_edit = viewer.may_operate() && viewer.may_read_personal();
    let data = view.edited.unwrap_or_else(|| message.data.into_value());
    // What was given stays as it is, unless it is JSON: then it is written so that the place can be shown.
    let own = given.as_deref().map(|text| parse_json(text.as_bytes()));
    let place = problem.as_ref().and_then(|problem| problem.place.as_deref());
    let (text, around) = match (own, given) {
        (Some(Ok(own)), _) => written(&own, place),
        (_, Some(given)) => (given, vec![]),
        // Nobody puts masked data in place of what they stand for.
        _ if !may_edit => (String::new(), vec![]),
        _ => written(&data, None),
    };
    let status = problem.as_ref().map_or(StatusCode::OK, page::status);
    let rows = text.lines().count().clamp(8, 30);
    let page = EditPage {
        t: viewer.frame.texts(),
        frame: viewer.frame,
        id: id.to_string(),
        seq,
        system: view.system,
        r#type: message.r#type,
        text,
        rows,
        may_edit,
        problem: problem.map(ProblemShown::from),
        around,
    };
    page::with_status(status, &page)
}

fn named(id: Named) -> Result<String, PageProblem> {
    id.map(|Path(id)| id).map_err(|e| Problem::new(Code::NotFound, e.body_text()).into())
}

pub async fn page(State(console): State<Held>, viewer: Viewer, id: Named) -> Shown {
    shown(&console, viewer, &named(id)?, None, None).await
}

pub async fn save(State(console): State<Held>, id: Named, posted: Posted) -> Shown {
    let id = named(id)?;
    let holder = &posted.viewer.holder;
    holder.require(Right::Operate)?;
    holder.require(Right::ReadPersonal)?;
    let text = posted.form.owned("data").unwrap_or_default();
    let missing = || Problem::new(Code::NotFound, format!("no delivery `{id}`"));
    let number = id.parse().map_err(|_| missing())?;
    let edited = match parse_json(text.as_bytes()) {
        Ok(data) => console.api.hub.edit(number, data, &posted.decider()?).await,
        Err(problem) => Err(problem),
    };
    match edited {
        Ok(()) => Ok(posted.done("edit", 1)),
        Err(problem) => shown(&console, posted.viewer, &id, Some(text), Some(problem)).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_line_of_a_place_is_found() {
        let data = json!({ "account": "1", "amount": { "value": 1.5, "a/b": [1, { "c": [] }] }, "empty": {} });
        let (text, _) = written(&data, None);
        assert_eq!(text, serde_json::to_string_pretty(&data).unwrap_or_default());
        let at = |place: &str| {
            let marked = written(&data, Some(place)).1.into_iter().find(|(_, _, is_it)| *is_it);
            marked.map(|(number, line, _)| (number, line.trim().to_string()))
        };
        assert_eq!(at("/data/amount/value"), Some((4, "\"value\": 1.5,".into())));
        assert_eq!(at("/data/amount/a~1b/1/c"), Some((8, "\"c\": []".into())));
        assert_eq!(at("/data/amount/currency"), Some((3, "\"amount\": {".into())), "what should hold it");
        assert_eq!(at("/data"), Some((1, "{".into())));
        assert_eq!(at("query"), None);
    }
}
