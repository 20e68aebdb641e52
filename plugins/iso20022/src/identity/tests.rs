//! Two facts alike but for one field are two; one fact in each of its shapes is one.

use busbar_sdk::TestHub as Stated;
use busbar_sdk::xml::Xml;
use serde_json::{Value, json};

use crate::settings::{RawSettings, Settings};

/// A credit that has everything, with the bank's reference only where a row puts it.
const DETAILS: &str = "<TxDtls><Refs><InstrId>I1</InstrId><EndToEndId>E1</EndToEndId><TxId>T1</TxId>\
    <UETR>8a562c67-ca16-48ba-b074-65581be6f001</UETR><ChqNb>C1</ChqNb></Refs><Amt Ccy=\"RUB\">10</Amt><RltdPties>\
    <Dbtr><Nm>Соколова М. А.</Nm></Dbtr><DbtrAcct><Id><Othr><Id>40817810900000000017</Id></Othr></Id></DbtrAcct>\
    <UltmtDbtr><Nm>Соколов П. А.</Nm></UltmtDbtr><CdtrAcct><Id><Othr><Id>40702810500000000042</Id></Othr></Id></CdtrAcct></RltdPties>\
    <RmtInf><Ustrd>за свет, ЛС 500100</Ustrd><Strd><RfrdDocInf><Nb>N1</Nb></RfrdDocInf>\
    <CdtrRefInf><Ref>777777</Ref></CdtrRefInf></Strd></RmtInf><AddtlTxInf>касса 5</AddtlTxInf></TxDtls>";
const REFERENCE: &str = "<AcctSvcrRef>R1</AcctSvcrRef>";

fn entry(reference: &str, details: &str) -> String {
    format!(
        "<Ntry><Amt Ccy=\"RUB\">10</Amt><CdtDbtInd>CRDT</CdtDbtInd><RvslInd>false</RvslInd><Sts>BOOK</Sts>\
         <BookgDt><Dt>2026-11-20</Dt></BookgDt>{reference}<NtryDtls>{details}</NtryDtls><AddtlNtryInf>зачислено</AddtlNtryInf></Ntry>"
    )
}

fn notification(entries: &str) -> String {
    format!(
        "<Document><BkToCstmrDbtCdtNtfctn><GrpHdr><MsgId>M1</MsgId></GrpHdr><Ntfctn><Id>N1</Id>\
         <Acct><Id><Othr><Id>40702810500000000042</Id></Othr></Id></Acct>{entries}</Ntfctn></BkToCstmrDbtCdtNtfctn></Document>"
    )
}

fn statement(entries: &str) -> String {
    notification(entries).replace("BkToCstmrDbtCdtNtfctn", "BkToCstmrStmt").replace("Ntfctn>", "Stmt>").replace(
        "</Acct>",
        "</Acct><Bal><Tp><CdOrPrtry><Cd>OPBD</Cd></CdOrPrtry></Tp><Amt Ccy=\"RUB\">0</Amt><CdtDbtInd>CRDT</CdtDbtInd>\
         <Dt><Dt>2026-11-20</Dt></Dt></Bal>",
    )
}

fn decoded(config: Value, text: &str) -> Result<Stated, (String, String)> {
    let raw: RawSettings = serde_json::from_value(config).unwrap();
    let mut stated = Stated::default();
    let result = crate::mapping::decode(
        &Settings::compiled(raw).ok().unwrap(),
        &mut Xml::of_bytes(text.as_bytes()),
        &mut stated,
    );
    result.map(|()| stated).map_err(|found| (found.code, found.reason))
}

/// Ids of the payments, whatever became of them.
fn ids(text: &str) -> Vec<String> {
    let stated = decoded(json!({ "control": "off" }), text).unwrap();
    stated.drafts.into_iter().filter(|draft| draft.type_.starts_with("payment.")).map(|draft| draft.id).collect()
}

/// The ids of two bookings that stand in files of their own, and in one file.
fn are_two(one: &str, other: &str) -> bool {
    let apart = ids(&notification(one)) != ids(&notification(other));
    let together = ids(&notification(&format!("{one}{other}")));
    apart && together.len() == 2 && together[0] != together[1]
}

#[test]
fn without_the_banks_reference_each_field_tells_two_apart() {
    let one = entry("", DETAILS);
    for (field, value, other) in [
        ("Amt", "Ccy=\"RUB\">10</Amt><CdtDbtInd>", "Ccy=\"RUB\">11</Amt><CdtDbtInd>"),
        ("currency", "Ccy=\"RUB\">10</Amt><CdtDbtInd>", "Ccy=\"KZT\">10</Amt><CdtDbtInd>"),
        ("day", "2026-11-20", "2026-11-21"),
        ("InstrId", ">I1<", ">I2<"),
        ("EndToEndId", ">E1<", ">E2<"),
        ("TxId", ">T1<", ">T2<"),
        ("UETR", "6f001", "6f002"),
        ("ChqNb", ">C1<", ">C2<"),
        ("payer's account", "0017<", "0018<"),
        (
            "own account as the payment names it",
            "CdtrAcct><Id><Othr><Id>40702810500000000042",
            "CdtrAcct><Id><Othr><Id>40702810500000000043",
        ),
        ("payer's name", "Соколова М. А.", "Ким О. П."),
        ("who paid in the end", "Соколов П. А.", "Ким О. П."),
        ("purpose", "за свет, ЛС 500100", "за свет, ЛС 500200"),
        ("invoice", ">N1<", ">N2<"),
        ("creditor's reference", ">777777<", ">777778<"),
        ("further information", "касса 5", "касса 6"),
        ("information of the entry", "зачислено", "зачислено позже"),
    ] {
        assert!(one.contains(value), "{field}");
        assert!(are_two(&one, &one.replacen(value, other, 1)), "{field}");
    }
    let other_account = notification(&one).replacen("40702810500000000042", "40702810500000000044", 1);
    assert_ne!(ids(&notification(&one)), ids(&other_account), "own account");
}

#[test]
fn with_the_banks_reference_it_is_reference_account_side_day_and_amount() {
    let one = entry(REFERENCE, DETAILS);
    for (field, value, other) in [
        ("AcctSvcrRef", ">R1<", ">R2<"),
        ("Amt", "Ccy=\"RUB\">10</Amt><CdtDbtInd>", "Ccy=\"RUB\">11</Amt><CdtDbtInd>"),
        ("currency", "Ccy=\"RUB\">10</Amt><CdtDbtInd>", "Ccy=\"KZT\">10</Amt><CdtDbtInd>"),
        ("day", "2026-11-20", "2026-11-21"),
    ] {
        assert!(are_two(&one, &one.replacen(value, other, 1)), "{field}");
    }
    let other_account = notification(&one).replacen("40702810500000000042", "40702810500000000044", 1);
    assert_ne!(ids(&notification(&one)), ids(&other_account), "own account");
    // Sides, and a reversal on the side of what it reverses: as money that goes back.
    let returned = |entry: &str| entry.replace("</TxDtls>", "<RtrInf><Rsn><Cd>AC04</Cd></Rsn></RtrInf></TxDtls>");
    let debit = returned(&one.replacen("CRDT", "DBIT", 1));
    assert!(are_two(&debit, &debit.replacen("RvslInd>false", "RvslInd>true", 1)), "reversal");
    assert!(are_two(&one, &debit), "side");
    // The rest may be missing in another shape, or be cut.
    for less in [
        one.replace("<TxId>T1</TxId>", ""),
        one.replace("<Dbtr><Nm>Соколова М. А.</Nm></Dbtr>", ""),
        one.replace("за свет, ЛС", "ЛС"),
        one.replace(DETAILS, "<Btch><NbOfTxs>1</NbOfTxs></Btch>"),
        one.replace("<Refs>", "<Refs><AcctSvcrRef>R1-1</AcctSvcrRef>"),
        entry("", &DETAILS.replace("<Refs>", "<Refs><AcctSvcrRef>R1</AcctSvcrRef>")),
        one.replace("<Dt>2026-11-20</Dt>", "<DtTm>2026-11-20T13:15:00+03:00</DtTm>"),
    ] {
        assert_eq!(ids(&notification(&one)), ids(&statement(&less)), "{less}");
    }
}

#[test]
fn a_notification_and_a_statement_of_one_batch_list_the_same_payments() {
    let part = |refs: &str, amount: &str, purpose: &str| {
        format!(
            "<TxDtls><Refs>{refs}</Refs><Amt Ccy=\"RUB\">{amount}</Amt><RmtInf><Ustrd>{purpose}</Ustrd></RmtInf></TxDtls>"
        )
    };
    let batch = |parts: &[String]| entry(REFERENCE, &parts.concat());
    let full = [
        part("<AcctSvcrRef>R1-1</AcctSvcrRef><EndToEndId>A</EndToEndId><TxId>T1</TxId>", "2", "ЛС 500100"),
        part("<AcctSvcrRef>R1-2</AcctSvcrRef><EndToEndId>B</EndToEndId><TxId>T2</TxId>", "4", "ЛС 500100"),
        part("<AcctSvcrRef>R1-3</AcctSvcrRef><EndToEndId>C</EndToEndId><TxId>T3</TxId>", "4", "ЛС 500100"),
    ];
    let fewer = [part("", "2", "ЛС 500100"), part("", "4", "ЛС 500100"), part("", "4", "ЛС  500100")];
    let found = ids(&notification(&batch(&full)));
    assert_eq!(found, ids(&statement(&batch(&fewer))));
    assert!(found.len() == 3 && found[1] != found[2]);
    // The reference of the entry, the amount and the purpose of the part, and how often the like came.
    for other in [
        batch(&fewer).replace(">R1<", ">R2<"),
        batch(&fewer).replacen(">10</Amt>", ">12</Amt>", 1),
        batch(&fewer).replacen(">2</Amt>", ">3</Amt>", 1),
        batch(&fewer).replacen("500100", "500200", 1),
        batch(&fewer).replacen("2026-11-20", "2026-11-21", 1),
    ] {
        assert_ne!(ids(&statement(&other))[0], found[0], "{other}");
    }
    // The whole batch again in one file, and another one of the same reference.
    let twice = ids(&notification(&batch(&full).repeat(2)));
    assert_eq!(twice, found);
    let other = format!("{}{}", batch(&full), batch(&full).replace("500100", "500200"));
    let (code, reason) = decoded(json!({ "control": "off" }), &notification(&other)).unwrap_err();
    assert_eq!(code, "repeated-reference");
    assert!(reason.contains("line 1"), "{reason}");
}

#[test]
fn a_reference_of_two_bookings_is_refused_unless_it_is_none() {
    let one = entry(REFERENCE, DETAILS);
    for (value, other) in
        [("ЛС 500100", "ЛС 500200"), (">E1<", ">E2<"), (">T1<", ">T2<"), ("Соколова", "Ким"), ("0017<", "0018<")]
    {
        let both = format!("{one}\n{}", one.replacen(value, other, 1));
        let (code, reason) = decoded(json!({}), &notification(&both)).unwrap_err();
        assert_eq!(code, "repeated-reference");
        assert!(reason.contains("line 1"), "{reason}");
        let stated = decoded(json!({ "entry-reference": "ignored" }), &notification(&both)).unwrap();
        assert_ne!(stated.drafts[0].id, stated.drafts[1].id);
        for none in ["NONREF", "NOTPROVIDED", "Not Provided", "0000", "-"] {
            let stated = decoded(json!({}), &notification(&both.replace(">R1<", &format!(">{none}<")))).unwrap();
            assert_ne!(stated.drafts[0].id, stated.drafts[1].id, "{none}");
        }
    }
}

#[test]
fn an_ignored_reference_is_one_field_among_others() {
    let of = |text: &str| {
        let stated = decoded(json!({ "entry-reference": "ignored" }), &notification(text)).unwrap();
        stated.drafts.into_iter().map(|draft| draft.id).collect::<Vec<_>>()
    };
    let one = entry(REFERENCE, &DETAILS.replace("<Refs>", "<Refs><AcctSvcrRef>P1</AcctSvcrRef>"));
    for (value, other) in [(">R1<", ">R2<"), (">P1<", ">P2<")] {
        assert_ne!(of(&one), of(&one.replace(value, other)));
        assert_eq!(of(&format!("{one}{}", one.replace(value, other))).len(), 2);
    }
}

#[test]
fn what_is_sent_again_is_the_same() {
    let alike = entry(
        "",
        &DETAILS.replace("<TxId>T1</TxId>", "").replace("<UETR>8a562c67-ca16-48ba-b074-65581be6f001</UETR>", ""),
    );
    let once = ids(&notification(&alike.repeat(2)));
    assert!(once.len() == 2 && once[0] != once[1]);
    let again = notification(&alike.repeat(2)).replace("<MsgId>M1", "<MsgId>M2").replace("<Id>N1", "<Id>N2");
    assert_eq!(ids(&again), once);
    // Within one file: a notification of the same number again, and a further one.
    let repeated =
        notification(&alike).replace("</Ntfctn>", &format!("</Ntfctn>{}", inner(&notification(&alike), "N1")));
    assert_eq!(ids(&repeated), [once[0].clone(), once[0].clone()]);
    let further =
        notification(&alike).replace("</Ntfctn>", &format!("</Ntfctn>{}", inner(&notification(&alike), "N2")));
    assert_eq!(ids(&further), once);
}

fn inner(text: &str, number: &str) -> String {
    let start = text.find("<Ntfctn>").unwrap();
    let end = text.find("</Ntfctn>").unwrap();
    format!("{}</Ntfctn>", text[start..end].replace("<Id>N1</Id>", &format!("<Id>{number}</Id>")))
}
