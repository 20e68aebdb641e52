//! LDIF (RFC 2849): lines -> records. Values that nobody asked for are not kept, however long they are.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use busbar_sdk::encoding::{self, Encoding};
use busbar_sdk::{Lines, Rejection, rejection};

/// Bytes of one value that is looked at.
const VALUE_BYTES_MAX: usize = 64 * 1024;
/// Bytes kept of a value that is not looked at: its attribute's name is in them.
const UNWANTED_BYTES: usize = 512;
/// Values looked at in one record, and their bytes.
const RECORD_VALUES_MAX: usize = 2_000;
const RECORD_BYTES_MAX: usize = 1 << 20;

/// Why an entry is left out rather than the file refused.
const LEFT_OUT: [&str; 5] = ["bad-base64", "value-by-url", "value-too-long", "too-many-values", "unreadable-line"];

/// A record: an entry as it is, or a change of one.
#[derive(Debug)]
pub struct Record {
    /// Line of its `dn`.
    pub line: u64,
    pub dn: String,
    pub change: Change,
}

#[derive(Debug)]
pub enum Change {
    /// The whole entry: content, or `changetype: add`.
    Whole(Vec<Value>),
    /// An entry that cannot be read, while the others can.
    Unreadable(Rejection),
    Modify(Vec<Modification>),
    Delete,
    /// `modrdn`, `moddn`.
    Rename {
        rdn: String,
        superior: Option<String>,
        /// The values of the old name stay values of the entry.
        keeps_old: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Add,
    Delete,
    Replace,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Modification {
    pub line: u64,
    pub operation: Operation,
    /// In lower case.
    pub attribute: String,
    pub values: Vec<Value>,
}

/// One value of an attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    pub line: u64,
    /// In lower case, with its options (`cn;lang-ru`).
    pub attribute: String,
    pub bytes: Vec<u8>,
}

impl Value {
    /// The text: UTF-8, or windows-1251 from tools that forget to convert.
    pub fn text(&self) -> String {
        encoding::decode(&self.bytes, Encoding::Windows1251).0.trim().to_owned()
    }
}

/// What a line says.
enum Found {
    Comment,
    /// A value that nobody asked for; not read.
    Unwanted,
    Value(Value),
}

/// A line with its continuations.
struct Logical {
    line: u64,
    text: Vec<u8>,
    wanted: bool,
}

/// The records of a file.
pub struct Records<'a, R: FnMut(u32) -> Vec<u8>> {
    lines: &'a mut Lines<R>,
    wanted: &'a dyn Fn(&str) -> bool,
    next: Option<Logical>,
    /// Whether the record being read is a change, and whether what is left of it is passed over.
    in_changes: bool,
    skipping: bool,
    /// Base64 values that nobody asked for: photographs, certificates, passwords.
    pub binary_values: u64,
    /// Referrals to other servers, which a search prints among its entries.
    pub referrals: u64,
}

impl<'a, R: FnMut(u32) -> Vec<u8>> Records<'a, R> {
    /// `wanted`: whether values of this attribute, in lower case, are looked at.
    pub fn new(lines: &'a mut Lines<R>, wanted: &'a dyn Fn(&str) -> bool) -> Self {
        Self { lines, wanted, next: None, in_changes: false, skipping: false, binary_values: 0, referrals: 0 }
    }

    /// The next record; nothing at the end of the file.
    ///
    /// # Errors
    /// What makes the file unreadable, with its line; the README lists the codes.
    pub fn next_record(&mut self) -> Result<Option<Record>, Rejection> {
        loop {
            let Some(first) = self.next_line()? else { return Ok(None) };
            if first.text.is_empty() {
                continue;
            }
            let place = place(first.line);
            let value = match self.value(&first)? {
                Found::Comment => continue,
                Found::Unwanted => return Err(rejection("bad-structure", "a record begins with `dn:`", place)),
                Found::Value(value) => value,
            };
            match value.attribute.as_str() {
                "version" if value.text() == "1" => {}
                "version" => {
                    return Err(rejection("unsupported-version", format!("version {}, not 1", value.text()), place));
                }
                "dn" => return self.record_or_left_out(first.line, value.text()).map(Some),
                "search" => self.search_result()?,
                "ref" => self.referrals += 1,
                _ => return Err(rejection("bad-structure", "a record begins with `dn:`", place)),
            }
        }
    }

    /// An entry is independent of the others, and left out alone; after a change that cannot be read the later ones
    /// mean something else.
    fn record_or_left_out(&mut self, line: u64, dn: String) -> Result<Record, Rejection> {
        self.in_changes = false;
        match self.record(line, dn.clone()) {
            Err(entry) if !self.in_changes && LEFT_OUT.contains(&entry.code.as_str()) => {
                self.skipping = true;
                while self.next_line()?.is_some_and(|next| !next.text.is_empty()) {}
                self.skipping = false;
                Ok(Record { line, dn, change: Change::Unreadable(entry) })
            }
            Ok(record) if self.next.is_none() && self.lines.is_cut() => {
                let reason = "the file ends in the middle of a line, so the entry may have been cut";
                let cut = rejection("cut-entry", reason, place(line));
                match record.change {
                    Change::Whole(_) => Ok(Record { line, dn, change: Change::Unreadable(cut) }),
                    _ => Err(cut),
                }
            }
            record => record,
        }
    }

    fn record(&mut self, line: u64, dn: String) -> Result<Record, Rejection> {
        let mut values = Vec::new();
        let mut changetype = None;
        let mut held = Held::default();
        while let Some(next) = self.next_line()? {
            if next.text.is_empty() {
                break;
            }
            let Found::Value(value) = self.value(&next)? else { continue };
            match value.attribute.as_str() {
                "control" if values.is_empty() => {}
                "changetype" if values.is_empty() => {
                    changetype = Some((next.line, value.text().to_ascii_lowercase()));
                    self.in_changes = changetype.as_ref().is_some_and(|(_, name)| name != "add");
                    if changetype.as_ref().is_some_and(|(_, name)| name == "modify") {
                        return Ok(Record { line, dn, change: Change::Modify(self.modifications()?) });
                    }
                }
                _ => {
                    held.add(&value)?;
                    values.push(value);
                }
            }
        }
        let change = match changetype.as_ref().map(|(line, name)| (*line, name.as_str())) {
            None | Some((_, "add")) => Change::Whole(values),
            Some((_, "delete")) => Change::Delete,
            Some((at, "modrdn" | "moddn")) => {
                let text = |name: &str| values.iter().find(|value| value.attribute == name).map(Value::text);
                let missing =
                    |what: &str| rejection("bad-structure", format!("a renaming without `{what}`"), place(at));
                let keeps_old = match text("deleteoldrdn").as_deref() {
                    Some("0") => true,
                    Some("1") => false,
                    _ => return Err(missing("deleteoldrdn: 0` or `1")),
                };
                let rdn = text("newrdn").ok_or_else(|| missing("newrdn:"))?;
                Change::Rename { rdn, superior: text("newsuperior"), keeps_old }
            }
            Some((at, name)) => {
                let name: String = name.chars().take(50).collect();
                return Err(rejection("unknown-changetype", format!("changetype `{name}`"), place(at)));
            }
        };
        Ok(Record { line, dn, change })
    }

    fn modifications(&mut self) -> Result<Vec<Modification>, Rejection> {
        let mut found: Vec<Modification> = Vec::new();
        let mut open = false;
        let mut held = Held::default();
        while let Some(next) = self.next_line()? {
            if next.text.is_empty() {
                break;
            }
            if next.text == b"-" {
                open = false;
                continue;
            }
            let at = place(next.line);
            let value = match self.value(&next)? {
                Found::Value(value) => value,
                Found::Unwanted if !open => {
                    return Err(rejection("bad-structure", "neither `add:`, `delete:` nor `replace:`", at));
                }
                _ => continue,
            };
            held.add(&value)?;
            match found.last_mut() {
                Some(last) if open && value.attribute == last.attribute => last.values.push(value),
                _ if open => return Err(rejection("bad-structure", "a value of another attribute, or no `-`", at)),
                _ => {
                    let operation = match value.attribute.as_str() {
                        "add" => Operation::Add,
                        "delete" => Operation::Delete,
                        "replace" => Operation::Replace,
                        _ => return Err(rejection("bad-structure", "neither `add:`, `delete:` nor `replace:`", at)),
                    };
                    let attribute = name_of(value.text().as_bytes()).unwrap_or_default();
                    found.push(Modification { line: next.line, operation, attribute, values: Vec::new() });
                    open = true;
                }
            }
        }
        Ok(found)
    }

    /// `search: 2`, `result: 0 Success`: the end of what `ldapsearch` prints without `-LLL`.
    fn search_result(&mut self) -> Result<(), Rejection> {
        while let Some(next) = self.next_line()? {
            if next.text.is_empty() {
                return Ok(());
            }
            let at = place(next.line);
            let Found::Value(value) = self.value(&next)? else { continue };
            let text = value.text();
            if value.attribute == "result" && text.split_whitespace().next() != Some("0") {
                let text: String = text.chars().take(100).collect();
                return Err(rejection("incomplete-export", format!("the search ended with `{text}`"), at));
            }
        }
        Ok(())
    }

    fn value(&mut self, line: &Logical) -> Result<Found, Rejection> {
        if line.text.starts_with(b"#") {
            return Ok(Found::Comment);
        }
        let bad = || rejection("unreadable-line", "neither `attribute: value` nor a continuation", place(line.line));
        let colon = line.text.iter().position(|byte| *byte == b':').ok_or_else(bad)?;
        let name = line.text.get(..colon).unwrap_or_default();
        let attribute = name_of(name).ok_or_else(bad)?;
        if whole_name(name).is_some_and(|name| name.split(';').skip(1).any(is_deleted)) {
            return Ok(Found::Comment);
        }
        let rest = line.text.get(colon + 1..).unwrap_or_default();
        if rest.first() == Some(&b'<') {
            let reason = format!("the value of `{attribute}` is somewhere else (`:<`); only the file itself is read");
            return Err(rejection("value-by-url", reason, place(line.line)));
        }
        let base64 = rest.strip_prefix(b":");
        if !line.wanted {
            self.binary_values += u64::from(base64.is_some());
            return Ok(Found::Unwanted);
        }
        let bytes = match base64 {
            Some(text) => {
                let text: Vec<u8> = text.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
                STANDARD.decode(text).map_err(|_| {
                    rejection("bad-base64", format!("the value of `{attribute}` is no base64"), place(line.line))
                })?
            }
            None => rest.to_vec(),
        };
        Ok(Found::Value(Value { line: line.line, attribute, bytes }))
    }

    /// The next line with what is folded onto it; a blank one is empty.
    fn next_line(&mut self) -> Result<Option<Logical>, Rejection> {
        loop {
            let Some(line) = self.lines.next_line()? else { return Ok(self.next.take()) };
            let bytes = if line.number == 1 { encoding::without_bom(line.bytes) } else { line.bytes };
            if let Some(rest) = bytes.strip_prefix(b" ") {
                match &mut self.next {
                    Some(_) if self.skipping => {}
                    Some(open) if !open.text.is_empty() => open.append(rest)?,
                    // A blank line that somebody's editor made of a space.
                    _ if rest.iter().all(u8::is_ascii_whitespace) => {}
                    _ => {
                        return Err(rejection("bad-structure", "a continuation of nothing", place(line.number)));
                    }
                }
                continue;
            }
            let next = Logical::new(line.number, bytes, self.wanted);
            if let Some(done) = self.next.replace(next) {
                return Ok(Some(done));
            }
        }
    }
}

impl Logical {
    fn new(line: u64, bytes: &[u8], wanted: &dyn Fn(&str) -> bool) -> Self {
        let name = bytes.split(|byte| *byte == b':').next().and_then(name_of);
        let wanted = name.is_none_or(|name| is_word_of_ldif(&name) || wanted(&name));
        let kept = if wanted { bytes } else { bytes.get(..UNWANTED_BYTES).unwrap_or(bytes) };
        let blank = bytes.iter().all(u8::is_ascii_whitespace);
        Self { line, text: if blank { Vec::new() } else { kept.to_vec() }, wanted }
    }

    fn append(&mut self, rest: &[u8]) -> Result<(), Rejection> {
        if !self.wanted || self.text.starts_with(b"#") {
            return Ok(());
        }
        if self.text.len() + rest.len() > VALUE_BYTES_MAX {
            let reason = format!("a value is longer than {VALUE_BYTES_MAX} bytes");
            return Err(rejection("value-too-long", reason, place(self.line)));
        }
        self.text.extend_from_slice(rest);
        Ok(())
    }
}

fn is_word_of_ldif(name: &str) -> bool {
    matches!(
        name,
        "dn" | "version"
            | "changetype"
            | "control"
            | "search"
            | "result"
            | "ref"
            | "newrdn"
            | "newsuperior"
            | "deleteoldrdn"
            | "add"
            | "delete"
            | "replace"
            | "objectclass"
    )
}

/// An attribute's name in lower case without the options in which 389 Directory Server keeps when a value came, went
/// or was chosen; nothing where it is none.
fn name_of(bytes: &[u8]) -> Option<String> {
    let name = whole_name(bytes)?;
    let kept = |option: &&str| !CHANGE_OPTIONS.iter().any(|of| option.starts_with(of)) && !is_deleted(option);
    Some(name.split(';').filter(kept).collect::<Vec<_>>().join(";"))
}

/// `adcsn-`, `vucsn-`, `mdcsn-`, `vdcsn-` and a change sequence number: attribute deleted, value updated,
/// distinguished value, value deleted.
const CHANGE_OPTIONS: [&str; 4] = ["adcsn-", "vucsn-", "mdcsn-", "vdcsn-"];

/// Of a value, or of the whole attribute, that is not there any more and kept for the other servers.
fn is_deleted(option: &str) -> bool {
    matches!(option, "deleted" | "deletedattribute")
}

fn whole_name(bytes: &[u8]) -> Option<String> {
    let fits = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b';' | b'.' | b'_' | b'=');
    let name = !bytes.is_empty() && bytes.len() <= 400 && bytes.iter().all(fits);
    name.then(|| String::from_utf8_lossy(bytes).to_ascii_lowercase())
}

/// What is held of one record.
#[derive(Default)]
struct Held {
    values: usize,
    bytes: usize,
}

impl Held {
    fn add(&mut self, value: &Value) -> Result<(), Rejection> {
        self.values += 1;
        self.bytes += value.bytes.len();
        if self.values > RECORD_VALUES_MAX || self.bytes > RECORD_BYTES_MAX {
            let reason =
                format!("more than {RECORD_VALUES_MAX} values or {RECORD_BYTES_MAX} bytes of them in one record");
            return Err(rejection("too-many-values", reason, place(value.line)));
        }
        Ok(())
    }
}

pub fn place(line: u64) -> String {
    format!("line {line}")
}
