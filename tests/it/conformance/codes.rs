//! Nothing unknown becomes the usual: each field that carries a code of some list is fed with codes that the list does not have,
//! and with rare ones that it has. What must come of them stands in `fixtures/codes/<adapter>.toml`, from the format's source.
//! An adapter without such a file says in its README that its format has no codes.

use super::{adapters, readme};
use crate::hub::{LOADED, root};
use busbar_server::cli::{Input, Setup, read_case};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::path::Path;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Codes {
    field: Vec<Field>,
}

/// A field with codes, in an input that is good as it is.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Field {
    name: String,
    /// The case of the adapter that the input is of.
    case: String,
    /// The file of the case in which `part` stands, where that is not its input.
    #[serde(default)]
    file: Part,
    /// The code with as much around it as is needed to find it.
    part: String,
    /// Changes that come first, to make another usual input of the case.
    #[serde(default)]
    first: Vec<[String; 2]>,
    codes: Vec<Code>,
    /// Why no rare code is tried.
    no_rare: Option<String>,
}

#[derive(Default, Deserialize, PartialEq)]
#[serde(rename_all = "kebab-case")]
enum Part {
    #[default]
    Input,
    Setup,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Code {
    /// What `part` becomes.
    code: String,
    /// Further changes that the code needs: of a signature, of a length.
    #[serde(default)]
    also: Vec<[String; 2]>,
    /// What the list says of the code; nothing for one that does not exist.
    is: Option<String>,
    /// The code of the rejection of the whole.
    refused: Option<String>,
    /// The kind of any other failure: `transient`, `unauthorized`.
    fails: Option<String>,
    /// The code of the rejection of this entry alone.
    left_out: Option<String>,
    /// The place of either.
    place: Option<String>,
    /// What comes, by pointers into what the case shows.
    #[serde(default)]
    says: Map<String, Value>,
    #[serde(default)]
    absent: Vec<String>,
    /// Why nothing changes.
    ignored: Option<String>,
}

async fn shown(adapter: &str, field: &Field, code: Option<&Code>) -> Result<Value, String> {
    let folder = root().join("plugins").join(adapter).join("cases").join(&field.case);
    let (setup, mut input) = read_case(&LOADED[adapter], &folder).map_err(|error| error.to_string())?;
    let setup = match field.file {
        Part::Input => {
            input.bytes = field.changed(input.bytes, code)?;
            setup
        }
        Part::Setup => {
            let setup = std::fs::read(folder.join("setup.json")).map_err(|error| error.to_string())?;
            serde_json::from_slice(&field.changed(setup, code)?).map_err(|error| error.to_string())?
        }
    };
    Ok(run(adapter, setup, input).await)
}

async fn run(adapter: &str, mut setup: Setup, input: Input) -> Value {
    // Runs are compared: each must be at the same moment.
    setup.now.get_or_insert_with(|| "2026-11-22T12:00:00Z".into());
    super::run(adapter, setup, input).await
}

impl Field {
    /// The file with its code replaced, or as the field has it where none is given. By bytes: a file may be in any encoding.
    fn changed(&self, file: Vec<u8>, code: Option<&Code>) -> Result<Vec<u8>, String> {
        let itself = [self.part.clone(), code.map_or(&self.part, |code| &code.code).clone()];
        let changes = self.first.iter().chain([&itself]).chain(code.iter().flat_map(|code| &code.also));
        changes.clone().try_fold(file, |file, [from, to]| {
            replaced(&file, from.as_bytes(), to.as_bytes()).ok_or_else(|| format!("there is no `{from}`"))
        })
    }

    async fn tried(&self, adapter: &str) -> Vec<String> {
        let usual = match shown(adapter, self, None).await {
            Ok(usual) => usual,
            Err(why) => return vec![format!("{adapter}, {}: {why}", self.name)],
        };
        let mut wrong = Vec::new();
        for code in &self.codes {
            let found = match shown(adapter, self, Some(code)).await {
                Ok(shown) => code.wrong(&usual, &shown),
                Err(why) => Some(why),
            };
            let kind = if code.is.is_some() { "rare" } else { "unknown" };
            let what = format!("{adapter:<20} {:<42} {kind:<7} {}", self.name, code.code.replace('\n', "↵"));
            println!("{what:<120} {}", if found.is_none() { code.outcome() } else { "NO" });
            wrong.extend(found.map(|why| format!("{adapter}, {}, `{}`: {why}", self.name, code.code)));
        }
        let has = |rare: bool| self.codes.iter().any(|code| code.is.is_some() == rare);
        if !has(false) || has(true) == self.no_rare.is_some() {
            wrong
                .push(format!("{adapter}, {}: needs an unknown code, and a rare one or the reason why not", self.name));
        }
        wrong
    }
}

impl Code {
    fn outcome(&self) -> &'static str {
        match (&self.refused, &self.left_out, &self.ignored, &self.fails) {
            (Some(_), ..) => "refused",
            (_, Some(_), ..) => "left out",
            (_, _, Some(_), _) => "ignored",
            (.., Some(_)) => "fails",
            _ => "stated",
        }
    }

    /// What is otherwise than it must be, when the usual code gives `usual`.
    fn wrong(&self, usual: &Value, shown: &Value) -> Option<String> {
        let told = !self.says.is_empty() || !self.absent.is_empty();
        let outcomes = [&self.refused, &self.left_out, &self.ignored, &self.fails];
        match outcomes.into_iter().flatten().count() {
            0 if told => {}
            1 => {}
            _ => return Some("one of refused, left-out, fails, ignored, or what it says".into()),
        }
        let brief = || brief(shown);
        if self.ignored.is_some() == (usual != shown) {
            return Some(format!(
                "what comes is {}: {}",
                if usual == shown { "the usual" } else { "changed" },
                brief()
            ));
        }
        if let Some(kind) = &self.fails {
            let is_so =
                shown["result"]["failure"]["case"] == kind.as_str() && shown["messages"] == Value::Array(vec![]);
            return (!is_so).then(|| format!("it does not fail as {kind}: {}", brief()));
        }
        let rejections = match (&self.refused, &self.left_out) {
            (Some(_), _) => std::slice::from_ref(&shown["result"]["failure"]),
            _ => shown["left-out"].as_array().map(Vec::as_slice).unwrap_or_default(),
        };
        let is_it = |rejection: &Value, code: &String| {
            let place = self.place.as_ref().is_none_or(|place| rejection["place"] == place.as_str());
            rejection["code"] == code.as_str() && place
        };
        let expected = self.refused.as_ref().or(self.left_out.as_ref());
        if expected.is_some_and(|code| !rejections.iter().any(|rejection| is_it(rejection, code))) {
            return Some(format!("the rejection is not there: {}", brief()));
        }
        if self.refused.is_none() && shown["result"] != usual["result"] {
            return Some(format!("it ends otherwise: {}", shown["result"]));
        }
        let other = |(at, value): (&String, &Value)| (shown.pointer(at) != Some(value)).then(|| at.clone());
        let said = self.says.iter().find_map(other);
        let at = said.or_else(|| self.absent.iter().find(|at| shown.pointer(at).is_some()).cloned())?;
        Some(format!("{at} is {}, in {}", shown.pointer(&at).unwrap_or(&Value::Null), brief()))
    }
}

/// Every place where it stands; nothing where there is none.
fn replaced(file: &[u8], from: &[u8], to: &[u8]) -> Option<Vec<u8>> {
    let (mut changed, mut rest) = (Vec::new(), file);
    while let Some(at) = rest.windows(from.len()).position(|part| part == from) {
        changed.extend_from_slice(&rest[..at]);
        changed.extend_from_slice(to);
        rest = &rest[at + from.len()..];
    }
    changed.extend_from_slice(rest);
    (rest.len() < file.len()).then_some(changed)
}

/// As much of what a case shows as tells what happened.
fn brief(shown: &Value) -> String {
    let parts = ["result", "left-out", "messages", "response", "answer", "steps", "state"];
    let parts = parts.into_iter().filter(|name| !shown[*name].is_null()).map(|name| format!("{name}: {}", shown[name]));
    parts.collect::<Vec<_>>().join("\n    ").chars().take(1500).collect()
}

fn fields(path: &Path) -> Option<Vec<Field>> {
    let text = std::fs::read_to_string(path).ok()?;
    let codes: Codes = toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    Some(codes.field)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_list_has_is_never_the_usual() {
    let folder = root().join("tests/fixtures/codes");
    let (mut wrong, mut tried, mut codes) = (Vec::new(), 0, 0);
    let only = std::env::var("BUSBAR_CODES_OF").ok();
    for adapter in adapters().filter(|adapter| only.as_ref().is_none_or(|only| only == *adapter)) {
        let Some(fields) = fields(&folder.join(format!("{adapter}.toml"))) else {
            if !readme(adapter).contains("Codes: none") {
                wrong.push(format!(
                    "{adapter} has no codes/{adapter}.toml, and its README has no line `Codes: none, …`"
                ));
            }
            continue;
        };
        for field in &fields {
            wrong.extend(field.tried(adapter).await);
            tried += 1;
            codes += field.codes.len();
        }
    }
    let known: BTreeSet<String> = adapters().map(|adapter| format!("{adapter}.toml")).collect();
    let files = std::fs::read_dir(&folder).unwrap().flatten().map(|entry| entry.file_name().into_string().unwrap());
    wrong.extend(files.filter(|file| !known.contains(file)).map(|file| format!("codes/{file} is of no adapter")));
    println!("{codes} codes of {tried} fields");
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}
