//! Amounts of ISO 20022: up to five digits after the point (ActiveCurrencyAndAmount), always with their currency.

use busbar_sdk::decimal::Decimal;
use busbar_sdk::money::{Money, currency_of_code};

/// Digits after the point that an amount may have.
const SCALE: u32 = 5;
/// Digits after the point that a message may have.
const MESSAGE_SCALE: u32 = 4;

/// An amount in 10^-5 of its currency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Amount {
    pub units: i128,
    pub currency: String,
}

impl Amount {
    /// Nothing for a text that is no such amount, or a currency that ISO 4217 does not have. `RUR`, which some banks still write, is
    /// `RUB`.
    pub fn parse(text: &str, currency: &str) -> Option<Self> {
        let currency = currency_of_code(currency)?;
        Some(Self { units: units(text)?, currency: currency.to_owned() })
    }

    /// As messages carry it; nothing where it has a fifth digit after the point.
    pub fn money(&self) -> Option<Money> {
        let fits = self.units % 10_i128.pow(SCALE - MESSAGE_SCALE) == 0;
        fits.then(|| Money { value: format(self.units), currency: self.currency.clone() })
    }
}

/// 10^-5 of a decimal with a point, never a comma: at most 15 digits before it, and five that are not zero after it.
pub fn units(text: &str) -> Option<i128> {
    let units = Decimal::parse(text).filter(|_| !text.contains(','))?.units(SCALE)?;
    (units.unsigned_abs() < 10_u128.pow(15 + SCALE)).then_some(units)
}

/// The decimal of `units`, with two digits after the point at least.
pub fn format(units: i128) -> String {
    let size = units.unsigned_abs();
    let one = 10_u128.pow(SCALE);
    let fraction = format!("{:05}", size % one);
    let shown = fraction.trim_end_matches('0').len().max(2);
    let sign = if units < 0 { "-" } else { "" };
    format!("{sign}{}.{}", size / one, fraction.get(..shown).unwrap_or(&fraction))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_digits_are_kept_and_four_go_on() {
        for (text, units, value) in [
            ("5442.09000", 544_209_000, Some("5442.09")),
            ("2700", 270_000_000, Some("2700.00")),
            ("0.1234", 12_340, Some("0.1234")),
            ("3.1", 310_000, Some("3.10")),
            ("0.12345", 12_345, None),
        ] {
            let amount = Amount::parse(text, "EUR").unwrap();
            assert_eq!(amount.units, units, "{text}");
            assert_eq!(amount.money().map(|money| money.value).as_deref(), value, "{text}");
        }
        assert_eq!(Amount::parse("1", "RUR").unwrap().currency, "RUB");
        for (text, currency) in
            [("1,5", "EUR"), ("", "EUR"), ("1", "eur"), ("1", ""), ("1", "EUX"), ("0.123456", "EUR"), ("1e5", "EUR")]
        {
            assert_eq!(Amount::parse(text, currency), None, "{text} {currency}");
        }
        assert_eq!(Amount::parse("1000000000000000", "EUR"), None);
        assert_eq!(format(-5), "-0.00005");
    }
}
