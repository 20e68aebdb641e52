use super::*;
use crate::settings::RawSettings;
use busbar_sdk::{Draft, TestHub, mutations};
use serde_json::{Value, json};

const HEAD: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Document xmlns=\"urn:iso:std:iso:20022:tech:xsd:camt.053.001.08\">\n\
    <BkToCstmrStmt>\n<GrpHdr><MsgId>M1</MsgId><CreDtTm>2026-11-21T06:00:00</CreDtTm></GrpHdr>\n<Stmt><Id>S1</Id>\n\
    <FrToDt><FrDtTm>2026-11-20T00:00:00</FrDtTm><ToDtTm>2026-11-20T23:59:59</ToDtTm></FrToDt>\n\
    <Acct><Id><Othr><Id>40702810500000000042</Id></Othr></Id>\
    <Svcr><FinInstnId><ClrSysMmbId><MmbId>044000002</MmbId></ClrSysMmbId></FinInstnId></Svcr></Acct>\n";
const TAIL: &str = "</Stmt></BkToCstmrStmt></Document>\n";

fn balance(code: &str, value: &str) -> String {
    format!(
        "<Bal><Tp><CdOrPrtry><Cd>{code}</Cd></CdOrPrtry></Tp><Amt Ccy=\"RUB\">{value}</Amt>\
         <CdtDbtInd>CRDT</CdtDbtInd><Dt><Dt>2026-11-20</Dt></Dt></Bal>\n"
    )
}

fn entry(value: &str, side: &str, more: &str, details: &str) -> String {
    format!(
        "<Ntry><Amt Ccy=\"RUB\">{value}</Amt><CdtDbtInd>{side}</CdtDbtInd>{more}<Sts><Cd>BOOK</Cd></Sts>\
         <BookgDt><Dt>2026-11-20</Dt></BookgDt><NtryDtls>{details}</NtryDtls></Ntry>\n"
    )
}

fn details(number: &str, amount: &str, purpose: &str) -> String {
    let amount = if amount.is_empty() { String::new() } else { format!("<Amt Ccy=\"RUB\">{amount}</Amt>") };
    format!(
        "<TxDtls><Refs><EndToEndId>{number}</EndToEndId></Refs>{amount}<RltdPties>\
         <Dbtr><Pty><Nm>Соколова М. А.</Nm><Id><PrvtId><Othr><Id>770000000123</Id></Othr></PrvtId></Id></Pty></Dbtr>\
         <DbtrAcct><Id><Othr><Id>40817810900000000017</Id></Othr></Id></DbtrAcct></RltdPties>\
         <RmtInf><Ustrd>{purpose}</Ustrd></RmtInf></TxDtls>"
    )
}

fn statement(opening: &str, closing: &str, entries: &[String]) -> String {
    [HEAD, &balance("OPBD", opening), &balance("CLBD", closing), &entries.concat(), TAIL].concat()
}

fn decoded(config: Value, text: &[u8]) -> (Result<(), Rejection>, TestHub) {
    let raw: RawSettings = serde_json::from_value(config).unwrap();
    let mut seen = TestHub::default();
    let result = decode(&Settings::compiled(raw).ok().unwrap(), &mut Xml::of_bytes(text), &mut seen);
    (result, seen)
}

fn good(text: &str) -> TestHub {
    let (result, seen) = decoded(json!({}), text.as_bytes());
    assert!(result.is_ok(), "{result:?}");
    seen
}

fn refused(config: Value, text: &str) -> (String, String) {
    let rejection = decoded(config, text.as_bytes()).0.unwrap_err();
    (rejection.code, rejection.place.unwrap())
}

fn data(draft: &Draft) -> Value {
    serde_json::from_str(&draft.data).unwrap()
}

fn types(seen: &TestHub) -> Vec<&str> {
    seen.drafts.iter().map(|draft| draft.type_.trim_end_matches(".v1")).collect()
}

#[test]
fn entries_become_payments_and_one_summary() {
    let text = statement(
        "100",
        "1150.5",
        &[
            entry("1052.50", "CRDT", "", &details("6032", "", "ЛС: 500100200300, октябрь")),
            entry("2", "DBIT", "", &details("240", "", "За бумагу")),
        ],
    );
    let seen = good(&text);
    assert_eq!(types(&seen), ["payment.received", "statement.imported"]);
    assert_eq!(
        data(&seen.drafts[0]),
        json!({
            "account": "500100200300", "amount": { "value": "1052.50", "currency": "RUB" }, "channel": "bank-statement",
            "paidOn": "2026-11-20", "document": { "number": "6032" },
            "payer": { "name": "Соколова М. А.", "taxId": "770000000123", "account": "40817810900000000017" },
            "receiver": { "account": "40702810500000000042", "bic": "044000002" },
            "purpose": "ЛС: 500100200300, октябрь",
        })
    );
    assert_eq!(seen.drafts[0].time.as_deref(), Some("2026-11-20T00:00:00+03:00"));
    let imported = data(&seen.drafts[1]);
    assert_eq!(
        imported["documents"],
        json!({ "incoming": 1, "outgoing": 1, "internal": 0, "pending": 0, "repeated": 0 })
    );
    // The same in another message, with other numbers of it: nothing new.
    let again = good(&text.replace("M1", "M2").replace("S1", "S2"));
    let ids = |seen: &TestHub| seen.drafts.iter().map(|draft| draft.id.clone()).collect::<Vec<_>>();
    assert_eq!(ids(&again), ids(&seen));
}

#[test]
fn what_does_not_match_is_refused() {
    let one = || entry("10", "CRDT", "", &details("1", "", "лс 500100"));
    let text = statement("100", "110", &[one()]);
    let totals = |count: u32, sum: &str| {
        let summary = format!(
            "<TxsSummry><TtlCdtNtries><NbOfNtries>{count}</NbOfNtries><Sum>{sum}</Sum></TtlCdtNtries>\
             <TtlDbtNtries><Sum>0</Sum></TtlDbtNtries></TxsSummry>"
        );
        text.replacen("<Ntry>", &format!("{summary}<Ntry>"), 1)
    };
    assert!(decoded(json!({}), totals(1, "10.00").as_bytes()).0.is_ok());
    let bal = "element Document/BkToCstmrStmt/Stmt/Bal/Amt";
    let sum = "line 10, element Document/BkToCstmrStmt/Stmt/TxsSummry/TtlCdtNtries/Sum";
    let at = |what: &str| format!("line 10, element Document/BkToCstmrStmt/Stmt/Ntry{what}");
    for (text, code, place) in [
        (text.replace("Ccy=\"RUB\">110", "Ccy=\"RUB\">111"), "balance-mismatch", format!("line 9, {bal}")),
        (text.replace("Ccy=\"RUB\">110", "Ccy=\"USD\">110"), "wrong-currency", format!("line 9, {bal}")),
        (text.replace("Ccy=\"RUB\">10<", "Ccy=\"USD\">10<"), "wrong-currency", format!("line 9, {bal}")),
        (totals(2, "10"), "count-mismatch", sum.to_owned()),
        (totals(1, "10.01"), "total-mismatch", sum.to_owned()),
        (text.replace("CLBD", "CLAV"), "missing-field", "line 5, element Document/BkToCstmrStmt/Stmt".to_owned()),
        (text.replace(">10<", ">10.123456<"), "bad-amount", at("/Amt")),
        (text.replace(">10<", ">0.00001<").replace("110", "100.00001"), "bad-amount", at("")),
        (text.replace("<Cd>BOOK", "<Cd>LOST"), "bad-structure", at("/Sts")),
        (text.replace("CRDT</CdtDbtInd><Sts>", "X</CdtDbtInd><Sts>"), "bad-structure", at("/CdtDbtInd")),
        (text.replace("<Sts><Cd>BOOK</Cd></Sts>", ""), "missing-field", at("")),
        (text.replace("<BookgDt><Dt>2026-11-20</Dt></BookgDt>", ""), "missing-field", at("")),
        (text.replace("<BookgDt><Dt>2026-11-20", "<BookgDt><Dt>2026-11-31"), "bad-date", at("/BookgDt/Dt")),
        (
            text.replace("<ToDtTm>2026-11-20", "<ToDtTm>2026-11-19"),
            "bad-period",
            "line 5, element Document/BkToCstmrStmt/Stmt".to_owned(),
        ),
        ("<html/>".to_owned(), "not-this-format", "line 1".to_owned()),
        (
            "<Document><BkToCstmrAcctRpt/></Document>".to_owned(),
            "wrong-message",
            "line 1, element Document/BkToCstmrAcctRpt".to_owned(),
        ),
        (text.replace("</Document>", ""), "truncated", "line 12, element Document".to_owned()),
    ] {
        assert_eq!(refused(json!({}), &text), (code.to_owned(), place), "{text}");
    }
}

#[test]
fn a_batch_becomes_its_payments() {
    let parts = [details("1", "10", "лс 500100"), details("2", "20.5", "лс 500200"), details("2", "20.5", "лс 500200")];
    let text = statement("0", "51", &[entry("51", "CRDT", "", &parts.concat())]);
    let seen = good(&text);
    assert_eq!(types(&seen), ["payment.received", "payment.received", "payment.received", "statement.imported"]);
    assert_ne!(seen.drafts[1].id, seen.drafts[2].id);
    assert_eq!(data(&seen.drafts[2])["amount"]["value"], "20.50");
    assert_eq!(refused(json!({}), &text.replace(">10<", ">11<")).0, "batch-mismatch");
    // Parts without amounts cannot be credited: the sum is a person's.
    let unclear =
        statement("0", "51", &[entry("51", "CRDT", "", &parts.concat().replace("<Amt Ccy=\"RUB\">10</Amt>", ""))]);
    let seen = good(&unclear);
    assert_eq!(types(&seen), ["payment.rejected", "statement.imported"]);
    assert_eq!(data(&seen.drafts[0])["reason"]["code"], "batch-without-details");
    // Part of a debit is no payment of a customer, whatever the bank writes there.
    let out = parts.concat().replace("<RltdPties>", "<CdtDbtInd>CRDT</CdtDbtInd><RltdPties>");
    assert_eq!(types(&good(&statement("51", "0", &[entry("51", "DBIT", "", &out)]))), ["statement.imported"]);
}

#[test]
fn a_batch_that_is_listed_elsewhere_is_counted_only() {
    let batch = "<Btch><NbOfTxs>3</NbOfTxs></Btch>";
    let text = statement("0", "51", &[entry("51", "CRDT", "", batch)]);
    assert_eq!(types(&good(&text)), ["payment.rejected", "statement.imported"]);
    let (result, seen) = decoded(json!({ "batches": "elsewhere" }), text.as_bytes());
    assert!(result.is_ok());
    assert_eq!(types(&seen), ["statement.imported"]);
}

#[test]
fn money_that_goes_back() {
    let reversal = entry("10", "DBIT", "<RvslInd>true</RvslInd>", &details("6032", "", "лс 500100"));
    let returned = "<RtrInf><Rsn><Cd>AC04</Cd></Rsn></RtrInf></TxDtls>";
    let back = entry("5", "CRDT", "", &details("240", "", "лс 500100").replace("</TxDtls>", returned));
    let unknown = entry("1", "DBIT", "<RvslInd>true</RvslInd>", &details("7", "", "ошибка"));
    let seen = good(&statement("100", "94", &[reversal, back, unknown]));
    assert_eq!(types(&seen), ["payment.refunded", "statement.imported"]);
    let refund = data(&seen.drafts[0]);
    assert_eq!((refund["account"].as_str(), refund["payment"]["number"].as_str()), (Some("500100"), Some("6032")));
    assert_eq!(refund["reason"]["code"], "reversal");
    assert_eq!(refund["payee"]["name"], "Соколова М. А.");
    assert_eq!(seen.warnings.len(), 2, "{:?}", seen.warnings);
}

#[test]
fn what_a_unique_reference_names_counts_once_and_lookalikes_twice() {
    // EndToEndId is the payer's, so two entries that are alike are two; the balances say so, or refuse.
    let one = entry("10", "CRDT", "", &details("1", "", "лс 500100"));
    let twice = |entry: &str, closing: &str| statement("0", closing, &[entry.to_owned(), entry.to_owned()]);
    for alike in [one.clone(), one.replace("<EndToEndId>1</EndToEndId>", "<EndToEndId>NOTPROVIDED</EndToEndId>")] {
        let seen = good(&twice(&alike, "20"));
        assert_eq!(types(&seen), ["payment.received", "payment.received", "statement.imported"]);
        assert_ne!(seen.drafts[0].id, seen.drafts[1].id);
        assert_eq!(refused(json!({}), &twice(&alike, "10")).0, "balance-mismatch");
    }
    for unique in [
        one.replace("<Sts>", "<AcctSvcrRef>R1</AcctSvcrRef><Sts>"),
        one.replace("<Refs>", "<Refs><AcctSvcrRef>R1</AcctSvcrRef>"),
        one.replace("<Refs>", "<Refs><TxId>T1</TxId>"),
    ] {
        let seen = good(&twice(&unique, "10"));
        assert_eq!(data(&seen.drafts[1])["documents"]["repeated"], 1);
        assert_eq!(refused(json!({}), &twice(&unique, "20")).0, "balance-mismatch");
    }
}

#[test]
fn pending_internal_and_old_versions() {
    let pending = entry("7", "CRDT", "", &details("1", "", "лс 500100")).replace("<Cd>BOOK</Cd>", "PDNG");
    let own = entry(
        "10",
        "CRDT",
        "",
        &details("2", "", "перевод лс 500100").replace("40817810900000000017", "40702810500000000099"),
    );
    let (result, seen) =
        decoded(json!({ "own-accounts": ["40702810500000000099"] }), statement("0", "10", &[pending, own]).as_bytes());
    assert!(result.is_ok(), "{result:?}");
    assert_eq!(
        data(&seen.drafts[0])["documents"],
        json!({ "incoming": 1, "outgoing": 0, "internal": 1, "pending": 1, "repeated": 0 })
    );
    let new = statement("0", "10", &[entry("10", "CRDT", "", &details("1", "", "лс 500100"))]);
    let old = new.replace("<Pty>", "").replace("</Pty>", "").replace("<Sts><Cd>BOOK</Cd></Sts>", "<Sts>BOOK</Sts>");
    let old = old
        .replace("RUB", "RUR")
        .replace("<Document xmlns", "<x:Document xmlns:x")
        .replace("</Document", "</x:Document");
    let texts =
        |seen: &TestHub| seen.drafts.iter().map(|draft| (draft.id.clone(), draft.data.clone())).collect::<Vec<_>>();
    assert_eq!(texts(&good(&old)), texts(&good(&new)));
}

#[test]
fn an_envelope_several_statements_and_pages() {
    let first = statement("0", "10", &[entry("10", "CRDT", "", &details("1", "", "лс 500100"))]);
    let page = "<StmtPgntn><PgNb>2</PgNb><LastPgInd>true</LastPgInd></StmtPgntn><FrToDt>";
    let stmt = first.split_once("<Stmt>").unwrap().1.split_once("</Stmt>").unwrap().0;
    let second = stmt.replace("<FrToDt>", page).replace("OPBD", "ITBD").replace(">10<", ">11<").replace("limit", "");
    let both =
        first.replace("</Stmt>", &format!("</Stmt><Stmt>{}</Stmt>", second.replace("<EndToEndId>1", "<EndToEndId>2")));
    let text =
        both.replace("<Document", "<Msg><AppHdr><Fr/></AppHdr><Document").replace("</Document>", "</Document></Msg>");
    let text = text.replacen("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n", "", 1);
    let seen = good(&text);
    assert_eq!(types(&seen), ["payment.received", "statement.imported", "payment.received", "statement.imported"]);
}

#[test]
fn an_account_cut_between_two_pieces_is_found() {
    let purpose = format!("{}лс 5001", "ы".repeat(132) + " ");
    assert_eq!(purpose.chars().count(), 140);
    let cut = details("1", "", &purpose).replace("</Ustrd>", "</Ustrd><Ustrd>00200300 за октябрь</Ustrd>");
    let seen = good(&statement("0", "10", &[entry("10", "CRDT", "", &cut)]));
    assert_eq!(seen.drafts[0].subject.as_deref(), Some("500100200300"));
}

#[test]
fn damaged_and_hostile_bytes_are_refused_or_read_but_never_a_panic() {
    let parts = details("1", "10", "лс 500100") + &details("2", "20.5", "лс 500200");
    let whole = statement("0", "30.5", &[entry("30.5", "CRDT", "", &parts)]).into_bytes();
    let bomb = "<!DOCTYPE a [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;\">]><Document>&b;</Document>".as_bytes().to_vec();
    let deep = "<Document><BkToCstmrStmt><Stmt><Acct>".to_owned() + &"<a>".repeat(100_000);
    let wide = "<Document><BkToCstmrStmt><Stmt><Acct>".to_owned() + &"<a>1</a>".repeat(100_000);
    let all = mutations::of(&whole, 3_000).chain([bomb, deep.into_bytes(), wide.into_bytes()]);
    for bytes in all {
        for control in ["strict", "off"] {
            if let (Err(rejection), _) = decoded(json!({ "control": control }), &bytes) {
                assert!(rejection.place.is_some(), "{rejection:?}");
            }
        }
    }
}
