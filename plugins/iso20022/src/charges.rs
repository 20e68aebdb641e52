//! The bank's charges, where they were taken out of what was booked.

use busbar_sdk::Rejection;

use crate::amount::Amount;
use crate::leaves::Leaves;
use crate::statement::debits;

/// Where an amount without charges may stand.
const GROSS: [&str; 3] = ["Amt", "AmtDtls/TxAmt/Amt", "AmtDtls/InstdAmt/Amt"];

/// The sum of the charges below `prefix`: since version 04 one part with records, in version 02 several parts. Nothing where none are
/// stated, in more than one currency, or as money given back.
///
/// # Errors
/// `bad-amount`, `bad-structure` with the place.
pub fn of(part: &Leaves, prefix: &str) -> Result<Option<Amount>, Rejection> {
    let at = |name: &str| format!("{prefix}{name}");
    let mut sum: Option<Amount> = None;
    let mut total = part.amounts(&at("TtlChrgsAndTaxAmt"))?;
    if total.is_empty() {
        total = part.amounts(&at("Rcrd/Amt"))?;
        total.extend(part.amounts(&at("Amt"))?);
    }
    let mut is_given_back = false;
    for name in ["Rcrd/CdtDbtInd", "CdtDbtInd"] {
        is_given_back |= debits(part, &at(name))?.contains(&false);
    }
    for charge in total {
        match &mut sum {
            None => sum = Some(charge),
            Some(sum) if sum.currency == charge.currency => sum.units += charge.units,
            Some(_) => return Ok(None),
        }
    }
    Ok(sum.filter(|sum| sum.units > 0 && !is_given_back))
}

/// The amount before the charges, and the charges: of a credit `booked` and the charges, of a debit `booked` without them, where the
/// payment states just that amount.
pub fn gross(part: &Leaves, booked: &Amount, charges: Amount, credit: bool) -> Option<(Amount, Option<Amount>)> {
    let units = if credit { booked.units + charges.units } else { booked.units - charges.units };
    let amount = Amount { units, currency: booked.currency.clone() };
    let is_stated = charges.currency == booked.currency
        && units > 0
        && GROSS.iter().any(|path| part.amount(&[path]).ok().flatten().is_some_and(|stated| stated == amount));
    is_stated.then_some((amount, Some(charges)))
}
