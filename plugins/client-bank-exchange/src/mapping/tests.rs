use super::*;
use crate::settings::RawSettings;
use busbar_sdk::{Draft, TestHub, mutations};

pub(super) const HEAD: &str = "1CClientBankExchange\nВерсияФормата=1.03\nКодировка=Windows\nДатаНачала=20.11.2026\nДатаКонца=20.11.2026\nРасчСчет=40702810500000000042\n";
pub(super) const SECTION: &str = "СекцияРасчСчет\nДатаНачала=20.11.2026\nДатаКонца=20.11.2026\nРасчСчет=40702810500000000042\nНачальныйОстаток=100.00\nВсегоПоступило=12.50\nВсегоСписано=2.00\nКонечныйОстаток=110.50\nКонецРасчСчет\n";
pub(super) const INCOMING: &str = "СекцияДокумент=Платежное поручение\nНомер=1\nДата=19.11.2026\nСумма=12.50\nПлательщикСчет=40817810900000000017\nДатаСписано=\nПлательщик1=Соколова Мария Андреевна\nПолучательСчет=40702810500000000042\nДатаПоступило=20.11.2026\nНазначениеПлатежа=ЛС: 500100200300\nКонецДокумента\n";
pub(super) const OUTGOING: &str = "СекцияДокумент=Платежное поручение\nНомер=2\nДата=20.11.2026\nСумма=2\nПлательщикСчет=40702810500000000042\nДатаСписано=20.11.2026\nПолучательСчет=40702810900000000099\nДатаПоступило=\nНазначениеПлатежа=За бумагу\nКонецДокумента\n";

pub(super) fn decode_bytes(bytes: &[u8], control: Control) -> (Result<(), Rejection>, TestHub) {
    let control = match control {
        Control::Strict => "strict",
        Control::Balance => "balance",
        Control::Off => "off",
    };
    decode_with(serde_json::json!({ "control": control }), bytes)
}

pub(super) fn decode_with(config: serde_json::Value, bytes: &[u8]) -> (Result<(), Rejection>, TestHub) {
    let raw: RawSettings = serde_json::from_value(config).unwrap();
    let settings = Settings::compiled(raw).unwrap();
    let mut rest = bytes;
    let mut lines = Lines::new(|max| {
        let (now, later) = rest.split_at(rest.len().min(max as usize).min(1000));
        rest = later;
        now.to_vec()
    });
    let mut seen = TestHub::default();
    let result = decode(&settings, &mut lines, &mut seen);
    (result, seen)
}

pub(super) fn good(text: &str) -> TestHub {
    let (result, seen) = decode_bytes(text.as_bytes(), Control::Strict);
    assert!(result.is_ok(), "{result:?}");
    seen
}

pub(super) fn refused(text: &str) -> (String, String) {
    let rejection = decode_bytes(text.as_bytes(), Control::Strict).0.unwrap_err();
    (rejection.code, rejection.place.unwrap())
}

pub(super) fn data(draft: &Draft) -> serde_json::Value {
    serde_json::from_str(&draft.data).unwrap()
}

pub(super) fn file(parts: &[&str]) -> String {
    parts.concat() + "КонецФайла\n"
}

#[test]
fn a_statement_becomes_payments_and_one_summary() {
    let seen = good(&file(&[HEAD, SECTION, INCOMING, OUTGOING]));
    let types: Vec<_> = seen.drafts.iter().map(|draft| draft.type_.as_str()).collect();
    assert_eq!(types, ["payment.received.v1", "statement.imported.v1"]);
    let payment = &seen.drafts[0];
    assert_eq!(payment.subject.as_deref(), Some("500100200300"));
    assert_eq!(payment.time.as_deref(), Some("2026-11-20T00:00:00+03:00"));
    assert_eq!(payment.place.as_deref(), Some("line 16"));
    assert_eq!(data(payment)["amount"], serde_json::json!({"value": "12.50", "currency": "RUB"}));
    assert_eq!(data(payment)["document"]["date"], "2026-11-19");
    let imported = data(&seen.drafts[1]);
    assert_eq!(imported["documents"]["incoming"], 1);
    assert_eq!(imported["documents"]["outgoing"], 1);
    assert_eq!(imported["payments"], serde_json::json!({"received": 1, "rejected": 0}));
}

#[test]
fn the_same_document_twice_is_one_message_and_one_count() {
    let seen = good(&file(&[HEAD, SECTION, INCOMING, OUTGOING, INCOMING]));
    assert_eq!(seen.drafts.len(), 2);
    assert_eq!(data(&seen.drafts[1])["documents"]["repeated"], 1);
}

#[test]
fn the_same_document_in_another_file_is_the_same_message() {
    let first = good(&file(&[HEAD, SECTION, INCOMING, OUTGOING]));
    let later = INCOMING.replace("Сумма=12.50", "Сумма=12.5");
    let second = good(&file(&[HEAD, SECTION, OUTGOING, &later]));
    assert_eq!(first.drafts[0].id, second.drafts[0].id);
    assert_eq!(first.drafts[1].id, second.drafts[1].id);
}

#[test]
fn no_customer_account_is_a_rejected_payment() {
    let seen = good(&file(&[HEAD, SECTION, &INCOMING.replace("ЛС: 500100200300", "за свет"), OUTGOING]));
    assert_eq!(seen.drafts[0].type_, "payment.rejected.v1");
    assert_eq!(seen.drafts[0].subject.as_deref(), Some("1"));
    assert_eq!(data(&seen.drafts[0])["reason"]["code"], "no-account");
}

#[test]
fn structure_is_checked() {
    let whole = file(&[HEAD, SECTION, INCOMING, OUTGOING]);
    for (text, code, place) in [
        ("".to_owned(), "not-this-format", "line 1"),
        ("<xml/>".to_owned(), "not-this-format", "line 1"),
        (whole.replace("КонецФайла\n", ""), "truncated", "line 36"),
        (whole.clone() + "СекцияДокумент\n", "data-after-end", "line 38"),
        (whole.replace("КонецРасчСчет\n", ""), "bad-structure", "line 15"),
        (whole.replacen("КонецДокумента\n", "", 1), "bad-structure", "line 26"),
        (whole.replace("Номер=1\n", "Номер\n"), "unreadable-line", "line 17"),
        (whole.replace("Дата=19.11.2026", "Дата=31.11.2026"), "bad-date", "line 18, field Дата"),
        (whole.replace("Сумма=12.50", "Сумма=12.505"), "bad-amount", "line 19, field Сумма"),
        (
            whole.replace("КонечныйОстаток=110.50\n", "").replace("ВсегоСписано=2.00\n", ""),
            "missing-field",
            "line 13, field КонечныйОстаток",
        ),
        (
            whole.replace("НачальныйОстаток=100.00\n", "").replace("ВсегоСписано=2.00\n", ""),
            "missing-field",
            "line 13, field НачальныйОстаток",
        ),
        (
            whole.replace("ВсегоСписано=2.00\n", "").replace("=110.50", "=110.51"),
            "balance-mismatch",
            "line 13, field КонечныйОстаток",
        ),
        (
            whole.replace("НачальныйОстаток=100.00\n", "").replace("=12.50\nВ", "=12.60\nВ"),
            "total-mismatch",
            "line 11, field ВсегоПоступило",
        ),
        (whole.replace("40702810500000000042", "40702999500000000042"), "unknown-currency", "line 10, field РасчСчет"),
        (whole.replace("=110.50", "=110.51"), "balance-mismatch", "line 14, field КонечныйОстаток"),
        (whole.replace("Сумма=12.50", "Сумма=12.40"), "total-mismatch", "line 12, field ВсегоПоступило"),
        (whole.replace("Сумма=2\n", "Сумма=3\n"), "total-mismatch", "line 13, field ВсегоСписано"),
        (file(&[HEAD, INCOMING]), "not-a-statement", "line 18"),
        (file(&[HEAD]), "not-a-statement", "line 7"),
    ] {
        assert_eq!(refused(&text), (code.to_owned(), place.to_owned()), "{text}");
    }
}

#[test]
fn encodings_and_line_ends_may_be_mixed() {
    let text = file(&[HEAD, SECTION, INCOMING, OUTGOING]);
    let plain = good(&text);
    let windows: Vec<u8> = text.chars().map(windows_byte).collect();
    let mut mixed = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if index % 3 == 0 {
            mixed.extend_from_slice(line.as_bytes());
        } else {
            mixed.extend(line.chars().map(windows_byte));
        }
        mixed.extend_from_slice([b"\r\n".as_slice(), b"\n", b"\r"][index % 2]);
    }
    for bytes in [windows, mixed] {
        let (result, seen) = decode_bytes(&bytes, Control::Strict);
        assert!(result.is_ok(), "{result:?}");
        let data =
            |seen: &TestHub| seen.drafts.iter().map(|draft| (draft.id.clone(), draft.data.clone())).collect::<Vec<_>>();
        assert_eq!(data(&seen), data(&plain));
    }
}

fn windows_byte(c: char) -> u8 {
    match c {
        'А'..='я' => (c as u32 - 'А' as u32 + 0xC0) as u8,
        _ => u8::try_from(c).unwrap(),
    }
}

#[test]
fn unknown_keys_are_only_logged() {
    let seen = good(&file(&[
        HEAD,
        &SECTION.replace("НачальныйОстаток", "НеизвестноеСвойство=1\nНачальныйОстаток"),
        INCOMING,
        OUTGOING,
    ]));
    assert!(seen.warnings.iter().any(|text| text.contains("НеизвестноеСвойство")), "{:?}", seen.warnings);
}

#[test]
fn a_section_for_each_day_counts_its_own_day() {
    let next = |text: &str| text.replace("20.11.2026", "21.11.2026");
    let second = next(SECTION).replace("=100.00", "=110.50").replace("=110.50\nКонец", "=121.00\nКонец");
    let text = file(&[
        HEAD,
        SECTION,
        &second,
        INCOMING,
        OUTGOING,
        &next(INCOMING).replace("Номер=1", "Номер=3"),
        &next(OUTGOING).replace("Номер=2", "Номер=4"),
    ]);
    let seen = good(&text);
    assert_eq!(seen.drafts.len(), 4);
    assert_eq!(data(&seen.drafts[3])["period"]["start"], "2026-11-21");
    assert_eq!(data(&seen.drafts[3])["documents"]["incoming"], 1);
}

#[test]
fn money_between_own_accounts_is_no_payment() {
    let other = SECTION
        .replace("40702810500000000042", "40702810900000000099")
        .replace("=12.50", "=2.00")
        .replace("ВсегоСписано=2.00", "ВсегоСписано=0")
        .replace("=110.50", "=102.00");
    let transfer = OUTGOING.replace("ДатаПоступило=", "ДатаПоступило=20.11.2026");
    let seen = good(&file(&[HEAD, SECTION, &other, INCOMING, &transfer]));
    assert_eq!(seen.drafts.len(), 3);
    assert_eq!(data(&seen.drafts[1])["documents"]["internal"], 1);
    assert_eq!(data(&seen.drafts[2])["documents"]["internal"], 1);
    assert_eq!(data(&seen.drafts[2])["documents"]["incoming"], 1);
}

#[test]
fn without_control_a_list_of_orders_is_taken() {
    let (result, seen) = decode_bytes(file(&[HEAD, INCOMING]).as_bytes(), Control::Off);
    assert!(result.is_ok(), "{result:?}");
    let imported = data(&seen.drafts[1]);
    assert_eq!(imported["period"]["end"], "2026-11-20");
    assert!(imported.get("openingBalance").is_none());
}

#[test]
fn damaged_bytes_are_refused_or_read_but_never_a_panic() {
    let whole = file(&[HEAD, SECTION, INCOMING, OUTGOING]).into_bytes();
    for (bytes, control) in
        mutations::of(&whole, 5_000).zip([Control::Strict, Control::Balance, Control::Off].into_iter().cycle())
    {
        if let (Err(rejection), _) = decode_bytes(&bytes, control) {
            assert!(rejection.place.is_some(), "{rejection:?}");
        }
    }
}

#[test]
fn sums_of_nothing_and_less() {
    let zero = INCOMING.replace("Номер=1", "Номер=8").replace("=12.50", "=0.00");
    let storno = INCOMING.replace("=12.50", "=-12.50");
    let seen = good(&file(&[HEAD, SECTION, INCOMING, &zero, OUTGOING]));
    assert_eq!((seen.drafts.len(), seen.left_out.len()), (2, 1));
    assert_eq!(seen.left_out[0].code, "zero-sum");
    // Turnovers less the storno, or with it on the other side.
    let net = SECTION.replace("=12.50", "=0.00").replace("=110.50", "=98.00");
    let gross = SECTION.replace("=2.00", "=14.50").replace("=110.50", "=98.00");
    for section in [&net, &gross] {
        let seen = good(&file(&[HEAD, section, INCOMING, &storno, OUTGOING]));
        let types: Vec<_> = seen.drafts.iter().map(|draft| draft.type_.as_str()).collect();
        assert_eq!(types, ["payment.received.v1", "payment.refunded.v1", "statement.imported.v1"]);
        assert_eq!(data(&seen.drafts[1])["amount"]["value"], "12.50");
    }
    let with = |config: serde_json::Value, documents: &str| {
        decode_with(config, file(&[HEAD, &net, documents, OUTGOING]).as_bytes())
    };
    let both = format!("{INCOMING}{storno}");
    let (_, seen) = with(serde_json::json!({ "negative-sums": "left-out" }), &both);
    assert_eq!((seen.drafts.len(), seen.left_out[0].code.as_str()), (2, "negative-sum"));
    let nameless = both.replace("ЛС: 500100200300", "за свет");
    assert_eq!(with(serde_json::json!({}), &nameless).1.left_out[0].code, "negative-sum");
    for (config, documents, code) in [
        (serde_json::json!({ "negative-sums": "refused" }), both.as_str(), "negative-sum"),
        (serde_json::json!({ "zero-sums": "refused" }), zero.as_str(), "zero-sum"),
    ] {
        assert_eq!(with(config, documents).0.unwrap_err().code, code);
    }
}

#[test]
fn a_line_without_a_known_key_goes_on_with_the_text_before() {
    let purpose = |lines: &str| {
        let seen =
            good(&file(&[HEAD, SECTION, &INCOMING.replace("НазначениеПлатежа=ЛС: 500100200300", lines), OUTGOING]));
        let found = data(&seen.drafts[0]);
        (
            seen.drafts[0].subject.clone().unwrap(),
            found["purpose"].as_str().unwrap().to_owned(),
            found["payer"]["name"].clone(),
        )
    };
    for (lines, text) in [
        ("НазначениеПлатежа=Оплата, в т.ч.\nНДС 22%=126.23 ЛС: 500100", "Оплата, в т.ч. НДС 22%=126.23 ЛС: 500100"),
        (
            "НазначениеПлатежа=Оплата. Реквизиты:\nСумма=700 руб ЛС: 500100",
            "Оплата. Реквизиты: Сумма=700 руб ЛС: 500100",
        ),
        ("НазначениеПлатежа=Оплата\nКод=по договору ЛС: 500100", "Оплата Код=по договору ЛС: 500100"),
        ("НазначениеПлатежа=Оплата\nЛС=500100", "Оплата ЛС=500100"),
        ("НазначениеПлатежа=Оплата\nНазначениеПлатежа=ЛС: 500100", "Оплата ЛС: 500100"),
        ("НазначениеПлатежа=\nЛС: 500100", "ЛС: 500100"),
        ("НазначениеПлатежа=Оплата\n\nдва=2\nЛС: 500100\nОчередность=5\nРезервноеПоле=ЛС 1", "Оплата два=2 ЛС: 500100"),
    ] {
        assert_eq!(purpose(lines), ("500100".into(), text.into(), "Соколова Мария Андреевна".into()), "{lines}");
    }
    let seen = good(&file(&[
        HEAD,
        SECTION,
        &INCOMING.replace("НазначениеПлатежа=ЛС: 500100200300", "НазначениеПлатежа=ЛС 5001\n00200300"),
        OUTGOING,
    ]));
    assert_eq!(data(&seen.drafts[0])["reason"]["code"], "ambiguous-account");
    let names =
        INCOMING.replace("Мария Андреевна", "Мария\nАндреевна\nПлательщикОГРН=1\nПлательщикБанк1=ПАО\n\"Банк\"");
    let seen = good(&file(&[HEAD, SECTION, &names, OUTGOING]));
    assert_eq!(data(&seen.drafts[0])["payer"]["name"], "Соколова Мария Андреевна");
    assert!(seen.warnings.iter().any(|text| text.contains("ПлательщикОГРН")), "{:?}", seen.warnings);
    let contradiction = INCOMING.replace("НазначениеПлатежа=ЛС: 500100200300", "НазначениеПлатежа=Оплата\nСумма=13.00");
    assert_eq!(refused(&file(&[HEAD, SECTION, &contradiction, OUTGOING])).0, "repeated-field");
}

#[test]
fn what_is_no_payment_of_a_customer_is_rejected() {
    for (purpose, code) in [
        ("За свет (МБОУ СОШ 5, л/с 03221009820)", "treasury-account"),
        ("Возврат средств по п/п 3, ЛС: 500100", "returned"),
        ("ВОЗВРАТ ЛС: 500100", "returned"),
    ] {
        let seen = good(&file(&[HEAD, SECTION, &INCOMING.replace("ЛС: 500100200300", purpose), OUTGOING]));
        assert_eq!(data(&seen.drafts[0])["reason"]["code"], code, "{purpose}");
    }
}

#[test]
fn sections_without_turnovers_or_after_documents() {
    let parts = ["ВсегоПоступило=12.50\n", "ВсегоСписано=2.00\n", "КонечныйОстаток=110.50\n"];
    for absent in [&parts[..1], &parts[1..2], &parts[..2], &parts[2..]] {
        let section = absent.iter().fold(SECTION.to_owned(), |section, part| section.replace(part, ""));
        assert_eq!(good(&file(&[HEAD, &section, INCOMING, OUTGOING])).drafts.len(), 2, "{section}");
    }
    let bare = parts.iter().fold(SECTION.to_owned(), |section, part| section.replace(part, ""));
    let (result, seen) = decode_bytes(file(&[HEAD, &bare, INCOMING]).as_bytes(), Control::Balance);
    assert!(result.is_ok() && seen.warnings.iter().any(|text| text.contains("line 7: a section whose balances")));
    let seen = good(&file(&[HEAD, INCOMING, SECTION, OUTGOING]));
    assert_eq!(data(&seen.drafts[1])["documents"]["incoming"], 1);
    let later = SECTION.replace("ДатаКонца=20", "ДатаКонца=21");
    assert_eq!(refused(&file(&[HEAD, INCOMING, &later, OUTGOING])), ("bad-structure".into(), "line 18".into()));
    let odd = SECTION.replace("=100.00", "=1 100-00").replace("=110.50", "=1'110.50");
    assert_eq!(data(&good(&file(&[HEAD, &odd, INCOMING, OUTGOING])).drafts[1])["openingBalance"]["value"], "1100.00");
}
