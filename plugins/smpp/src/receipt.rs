//! Delivery receipts (section 5.2.12 and appendix B): which message, and what became of it. Pure.

use busbar_sdk::dates::{self, Offset};

use crate::pdu::{Delivered, tag};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Of the message, as the SMS centre writes it here.
    pub id: String,
    pub outcome: Outcome,
    /// For a person.
    pub text: String,
    /// Seconds after 1970.
    pub at: Option<i64>,
    /// How many parts it is of, where it says that they arrived (`dlvrd:`).
    pub arrived: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Delivered,
    /// With the code of `notification.failed.v1`.
    Failed(&'static str),
    /// Nothing yet.
    Waiting,
}

/// message_state and its words in receipts, by their beginnings: SMPP 3.4, 5.2.28 and appendix B; 0 and 9 of SMPP 5.0,
/// 4.7.15.
const STATES: [(u8, &str, Outcome); 10] = [
    (0, "SCHED", Outcome::Waiting),
    (1, "ENROU", Outcome::Waiting),
    (2, "DELIV", Outcome::Delivered),
    (3, "EXPIR", Outcome::Failed("expired")),
    (4, "DELET", Outcome::Failed("cancelled")),
    (5, "UNDEL", Outcome::Failed("undeliverable")),
    // By a clerk of the centre; or, at some centres, by the next network.
    (6, "ACCEP", Outcome::Waiting),
    (7, "UNKNO", Outcome::Failed("unknown")),
    (8, "REJEC", Outcome::Failed("rejected")),
    (9, "SKIPP", Outcome::Failed("rejected")),
];

/// Whether it is one at all; some centres forget to mark them.
pub fn is_receipt(delivered: &Delivered, text: &str) -> bool {
    // A receipt, or an intermediate notification.
    if matches!(delivered.esm_class & 0x3C, 0x04 | 0x20) {
        return true;
    }
    let has = |tag: u16| delivered.parameters.contains_key(&tag);
    let is_written = |name: &str| field(text, name).is_some();
    let by_text = is_written("id") && is_written("stat");
    let with_more = ["sub", "dlvrd", "submit date", "done date", "err"].into_iter().any(is_written);
    has(tag::RECEIPTED_MESSAGE_ID) && has(tag::MESSAGE_STATE) || by_text && with_more
}

/// By the parameters where they are there, else by the text. Nothing where neither tells which message and what became of it.
/// A receipt is the last word of the centre (5.2.12): one whose word is in no table says that it is over, and not how.
pub fn parse(delivered: &Delivered, text: &str, zone: Offset) -> Option<Receipt> {
    let head = text.split(" text:").next().unwrap_or(text).split(" Text:").next().unwrap_or(text);
    let stated = delivered.parameters.get(&tag::RECEIPTED_MESSAGE_ID).map(|value| {
        let id = value.split(|byte| *byte == 0).next().unwrap_or_default();
        id.iter().map(|byte| char::from(*byte)).collect::<String>()
    });
    let id = stated.filter(|id| !id.is_empty()).or_else(|| field(head, "id").map(str::to_owned))?;
    let word = field(head, "stat").map(str::to_ascii_uppercase);
    let by_number = delivered.number(tag::MESSAGE_STATE);
    let by_number = by_number.and_then(|number| STATES.iter().find(|(state, ..)| *state == number));
    let by_word = || STATES.iter().find(|(_, begin, _)| word.as_deref().is_some_and(|word| word.starts_with(begin)));
    let state = by_number.or_else(by_word);
    let number = delivered.number(tag::MESSAGE_STATE);
    let outcome = match (state, &word, number) {
        (Some((_, _, outcome)), ..) => *outcome,
        (None, None, None) => return None,
        _ => Outcome::Failed("unknown"),
    };
    let error = field(head, "err").filter(|error| !error.chars().all(|digit| digit == '0'));
    let by_state = || state.map(|(_, begin, _)| (*begin).to_owned());
    let word = word.or_else(by_state).unwrap_or_else(|| format!("state {}", number.unwrap_or_default()));
    let text = error.map_or_else(|| word.clone(), |error| format!("{word}, error {error}"));
    let is_final = delivered.esm_class & 0x3C != 0x20;
    Some(Receipt {
        id: id.trim().to_owned(),
        outcome: if is_final { outcome } else { Outcome::Waiting },
        text,
        at: field(head, "done date").and_then(|date| moment(date, zone)),
        arrived: field(head, "dlvrd").and_then(|count| count.parse().ok()),
    })
}

/// The word after `name:`, which stands at the beginning or after a blank.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let lower = text.to_ascii_lowercase();
    let label = format!("{name}:");
    let starts = lower.match_indices(&label).map(|(at, _)| at);
    let at = starts.into_iter().find(|at| *at == 0 || lower.as_bytes().get(at - 1) == Some(&b' '))?;
    text.get(at + label.len()..)?.split_ascii_whitespace().next()
}

/// `YYMMDDhhmm`, with or without seconds, local to the centre; or SMPP's own form with tenths, an offset in quarters of an
/// hour and its sign (7.1.1): `YYMMDDhhmmsstnn+`. One that is relative (`R`) is no moment of what is over.
fn moment(text: &str, zone: Offset) -> Option<i64> {
    let local = |digits: &str| dates::parse_compact_date_time(&format!("20{digits}"));
    match text.len() {
        10 => Some(dates::unix_seconds(local(&format!("{text}00"))?, zone)),
        12 => Some(dates::unix_seconds(local(text)?, zone)),
        16 => {
            let quarters: i32 = text.get(13..15)?.parse().ok()?;
            let minutes = match text.get(15..)? {
                "+" => quarters * 15,
                "-" => -quarters * 15,
                _ => return None,
            };
            Some(dates::unix_seconds(local(text.get(..12)?)?, Offset::of_minutes(minutes)?))
        }
        _ => None,
    }
}

/// How the id that came with submit_sm_resp may be written in a receipt: as it is, decimal for hexadecimal, the reverse.
pub fn spellings(id: &str) -> Vec<String> {
    let plain = normal(id);
    let mut all = vec![plain.clone()];
    if let Ok(number) = plain.parse::<u128>() {
        all.push(format!("{number:x}"));
    }
    if let Ok(number) = u128::from_str_radix(&plain, 16) {
        all.push(number.to_string());
    }
    all
}

/// Without zeros before it, in lower case: `0A1F` and `a1f` are the same.
pub fn normal(id: &str) -> String {
    let lower = id.trim().to_ascii_lowercase();
    let short = lower.trim_start_matches('0');
    if short.is_empty() { lower } else { short.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(parameters: &[(u16, &[u8])]) -> Delivered {
        let parameters = parameters.iter().map(|(tag, value)| (*tag, value.to_vec())).collect();
        Delivered { esm_class: 4, parameters, ..Delivered::default() }
    }

    #[test]
    fn by_text() {
        let text = "id:c449ab9744 sub:001 dlvrd:000 submit date:2611221200 done date:2611221205 stat:UNDELIV err:069 text:id:7 stat:DELIVRD";
        let receipt = parse(&with(&[]), text, Offset::MOSCOW).unwrap();
        assert_eq!((receipt.id.as_str(), receipt.outcome), ("c449ab9744", Outcome::Failed("undeliverable")));
        assert_eq!((receipt.text.as_str(), receipt.at), ("UNDELIV, error 069", Some(1_795_338_300)));
        // Seconds; words of other lengths and cases; nothing after them.
        let receipt = parse(&with(&[]), "ID:7 Done Date:261122120530 Stat:Delivered Err:000", Offset::MOSCOW).unwrap();
        assert_eq!(
            (receipt.outcome, receipt.text.as_str(), receipt.at),
            (Outcome::Delivered, "DELIVERED", Some(1_795_338_330))
        );
        for text in ["", "id:7", "stat:DELIVRD", "myid:7 stat:DELIVRD"] {
            assert_eq!(parse(&with(&[]), text, Offset::MOSCOW), None, "{text}");
        }
        assert_eq!(parse(&with(&[]), "id:7 stat:DELIVRD done date:2613221200", Offset::MOSCOW).unwrap().at, None);
    }

    /// SMPP 3.4, 5.2.28 and appendix B; 5.0, 4.7.15. A state that no table has is over, nobody knows how.
    #[test]
    fn each_state_by_number_and_by_word() {
        use Outcome::{Delivered, Failed, Waiting};
        for (number, word, expected) in [
            (0, "SCHEDULED", Waiting),
            (1, "ENROUTE", Waiting),
            (2, "DELIVRD", Delivered),
            (3, "EXPIRED", Failed("expired")),
            (4, "DELETED", Failed("cancelled")),
            (5, "UNDELIV", Failed("undeliverable")),
            (6, "ACCEPTD", Waiting),
            (7, "UNKNOWN", Failed("unknown")),
            (8, "REJECTD", Failed("rejected")),
            (9, "SKIPPED", Failed("rejected")),
            (10, "FAILED", Failed("unknown")),
            (255, "SOLD", Failed("unknown")),
        ] {
            let by_number = parse(&with(&[(0x001E, b"a\0"), (0x0427, &[number])]), "", Offset::MOSCOW).unwrap();
            assert_eq!(by_number.outcome, expected, "{number}");
            let by_word = parse(&with(&[]), &format!("id:a stat:{word} err:014"), Offset::MOSCOW).unwrap();
            assert_eq!((by_word.outcome, by_word.text), (expected, format!("{word}, error 014")));
        }
        let unknown = parse(&with(&[(0x001E, b"a\0"), (0x0427, &[42])]), "", Offset::MOSCOW).unwrap();
        assert_eq!(unknown.text, "state 42");
        // The word where the number is none.
        let both = parse(&with(&[(0x0427, &[42])]), "id:a stat:DELIVRD", Offset::MOSCOW).unwrap();
        assert_eq!(both.outcome, Delivered);
    }

    #[test]
    fn times() {
        let at = |text: &str| moment(text, Offset::MOSCOW);
        // 2026-11-22T12:05+03:00 in each form.
        for text in ["2611221205", "261122120500", "261122120500912+", "261122090500000+", "261122040500020-"] {
            assert_eq!(at(text), Some(1_795_338_300), "{text}");
        }
        for text in ["000000000500000R", "2611221205009xx+", "261322120500912+", "26112212050091", "261122120500912"] {
            assert_eq!(at(text), None, "{text}");
        }
    }

    #[test]
    fn unmarked_ones() {
        for (text, expected) in [
            ("id:7 submit date:2611221158 done date:2611221159 stat:DELIVRD err:000", true),
            ("id:7 sub:001 dlvrd:001 stat:X", true),
            ("sub:001 id:7 stat:DELIVRD", true),
            ("id:7 stat:DELIVRD", false),
            ("id:7 is my flat, err: no light", false),
            ("My id:7, stat: none", false),
        ] {
            assert_eq!(is_receipt(&Delivered::default(), text), expected, "{text}");
        }
    }

    #[test]
    fn parameters_come_first() {
        let both = with(&[(0x001E, b"a1f\0"), (0x0427, &[3])]);
        let receipt = parse(&both, "id:2591 stat:DELIVRD err:000", Offset::MOSCOW).unwrap();
        assert_eq!((receipt.id.as_str(), receipt.outcome), ("a1f", Outcome::Failed("expired")));
        let intermediate = Delivered { esm_class: 0x20, ..with(&[(0x001E, b"a1f\0"), (0x0427, &[5])]) };
        assert_eq!(parse(&intermediate, "", Offset::MOSCOW).unwrap().outcome, Outcome::Waiting);
        let unmarked = Delivered { esm_class: 0, ..both };
        assert!(is_receipt(&unmarked, "") && is_receipt(&Delivered::default(), "id:1 sub:001 dlvrd:001 stat:X"));
        assert!(!is_receipt(&Delivered::default(), "id:1 is my flat"));
    }

    #[test]
    fn ids_in_both_systems() {
        assert_eq!(spellings("00A1F"), ["a1f", "2591"]);
        assert_eq!(spellings("2591"), ["2591", "a1f", "9617"]);
        assert_eq!(spellings("0000"), ["0000", "0", "0"]);
        assert_eq!(spellings("3fb7-x"), ["3fb7-x"]);
    }
}
