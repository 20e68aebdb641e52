//! Identifiers that are the same whenever the same fact is stated again.

use sha2::{Digest, Sha256};

/// An id derived from what makes a fact itself: the first 32 hexadecimal digits of the SHA-256 of the
/// parts, each written as a netstring (`<bytes>:<part>,`), so that `a`, `bc` and `ab`, `c` differ.
///
/// A digest rather than the parts themselves: ids are written to logs, the parts may be personal.
pub fn derived(parts: &[&str]) -> String {
    let mut id = String::with_capacity(32);
    for byte in digest(parts).iter().take(16) {
        for nibble in [byte >> 4, byte & 15] {
            id.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0'));
        }
    }
    id
}

/// A number below `bound` derived in the same way, for protocols that want a numeric id.
pub fn derived_number(parts: &[&str], bound: u64) -> u64 {
    let number = digest(parts).iter().take(8).fold(0_u64, |number, byte| (number << 8) | u64::from(*byte));
    number.checked_rem(bound).unwrap_or(0)
}

fn digest(parts: &[&str]) -> [u8; 32] {
    // One text, so that neither the heap nor the hash's buffer is asked for each of its parts.
    let mut text = String::with_capacity(parts.iter().map(|part| part.len() + 8).sum());
    for part in parts {
        text.push_str(itoa::Buffer::new().format(part.len()));
        text.push(':');
        text.push_str(part);
        text.push(',');
    }
    Sha256::digest(text).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    // printf '1:a,2:bc,' | sha256sum
    #[test]
    fn is_the_sha256_of_netstrings() {
        assert_eq!(derived(&["a", "bc"]), "d16f37a638ba770eff5e5da16e42c72f");
        assert_ne!(derived(&["a", "bc"]), derived(&["ab", "c"]));
    }

    #[test]
    fn a_number_stays_below_its_bound() {
        for text in ["1", "2", "1234567", ""] {
            assert!(derived_number(&[text], 1000) < 1000);
        }
        assert_eq!(derived_number(&["x"], 0), 0);
    }
}
