//! Money as the stand-ins count it: whole kopecks, read from and written as decimal strings.

/// Kopecks of a decimal string such as `1234.50` or `-7`; at most two decimals. `None` for anything
/// else, also for a number too large to count.
pub fn kopecks(text: &str) -> Option<i64> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let plain = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !plain(whole) || !plain(fraction) || fraction.len() > 2 {
        return None;
    }
    let fraction = format!("{fraction:0<2}").parse::<i64>().ok()?;
    let whole = whole.parse::<i64>().ok()?.checked_mul(100)?;
    Some(sign * whole.checked_add(fraction)?)
}

/// The decimal string of an amount in kopecks, always with two decimals.
pub fn decimal(kopecks: i64) -> String {
    let sign = if kopecks < 0 { "-" } else { "" };
    let absolute = kopecks.unsigned_abs();
    format!("{sign}{}.{:02}", absolute / 100, absolute % 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes_decimal_strings() {
        for (text, value) in [("0", 0), ("12.5", 1250), ("12.05", 1205), ("-0.40", -40)] {
            assert_eq!(kopecks(text), Some(value), "{text}");
        }
        for text in ["", "1.", ".5", "1.234", "1,50", "1e3", "--1", "99999999999999999999"] {
            assert_eq!(kopecks(text), None, "{text}");
        }
        assert_eq!(decimal(-40), "-0.40");
        assert_eq!(decimal(123_405), "1234.05");
    }
}
