//! Exact decimals of meters: values, multipliers, sums. Never a float.

use std::fmt;

/// Digits of the text of a value; more is no reading of anything.
const DIGITS_MAX: usize = 24;

/// A decimal number: `mantissa` / 10^`scale`, without zeros at the end of its fraction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decimal {
    mantissa: i128,
    scale: u32,
}

impl Decimal {
    /// From `-12`, `12.50` or `12,50`, at most 24 digits. No blanks, no exponent, no `+`, no digitless side of the point.
    pub fn parse(text: &str) -> Option<Self> {
        let (sign, digits) = text.strip_prefix('-').map_or((1, text), |digits| (-1, digits));
        let (whole, fraction) = match digits.split_once(['.', ',']) {
            Some((_, "")) => return None,
            Some(parts) => parts,
            None => (digits, ""),
        };
        let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || !is_number(whole) || !is_number(fraction) || whole.len() + fraction.len() > DIGITS_MAX {
            return None;
        }
        let mantissa = format!("{whole}{fraction}").parse::<i128>().ok()?;
        Some(Self { mantissa: sign * mantissa, scale: u32::try_from(fraction.len()).ok()? }.normal())
    }

    /// Times 10^`power`, between -18 and 18.
    pub fn times_power_of_ten(self, power: i32) -> Option<Self> {
        let size = power.unsigned_abs();
        if size > 18 {
            return None;
        }
        let moved = match power < 0 {
            true => Self { scale: self.scale.checked_add(size)?, ..self },
            false => Self { mantissa: self.mantissa.checked_mul(10_i128.checked_pow(size)?)?, ..self },
        };
        Some(moved.normal())
    }

    pub fn is_negative(self) -> bool {
        self.mantissa < 0
    }

    /// Whole units of 10^-`scale`, e.g. thousandths; nothing where it has a finer fraction.
    pub fn units(self, scale: u32) -> Option<i128> {
        self.mantissa.checked_mul(10_i128.checked_pow(scale.checked_sub(self.scale)?)?)
    }

    /// As canonical messages carry it: at most 15 digits before the point and 6 after it.
    pub fn canonical(self) -> Option<String> {
        let text = self.to_string();
        let whole = text.trim_start_matches('-').split('.').next().unwrap_or_default().len();
        (whole <= 15 && self.scale <= 6).then_some(text)
    }

    fn normal(mut self) -> Self {
        while self.scale > 0 && self.mantissa % 10 == 0 {
            self.mantissa /= 10;
            self.scale -= 1;
        }
        self
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.mantissa < 0 { "-" } else { "" };
        let digits = self.mantissa.unsigned_abs().to_string();
        let scale = self.scale as usize;
        match scale {
            0 => write!(f, "{sign}{digits}"),
            _ => {
                let digits = format!("{digits:0>width$}", width = scale + 1);
                let (whole, fraction) = digits.split_at(digits.len() - scale);
                write!(f, "{sign}{whole}.{fraction}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_written_or_shorter() {
        for (text, expected) in [
            ("0", "0"),
            ("-0", "0"),
            ("007", "7"),
            ("12.50", "12.5"),
            ("12,05", "12.05"),
            ("-0.001", "-0.001"),
            ("100", "100"),
        ] {
            assert_eq!(Decimal::parse(text).unwrap().to_string(), expected);
        }
        for text in
            ["", "-", ".", "1.", ".5", "+1", "1e3", " 1", "1 0", "1.2.3", "NaN", "٣", "1234567890123456789012345"]
        {
            assert_eq!(Decimal::parse(text), None, "{text}");
        }
    }

    #[test]
    fn multiplied_exactly() {
        let times = |text: &str, power| Decimal::parse(text).unwrap().times_power_of_ten(power);
        assert_eq!(times("1234", -3).unwrap().to_string(), "1.234");
        assert_eq!(times("1.5", 3).unwrap().to_string(), "1500");
        assert_eq!(times("-120", -1).unwrap().to_string(), "-12");
        assert_eq!(times("5", -18).unwrap().canonical(), None);
        assert_eq!(times("5", 19), None);
        assert_eq!(times("1000000", 9).unwrap().canonical(), None);
        assert_eq!(times("999999999", 6).unwrap().canonical().as_deref(), Some("999999999000000"));
        assert_eq!(times("999999999999999999999999", 18).and_then(|value| value.times_power_of_ten(18)), None);
    }

    #[test]
    fn in_units() {
        assert_eq!(Decimal::parse("1.25").unwrap().units(3), Some(1250));
        assert_eq!(Decimal::parse("1.2345").unwrap().units(3), None);
    }
}
