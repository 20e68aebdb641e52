//! Hexadecimal digits of signatures.

/// In lower case.
pub fn encoded(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes of digits in either case; nothing where there are other characters, an odd number of them, or none.
pub fn decoded(text: &str) -> Option<Vec<u8>> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways() {
        assert_eq!(encoded(&[0, 171, 255]), "00abff");
        assert_eq!(decoded("00aBFF"), Some(vec![0, 171, 255]));
        for text in ["", "0", "abc", "0g", "+1", "ыы"] {
            assert_eq!(decoded(text), None, "{text}");
        }
    }
}
