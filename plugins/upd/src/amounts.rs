//! Tax out of amounts that include it. Exact: kopecks, rounded half up, and millionths for prices.

use busbar_sdk::Rejection;
use busbar_sdk::rejection;

/// A rate of НДС.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rate {
    Percent(i128),
    WithoutTax,
}

impl Rate {
    /// `22%`, `без НДС`.
    pub fn parse(text: &str) -> Option<Self> {
        if text == "без НДС" {
            return Some(Self::WithoutTax);
        }
        text.strip_suffix('%')?.parse().ok().map(Self::Percent)
    }

    /// The tax in `gross` kopecks, not negative.
    pub fn tax_in(self, gross: i128) -> i128 {
        match self {
            Self::Percent(percent) => gross - half_up(gross * 100, 100 + percent),
            Self::WithoutTax => 0,
        }
    }
}

/// `numerator` / `denominator`, rounded half up; neither negative.
fn half_up(numerator: i128, denominator: i128) -> i128 {
    if denominator == 0 { 0 } else { (numerator * 2 + denominator) / (denominator * 2) }
}

/// The price of one unit without tax: net kopecks by a quantity in millionths. At most 6 digits after the point; nothing where
/// they show none, since a price is above zero (XSD of ФНС, `ЦенаТов`).
pub fn price(net: i128, quantity_millionths: i128) -> Option<String> {
    if quantity_millionths <= 0 {
        return None;
    }
    // Kopecks are 10^-2, the quantity 10^-6: in millionths of a rouble it is net * 10^4 * 10^6 / quantity.
    let millionths = half_up(net.checked_mul(10_000_000_000)?, quantity_millionths);
    if millionths == 0 {
        return None;
    }
    let text = format!("{}.{:06}", millionths / 1_000_000, millionths % 1_000_000);
    let text = text.trim_end_matches('0');
    Some(match text.strip_suffix('.') {
        Some(whole) => format!("{whole}.00"),
        None => text.to_owned(),
    })
}

/// Kopecks of an amount of a message, which has up to four digits after the point.
///
/// # Errors
/// `bad-value`: finer than kopecks, or not positive: a correction is no УПД.
pub fn kopecks(value: &str, place: &str) -> Result<i128, Rejection> {
    let trimmed = match value.split_once('.') {
        Some((whole, fraction)) => match fraction.trim_end_matches('0') {
            "" => whole.to_owned(),
            fraction => format!("{whole}.{fraction}"),
        },
        None => value.to_owned(),
    };
    let minor = busbar_sdk::money::parse_minor(&trimmed)
        .ok_or_else(|| rejection("bad-value", format!("`{value}` is no amount in kopecks"), place))?;
    if minor < 0 {
        return Err(rejection("bad-value", "a negative amount is a correction (УКД), which is not written", place));
    }
    Ok(minor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tax_is_taken_out_half_up() {
        // 122 / 1.22 = 100; 0.01 / 1.22 = 0.008 -> 0.01; 1487.60 * 20 / 120 = 247.9333
        for (rate, gross, tax) in
            [("22%", 12_200, 2_200), ("22%", 1, 0), ("20%", 148_760, 24_793), ("0%", 5, 0), ("без НДС", 5, 0)]
        {
            assert_eq!(Rate::parse(rate).unwrap().tax_in(gross), tax, "{rate} of {gross}");
        }
        assert_eq!((Rate::parse("20"), Rate::parse("x%")), (None, None));
    }

    #[test]
    fn prices() {
        // 1000.00 / 212 = 4.716981…; 100.00 / 8 = 12.5; 10.00 / 1
        for (net, quantity, expected) in [
            (100_000, 212_000_000, Some("4.716981")),
            (10_000, 8_000_000, Some("12.5")),
            (1_000, 1_000_000, Some("10.00")),
            (1_000, 0, None),
            (1, 200_000_000_000, None),
            (0, 1_000_000, None),
        ] {
            assert_eq!(price(net, quantity).as_deref(), expected);
        }
    }

    #[test]
    fn kopecks_of_messages() {
        assert_eq!(kopecks("12.3000", "x").unwrap(), 1230);
        assert_eq!(kopecks("12", "x").unwrap(), 1200);
        for text in ["12.345", "-1.00"] {
            assert_eq!(kopecks(text, "x").unwrap_err().code, "bad-value");
        }
    }
}
