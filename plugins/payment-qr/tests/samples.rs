//! The genuine codes are read as they stand. The samples are not part of the project; without them the tests say so and pass.

#![allow(clippy::unwrap_used)]

use payment_qr::code::Code;

const SAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/samples/banks/gost_r_56042_qr/");

/// The values of the keys, and the code of the rejection where there is one.
fn read(name: &str, keys: &[&str]) -> Option<Result<Vec<String>, String>> {
    let Ok(bytes) = std::fs::read(format!("{SAMPLES}{name}")) else {
        println!("skipped: no sample {name}");
        return None;
    };
    let values = |code: Code| keys.iter().map(|key| code.field(key).unwrap_or_default().to_owned()).collect();
    Some(Code::parse(&bytes, 1).map(values).map_err(|rejection| rejection.code))
}

#[test]
fn all_of_them() {
    for (name, keys, expected) in [
        ("ST00011_cp1251.txt", vec!["Name", "BankName"], vec!["ООО «Три кита»", "ОАО \"БАНК\""]),
        ("ST00013_koi8r.txt", vec!["Name", "CorrespAcc"], vec!["ООО <Три кита>", "30101810965770000413"]),
        ("ST00012_mandatory_utf8.txt", vec!["Name", "BIC"], vec!["ООО «Три кита»", "044525225"]),
        ("ST00012_custom_separator_hash.txt", vec!["BankName"], vec!["ОАО | \"БАНК\""]),
        (
            "ST00012_counter_reading.txt",
            vec!["BankName", "CounterId", "CounterVal"],
            vec!["=ОАО \"БАНК\"", "1234", "9999"],
        ),
        ("ST00012_persacc_period.txt", vec!["PersAcc", "PersonalAccount", "QuittId"], vec!["2222", "3333", "7"]),
        ("ST00012_sum_names.txt", vec!["Sum", "LastName"], vec!["125000", "Herrmann"]),
        (
            "ST00012_key_case_and_spaces.txt",
            vec!["PersAcc", "PayeeINN", "Sum"],
            vec!["0000000012", "9900000001", "150000"],
        ),
    ] {
        let Some(found) = read(name, &keys) else { return };
        assert_eq!(found, Ok(expected.into_iter().map(str::to_owned).collect()), "{name}");
    }
    for (name, code) in [
        ("INVALID_ST00014.txt", "unknown-encoding"),
        ("INVALID_ST00022.txt", "unknown-version"),
        ("INVALID_only_header.txt", "truncated"),
    ] {
        let Some(found) = read(name, &[]) else { return };
        assert_eq!(found, Err(code.to_owned()), "{name}");
    }
}
