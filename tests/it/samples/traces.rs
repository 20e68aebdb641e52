//! Recorded traffic of connections: what the far end said, fed to a session whole, byte by byte, and cut in two at every
//! byte. However TCP cuts it, the same must come out.

use serde_json::{Value, json};

const TURNS: usize = 50;

/// The bytes of the far end in a recording: `hex-lines` (`label`, tabulator, hex; with `from` only lines of that label),
/// `ami-blocks` (text of both sides in blocks; those that begin with `Action:` are ours), `websocket` (one text that was in a
/// frame) or `raw`. `before`: what the far end said before the recording begins, in lines that end in LF.
pub fn records(form: &str, from: Option<&str>, before: &[String], file: &[u8]) -> Vec<Vec<u8>> {
    let said = before.iter().map(|text| text.replace('\n', "\r\n").into_bytes());
    said.chain(recorded(form, from, file)).collect()
}

fn recorded(form: &str, from: Option<&str>, file: &[u8]) -> Vec<Vec<u8>> {
    let text = || String::from_utf8_lossy(file).into_owned();
    match form {
        "raw" => vec![file.to_vec()],
        "hex-lines" => {
            let text = text();
            let lines = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once('\t'));
            let theirs = lines.filter(|(label, _)| from.is_none_or(|from| *label == from));
            theirs.map(|(_, hex)| unhex(hex)).collect()
        }
        "ami-blocks" => {
            let text = text().replace("\r\n", "\n");
            let begins = text.split_once('\n').filter(|(first, _)| first.starts_with("Asterisk"));
            let (banner, rest) = begins.map_or((None, text.as_str()), |(banner, rest)| (Some(banner), rest));
            let is_ours = |block: &&str| block.trim_start().to_lowercase().starts_with("action:");
            let blocks = rest.split("\n\n").filter(|block| !block.trim().is_empty() && !is_ours(block));
            let wire = |text: &str| text.trim_start_matches('\n').replace('\n', "\r\n");
            let theirs = blocks.map(|block| format!("{}\r\n\r\n", wire(block)).into_bytes());
            banner.into_iter().map(|banner| format!("{banner}\r\n").into_bytes()).chain(theirs).collect()
        }
        // Unmasked, whole, with a length of 16 bits (RFC 6455, section 5.2).
        "websocket" => {
            let length = u16::try_from(file.len()).unwrap().to_be_bytes();
            vec![[&[0x81, 126], &length[..], file].concat()]
        }
        other => panic!("no form `{other}` of a recording"),
    }
}

fn unhex(hex: &str) -> Vec<u8> {
    let digits: Vec<_> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

/// The input of a case: connected, then these bytes in these pieces.
pub fn events<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let hex = |piece: &[u8]| piece.iter().map(|b| format!("{b:02x}")).collect::<String>();
    let pieces = pieces.into_iter().filter(|p| !p.is_empty()).map(|piece| json!({ "bytes": hex(piece) }));
    // A session may take much in several turns, by its timer.
    let turns = std::iter::repeat_n(json!({ "timer": true }), TURNS);
    let events: Vec<Value> = std::iter::once(json!({ "connect": "10.0.0.1:1" })).chain(pieces).chain(turns).collect();
    serde_json::to_vec(&events).unwrap()
}

/// What must not depend on how the bytes were cut: messages, questions, what is kept, everything sent, and how it ended.
pub fn whole(shown: &Value) -> Value {
    let steps = shown["steps"].as_array().unwrap();
    let sent = |key: &str| steps.iter().filter_map(|s| s[key].as_str()).collect::<String>();
    let settled: Vec<_> = steps.iter().filter_map(|s| s["settled"].as_array()).flatten().collect();
    json!({
        "messages": shown["messages"], "asked": shown["asked"], "state": shown["state"], "result": shown["result"],
        "sent": [sent("send"), sent("send-text")], "settled": settled,
    })
}
