//! Damaged inputs for tests: what a decoder must refuse, or read, without a trap.

/// A seed longer than this is not cut at every byte.
const CUT_BYTES_MAX: usize = 8 << 10;

/// The seed cut off at each byte, then `count` copies of it with one to four bytes changed, or parts taken out, repeated or cut
/// off. The same in every run.
pub fn of(seed: &[u8], count: usize) -> impl Iterator<Item = Vec<u8>> {
    let cut = (0..seed.len().min(CUT_BYTES_MAX)).filter_map(|end| seed.get(..end)).map(<[u8]>::to_vec);
    let mut random = Random(0x2545_F491_4F6C_DD1D);
    cut.chain((0..count).map(move |_| random.changed(seed)))
}

/// xorshift64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap_or(0).checked_rem(bound).unwrap_or(0)
    }

    fn changed(&mut self, seed: &[u8]) -> Vec<u8> {
        let mut bytes = seed.to_vec();
        for _ in 0..=self.below(4) {
            let (at, length) = (self.below(bytes.len()), self.below(64));
            let part = at..bytes.len().min(at + length);
            match self.below(16) {
                0 => drop(bytes.drain(part)),
                1 => bytes.extend_from_within(part),
                2 => bytes.truncate(at),
                _ => self.set(&mut bytes, at),
            }
        }
        bytes
    }

    /// Any byte; or a digit or a sign of a format, which gets further than a broken one.
    fn set(&mut self, bytes: &mut [u8], at: usize) {
        let signs = b"0123456789 \n:;,|<>\"'&-+.";
        let any = u8::try_from(self.below(256)).unwrap_or(0);
        let byte = if self.below(2) == 0 { signs.get(self.below(signs.len())).copied().unwrap_or(any) } else { any };
        if let Some(place) = bytes.get_mut(at) {
            *place = byte;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_cuts_and_as_many_changes_the_same_each_time() {
        let all: Vec<_> = of(b"seed", 1000).collect();
        assert_eq!(all.len(), 1004);
        assert_eq!(all.iter().take(4).map(Vec::len).collect::<Vec<_>>(), [0, 1, 2, 3]);
        assert!(all.iter().skip(4).filter(|bytes| bytes.as_slice() != b"seed").count() > 900);
        assert_eq!(all, of(b"seed", 1000).collect::<Vec<_>>());
        assert_eq!(of(b"", 3).count(), 3);
    }
}
