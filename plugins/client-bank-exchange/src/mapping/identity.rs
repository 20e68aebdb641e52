//! Two documents alike but for one field are two; one document in each of its shapes is one.

use super::tests::*;
use busbar_sdk::Control;

const DOCUMENT: &str = "СекцияДокумент=Платежное поручение\nНомер=1\nДата=19.11.2026\nСумма=12.50\nПлательщикСчет=30232810900000000017\n\
    ПлательщикБИК=044000001\nДатаСписано=\nПлательщик1=ПАО Банк//Соколова М А\nПолучательСчет=40702810500000000042\n\
    ДатаПоступило=20.11.2026\nКод=7\nНазначениеПлатежа=За свет, ЛС: 500100\nКонецДокумента\n";

fn ids(documents: &str) -> Vec<String> {
    let (result, seen) = decode_bytes(file(&[HEAD, documents]).as_bytes(), Control::Off);
    assert!(result.is_ok(), "{result:?}");
    seen.drafts.into_iter().filter(|draft| draft.type_.starts_with("payment.")).map(|draft| draft.id).collect()
}

#[test]
fn each_field_tells_two_apart() {
    for (field, value, other) in [
        ("own account", "ПолучательСчет=40702810500000000042", "ПолучательСчет=40702810500000000043"),
        ("Номер", "Номер=1", "Номер=2"),
        ("Дата", "Дата=19.11.2026", "Дата=18.11.2026"),
        ("Сумма", "Сумма=12.50", "Сумма=12.51"),
        ("ПлательщикСчет", "0017", "0018"),
        ("ПлательщикБИК", "044000001", "044000002"),
        ("Плательщик1", "Соколова М А", "Ким О П"),
        ("ДатаПоступило", "ДатаПоступило=20.11.2026", "ДатаПоступило=21.11.2026"),
        ("Код", "Код=7", "Код=8"),
        ("НазначениеПлатежа", "ЛС: 500100", "ЛС: 500200"),
    ] {
        assert!(DOCUMENT.contains(value), "{field}");
        let changed = DOCUMENT.replacen(value, other, 1);
        // Both accounts are the utility's, so that only the account itself changes.
        let head = "РасчСчет=40702810500000000043\n";
        let (one, another) = (ids(&format!("{head}{DOCUMENT}")), ids(&format!("{head}{changed}")));
        assert_ne!(one, another, "{field}");
        assert_eq!(ids(&format!("{head}{DOCUMENT}{changed}")), [one, another].concat(), "{field}");
    }
}

#[test]
fn what_goes_out_is_not_what_comes_in() {
    let sides =
        [("Плательщик", "~"), ("Получатель", "Плательщик"), ("~", "Получатель"), ("ДатаПоступило", "ДатаСписано")];
    let out = DOCUMENT.replace("ДатаСписано=\n", "");
    let out = sides.iter().fold(out, |text, (from, to)| text.replace(from, to)).replace("Получатель1", "Плательщик1");
    let counted = |documents: &str| {
        let (result, seen) = decode_bytes(file(&[HEAD, documents]).as_bytes(), Control::Off);
        assert!(result.is_ok(), "{result:?}");
        data(seen.drafts.last().unwrap())["documents"].clone()
    };
    let both = counted(
        &format!("{}{out}", DOCUMENT.replace("ПлательщикБИК=044000001\n", "")).replace("ПолучательБИК=044000001\n", ""),
    );
    assert_eq!(
        (both["incoming"].as_u64(), both["outgoing"].as_u64(), both["repeated"].as_u64()),
        (Some(1), Some(1), Some(0))
    );
    let two = counted(&format!("{out}{}", out.replace("0017", "0018")));
    assert_eq!((two["outgoing"].as_u64(), two["repeated"].as_u64()), (Some(2), Some(0)));
    let two = counted(&format!("{out}{}", out.replace("044000001", "044000002")));
    assert_eq!((two["outgoing"].as_u64(), two["repeated"].as_u64()), (Some(2), Some(0)));
}

#[test]
fn each_shape_is_the_same() {
    for (value, other) in [
        ("Сумма=12.50", "Сумма=12,5"),
        ("НазначениеПлатежа=За свет, ЛС: 500100", "НазначениеПлатежа=За свет,\nЛС:  500100"),
        ("НазначениеПлатежа=За свет, ЛС: 500100", "НазначениеПлатежа=За свет,\nНазначениеПлатежа=ЛС: 500100"),
        ("НазначениеПлатежа=За свет, ЛС: 500100", "НазначениеПлатежа1=За свет,\nНазначениеПлатежа2=ЛС: 500100"),
        ("Плательщик1=ПАО Банк//Соколова М А", "Плательщик1=ПАО Банк//\nСоколова М А"),
        ("Плательщик1=ПАО Банк//Соколова М А", "Плательщик=ПАО Банк//Соколова М А"),
        ("ПлательщикСчет=", "ПлательщикРасчСчет="),
        ("=Платежное поручение", "="),
        ("ПолучательСчет=", "ПолучательРасчСчет="),
        ("ДатаСписано=\n", "ДатаСписано=20.11.2026\nОчередность=5\n"),
    ] {
        assert!(DOCUMENT.contains(value), "{value}");
        assert_eq!(ids(&DOCUMENT.replacen(value, other, 1)), ids(DOCUMENT), "{other}");
    }
}

#[test]
fn what_nothing_tells_apart_is_refused_or_counted_once_with_totals() {
    let twice = DOCUMENT.repeat(2);
    for control in [Control::Off, Control::Balance] {
        let rejection = decode_bytes(file(&[HEAD, SECTION, &twice]).as_bytes(), control).0.unwrap_err();
        assert_eq!((rejection.code.as_str(), rejection.place.as_deref()), ("repeated-document", Some("line 29")));
        assert!(rejection.reason.contains("line 16"), "{}", rejection.reason);
    }
    let seen = good(&file(&[HEAD, SECTION, &twice, OUTGOING]));
    assert_eq!(seen.drafts.len(), 2);
    let total = SECTION.replace("=12.50", "=25.00").replace("=110.50", "=123.00");
    let rejection = decode_bytes(file(&[HEAD, &total, &twice, OUTGOING]).as_bytes(), Control::Strict).0.unwrap_err();
    assert_eq!(rejection.code, "total-mismatch");
    assert!(rejection.reason.contains("line 29 is that of line 16"), "{}", rejection.reason);
}
