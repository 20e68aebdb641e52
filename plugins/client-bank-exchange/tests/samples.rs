//! Every genuine file gives the right messages or one clear rejection. The samples are not part of the project; without
//! them the tests say so and pass.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use busbar_sdk::{Lines, Rejection, TestHub, parse_settings};
use client_bank_exchange::mapping::decode;
use client_bank_exchange::settings::Settings;

const SAMPLES: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/samples/accounting_1c/client_bank_exchange/");

/// Nothing when the samples are absent.
fn decoded(name: &str, control: &str) -> Option<(Result<(), Rejection>, TestHub)> {
    let Ok(bytes) = std::fs::read(format!("{SAMPLES}{name}")) else {
        println!("skipped: no sample {name}");
        return None;
    };
    // Some of the published accounts are invented, with no currency in them.
    let settings = parse_settings(&format!(r#"{{"control":"{control}","currency":"RUB"}}"#)).unwrap();
    let settings = Settings::compiled(settings).unwrap();
    let mut rest = bytes.as_slice();
    let mut lines = Lines::new(|max| {
        let (now, later) = rest.split_at(rest.len().min(max as usize));
        rest = later;
        now.to_vec()
    });
    let mut seen = TestHub::default();
    let result = decode(&settings, &mut lines, &mut seen);
    Some((result, seen))
}

fn refused(name: &str, control: &str, code: &str, place: &str) {
    let Some((result, _)) = decoded(name, control) else { return };
    let rejection = result.expect_err(name);
    assert_eq!(
        (rejection.code.as_str(), rejection.place.as_deref()),
        (code, Some(place)),
        "{name}: {}",
        rejection.reason
    );
}

#[test]
fn totals_that_do_not_match_are_refused() {
    // These were shortened by whoever published them: the totals are of the whole statement.
    refused("condo_1CClientBankExchange.txt", "strict", "total-mismatch", "line 16, field ВсегоПоступило");
    refused("dmdv_1c_format_demo.txt", "strict", "total-mismatch", "line 16, field ВсегоПоступило");
    refused("dronm_kl_to_1c_cp1251.txt", "strict", "total-mismatch", "line 16, field ВсегоПоступило");
    // Its second account has totals and no documents.
    refused("xini1_sample1_utf8.txt", "strict", "total-mismatch", "line 27, field ВсегоПоступило");
}

#[test]
fn a_missing_closing_balance_is_none_that_is_needed_but_the_end_is() {
    refused("condo_1CClientBankExchange-Invalid.txt", "strict", "truncated", "line 19");
    refused("condo_1CClientBankExchange-Invalid.txt", "off", "truncated", "line 19");
}

#[test]
fn payment_orders_are_no_statement() {
    refused("xini1_sample2_utf8.txt", "strict", "not-a-statement", "line 52");
    refused("xini1_sample3_utf8.txt", "strict", "not-a-statement", "line 53");
    refused("xini1_sample4_utf8.txt", "balance", "not-a-statement", "line 53");
    refused("xini1_sample5_utf8.txt", "balance", "not-a-statement", "line 258");
    let Some((result, seen)) = decoded("xini1_sample5_utf8.txt", "off") else { return };
    assert!(result.is_ok(), "{result:?}");
    assert_eq!(seen.drafts.len(), 1);
    assert!(seen.drafts[0].data.contains(r#""pending":6"#), "{}", seen.drafts[0].data);
}

#[test]
fn a_selection_of_documents_is_taken_with_control_of_balances() {
    let Some((result, seen)) = decoded("condo_1CClientBankExchange.txt", "balance") else { return };
    assert!(result.is_ok(), "{result:?}");
    let messages: Vec<_> = seen
        .drafts
        .iter()
        .map(|draft| {
            (
                draft.type_.as_str(),
                draft.subject.as_deref().unwrap_or_default(),
                draft.place.as_deref().unwrap_or_default(),
            )
        })
        .collect();
    assert_eq!(
        messages,
        [
            ("payment.received.v1", "50133547364", "line 50"),
            ("payment.received.v1", "1234567", "line 80"),
            ("statement.imported.v1", "40702810801500116391", "line 11"),
        ]
    );
    assert!(seen.drafts[0].data.contains(r#""value":"1052.98""#));
    assert!(seen.drafts[1].data.contains(r#""value":"1166.98""#));
    assert!(
        seen.drafts[2]
            .data
            .contains(r#""documents":{"incoming":2,"outgoing":2,"internal":0,"pending":0,"repeated":0}"#)
    );
    assert!(seen.warnings.iter().any(|text| text.contains("UTF-8 although windows-1251")), "{:?}", seen.warnings);
}

#[test]
fn only_outgoing_and_foreign_documents_make_no_payment() {
    let Some((result, seen)) = decoded("dronm_kl_to_1c_cp1251.txt", "balance") else { return };
    assert!(result.is_ok(), "{result:?}");
    assert_eq!(seen.drafts.len(), 1);
    assert!(seen.drafts[0].data.contains(r#""outgoing":2"#), "{}", seen.drafts[0].data);
    assert!(seen.warnings.iter().any(|text| text.contains("concerns no account")), "{:?}", seen.warnings);
    let Some((result, seen)) = decoded("dmdv_1c_format_demo.txt", "balance") else { return };
    assert!(result.is_ok(), "{result:?}");
    assert!(seen.drafts[0].data.contains(r#""outgoing":2"#), "{}", seen.drafts[0].data);
}

#[test]
fn several_sections_and_a_transfer_within_one_account() {
    let Some((result, seen)) = decoded("xini1_sample1_utf8.txt", "balance") else { return };
    assert!(result.is_ok(), "{result:?}");
    let types: Vec<_> = seen.drafts.iter().map(|draft| draft.type_.as_str()).collect();
    assert_eq!(types, ["statement.imported.v1", "statement.imported.v1"]);
    let counts = r#""documents":{"incoming":1,"outgoing":1,"internal":1,"pending":0,"repeated":1}"#;
    assert!(seen.drafts[0].data.contains(counts), "{}", seen.drafts[0].data);
}
