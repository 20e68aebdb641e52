//! The exchange over HTTP that 1C has with sites: the hub is the site. Pure but for the state.
//!
//! `GET|POST ?type=catalog|sale&mode=checkauth|init|file|import|query|success`. Replies are text: `success`, `progress` (ask
//! again) or `failure` with a reason, always with status 200. A file comes in parts, which the state keeps until `import`.

use busbar_sdk::memory::Store;
use busbar_sdk::xml::{Limits, Xml};
use busbar_sdk::{Draft, Header, HookRequest, HookResponse, Rejection, Sink, header};
use serde::{Deserialize, Serialize};

use crate::settings::Settings;
use crate::{mapping, waiting};

const COOKIE: &str = "busbar";
const SESSION_KEY: &str = "session";
/// A value of the state may have 64 KiB.
const CHUNK_BYTES: usize = 60_000;
/// Messages of one `import`; the host allows 1000 a call.
const MESSAGES_MAX: usize = 900;
/// And their bytes, of which it allows 8 MiB.
const MESSAGES_BYTES_MAX: usize = 4 << 20;
/// Files of one session.
const FILES_MAX: usize = 20;
const NAME_BYTES_MAX: usize = 200;

/// What is kept of the session that is open.
#[derive(Default, Serialize, Deserialize)]
struct Session {
    token: String,
    /// Slot of each file, by its name.
    files: Vec<Kept>,
    /// The last `query` gave the documents before this number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    given: Option<u64>,
}

#[derive(Serialize, Deserialize)]
struct Kept {
    name: String,
    bytes: usize,
    /// Messages stated of it.
    stated: usize,
}

/// Answers a request; what it states is put to `drafts`.
pub fn handle(
    settings: &Settings,
    request: &HookRequest,
    store: &mut dyn Store,
    random: &dyn Fn() -> Vec<u8>,
    drafts: &mut Vec<Draft>,
) -> HookResponse {
    let parameter = |name: &str| {
        let mut pairs = form_urlencoded::parse(request.query.as_bytes());
        pairs.find(|(key, _)| key == name).map(|(_, value)| value.into_owned()).unwrap_or_default()
    };
    let (kind, mode) = (parameter("type"), parameter("mode"));
    if !matches!(kind.as_str(), "catalog" | "sale" | "reference") {
        return failure("the type is catalog, sale or reference");
    }
    if mode == "checkauth" {
        return check_in(store, random);
    }
    let session = store.get(SESSION_KEY).and_then(|bytes| serde_json::from_slice::<Session>(&bytes).ok());
    let Some(mut session) = session.filter(|session| has_cookie(request, &session.token)) else {
        return failure("there is no such session: check in first");
    };
    let reply = match mode.as_str() {
        "init" => {
            session.files.clear();
            text(format!("zip=no\nfile_limit={}", settings.file_limit_bytes))
        }
        "file" => match keep(settings, &parameter("filename"), &request.body, &mut session, store) {
            // What becomes of orders ends with its file: only newer releases of 1C import it.
            Ok(()) if kind == "sale" => {
                whole(settings, (&parameter("filename"), &request.body), &mut session, store, drafts)
            }
            Ok(()) => text("success".to_owned()),
            Err(reason) => failure(reason),
        },
        "import" => import(settings, &parameter("filename"), &mut session, store, drafts),
        "query" => query(&kind, &mut session, store),
        "success" | "deactivate" | "complete" => {
            if let (Some(given), "sale", "success") = (session.given, kind.as_str(), mode.as_str()) {
                waiting::fetched(store, given);
                session.given = None;
            }
            text("success".to_owned())
        }
        _ => failure("this mode is not known"),
    };
    store.set(SESSION_KEY, serde_json::to_vec(&session).unwrap_or_default());
    reply
}

fn check_in(store: &mut dyn Store, random: &dyn Fn() -> Vec<u8>) -> HookResponse {
    let token: String = random().iter().map(|byte| format!("{byte:02x}")).collect();
    let reply = text(format!("success\n{COOKIE}\n{token}"));
    let session = Session { token, ..Session::default() };
    store.set(SESSION_KEY, serde_json::to_vec(&session).unwrap_or_default());
    reply
}

fn has_cookie(request: &HookRequest, token: &str) -> bool {
    let cookies = header(&request.headers, "cookie").unwrap_or_default();
    let mut pairs = cookies.split(';').filter_map(|pair| pair.trim().split_once('='));
    !token.is_empty() && pairs.any(|(name, value)| name == COOKIE && value == token)
}

/// Adds a part to its file. Pictures and the like are taken and not kept.
fn keep(
    settings: &Settings,
    name: &str,
    body: &[u8],
    session: &mut Session,
    store: &mut dyn Store,
) -> Result<(), &'static str> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX {
        return Err("the file has no name, or too long a one");
    }
    if !name.to_lowercase().ends_with(".xml") {
        return Ok(());
    }
    if body.len() > settings.file_limit_bytes {
        return Err("the part is larger than file_limit");
    }
    let slot = match session.files.iter().position(|file| file.name == name) {
        Some(slot) => slot,
        None if session.files.len() >= FILES_MAX => return Err("too many files"),
        None => {
            session.files.push(Kept { name: name.to_owned(), bytes: 0, stated: 0 });
            session.files.len() - 1
        }
    };
    let Some(file) = session.files.get_mut(slot) else { return Err("too many files") };
    // What comes after an import is the file anew.
    if file.stated > 0 {
        (file.bytes, file.stated) = (0, 0);
    }
    if file.bytes.saturating_add(body.len()) > settings.file_max_bytes {
        return Err("the file is larger than file-max-bytes");
    }
    let mut rest = body;
    while !rest.is_empty() {
        let (number, used) = (file.bytes / CHUNK_BYTES, file.bytes % CHUNK_BYTES);
        let mut chunk = if used == 0 { Vec::new() } else { store.get(&chunk_key(slot, number)).unwrap_or_default() };
        chunk.truncate(used);
        let (part, later) = rest.split_at(rest.len().min(CHUNK_BYTES - used));
        chunk.extend_from_slice(part);
        store.set(&chunk_key(slot, number), chunk);
        file.bytes += part.len();
        rest = later;
    }
    Ok(())
}

fn chunk_key(slot: usize, number: usize) -> String {
    format!("file-{slot}-{number}")
}

/// States a file of orders as soon as its last part has come. Nothing says which part is the last but the end of its root.
fn whole(
    settings: &Settings,
    (name, part): (&str, &[u8]),
    session: &mut Session,
    store: &mut dyn Store,
    drafts: &mut Vec<Draft>,
) -> HookResponse {
    let Some(slot) = session.files.iter().position(|file| file.name == name) else { return text("success".to_owned()) };
    let Some(file) = session.files.get_mut(slot) else { return text("success".to_owned()) };
    let mut window = Window { from: 0, seen: 0, bytes: 0, drafts };
    let result = read(settings, slot, file.bytes, store, &mut window);
    let seen = window.seen;
    match result {
        Ok(()) if seen > drafts.len() => {
            drafts.clear();
            file.bytes = 0;
            failure(
                "too-large: more than 900 messages, or 4 MiB of them, in a file of orders: let 1C send fewer at once",
            )
        }
        Ok(()) => {
            file.stated = seen.max(1);
            text("success".to_owned())
        }
        Err(rejection) => {
            drafts.clear();
            // A part may end in the middle of a character.
            let is_cut = rejection.code == "xml-encoding" && part.last().is_some_and(|byte| !byte.is_ascii());
            if rejection.code == "truncated" || is_cut {
                return text("success".to_owned());
            }
            // 1C sends it again from its beginning.
            file.bytes = 0;
            refused(rejection)
        }
    }
}

fn refused(rejection: Rejection) -> HookResponse {
    let place = rejection.place.unwrap_or_default();
    failure(&format!("{}: {} ({place})", rejection.code, rejection.reason))
}

/// States the next messages of a file that is whole and good.
fn import(
    settings: &Settings,
    name: &str,
    session: &mut Session,
    store: &mut dyn Store,
    drafts: &mut Vec<Draft>,
) -> HookResponse {
    let Some(slot) = session.files.iter().position(|file| file.name == name) else {
        return failure("there is no such file");
    };
    let Some(file) = session.files.get_mut(slot) else { return failure("there is no such file") };
    let from = file.stated;
    let mut window = Window { from, seen: 0, bytes: 0, drafts };
    if let Err(rejection) = read(settings, slot, file.bytes, store, &mut window) {
        drafts.clear();
        return refused(rejection);
    }
    let seen = window.seen;
    let stated = from.saturating_add(drafts.len());
    file.stated = stated.max(1);
    match seen > stated {
        true => text(format!("progress\n{stated} of {seen} messages")),
        false => text("success".to_owned()),
    }
}

fn read(
    settings: &Settings,
    slot: usize,
    bytes: usize,
    store: &mut dyn Store,
    window: &mut Window,
) -> Result<(), Rejection> {
    let mut next = 0_usize;
    let mut chunk: Vec<u8> = Vec::new();
    let source = |max: u32| {
        if chunk.is_empty() && next * CHUNK_BYTES < bytes {
            chunk = store.get(&chunk_key(slot, next)).unwrap_or_default();
            chunk.truncate(bytes - next * CHUNK_BYTES);
            next += 1;
        }
        let later = chunk.split_off(chunk.len().min(max as usize));
        std::mem::replace(&mut chunk, later)
    };
    mapping::decode(settings, &mut Xml::new(source, Limits::default()), window)
}

/// The messages of one `import`.
struct Window<'a> {
    from: usize,
    seen: usize,
    bytes: usize,
    drafts: &'a mut Vec<Draft>,
}

impl Sink for Window<'_> {
    fn emit(&mut self, draft: Draft) {
        let has_room = self.drafts.len() < MESSAGES_MAX && self.bytes < MESSAGES_BYTES_MAX;
        if self.seen >= self.from && has_room {
            self.bytes += draft.data.len();
            self.drafts.push(draft);
        }
        self.seen += 1;
    }

    /// 1C shows nobody warnings of a site.
    fn warn(&mut self, _: &str) {}

    fn leave_out(&mut self, entry: busbar_sdk::Rejection) {
        busbar_sdk::messages::leave_out(&entry);
    }
}

fn text(body: String) -> HookResponse {
    let header = Header { name: "content-type".to_owned(), value: "text/plain; charset=utf-8".to_owned() };
    HookResponse { status: 200, headers: vec![header], body: body.into_bytes() }
}

fn failure(reason: &str) -> HookResponse {
    text(format!("failure\n{reason}"))
}

/// The documents that wait; they go on waiting until `success`. Only of orders is asked so.
fn query(kind: &str, session: &mut Session, store: &mut dyn Store) -> HookResponse {
    let header = Header { name: "content-type".to_owned(), value: "text/xml; charset=utf-8".to_owned() };
    if kind != "sale" {
        return failure("only `type=sale` has a query");
    }
    let (body, given) = waiting::file(store);
    session.given = Some(given);
    HookResponse { status: 200, headers: vec![header], body }
}
