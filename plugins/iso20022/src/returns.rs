//! Codes by which a booking is something that comes back: a bank may say so with its code alone.

use crate::leaves::Leaves;

/// Sub-families of the domain PMNT, ISO 20022 external code set `ExternalBankTransactionSubFamily1Code`: returned and reversed credit
/// transfers, direct debits, cheques and card payments.
const SUB_FAMILIES: [&str; 8] = ["RRTN", "RPCR", "UPDD", "PRDD", "RCDD", "UPCQ", "CQRV", "UPCT"];
/// Geschäftsvorfallcodes of the German banks (DK, DFÜ agreement, annex 3): returned direct debits, cheques and transfers, and
/// returned debits credited again.
const GERMAN: [&str; 9] = ["009", "059", "108", "109", "159", "181", "182", "183", "184"];
/// SWIFT's type of a returned item, which stands before a German code: `NRTI+109+00931`.
const RETURNED_ITEM: &str = "RTI";

/// Whether the code below `prefix` is one of a return.
pub fn is_return_code(part: &Leaves, prefix: &str) -> bool {
    let at = |name: &str| part.text(&[format!("{prefix}{name}").as_str()]).to_owned();
    if SUB_FAMILIES.contains(&at("Domn/Fmly/SubFmlyCd").as_str()) {
        return true;
    }
    let (code, issuer) = (at("Prtry/Cd"), at("Prtry/Issr"));
    let mut parts = code.split('+');
    let swift = parts.next().unwrap_or_default();
    let is_returned_item = swift.len() == 4 && swift.starts_with(['N', 'F', 'S']) && swift.ends_with(RETURNED_ITEM);
    let is_german = matches!(issuer.as_str(), "DK" | "ZKA" | "");
    is_returned_item || (is_german && parts.next().is_some_and(|code| GERMAN.contains(&code)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use busbar_sdk::xml::Xml;

    #[test]
    fn codes_of_returns() {
        let of = |inner: &str| {
            let text = format!("<BkTxCd>{inner}</BkTxCd>");
            let mut xml = Xml::of_bytes(text.as_bytes());
            xml.root().unwrap();
            is_return_code(&Leaves::read(&mut xml).unwrap(), "")
        };
        let domain = |code: &str| of(&format!("<Domn><Fmly><SubFmlyCd>{code}</SubFmlyCd></Fmly></Domn>"));
        let german = |code: &str, issuer: &str| of(&format!("<Prtry><Cd>{code}</Cd><Issr>{issuer}</Issr></Prtry>"));
        assert!(domain("UPDD") && domain("RRTN") && !domain("ESDD") && !domain("ESCT"));
        assert!(german("NRTI+109+00931", "DK") && german("NTRF+159", "ZKA") && german("FRTI", "X"));
        assert!(
            !german("NTRF+166+00931", "DK")
                && !german("NDDT+105", "DK")
                && !german("109", "DK")
                && !german("X+109", "SWIFT")
        );
    }
}
