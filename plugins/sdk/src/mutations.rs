//! Damaged inputs for tests: what a decoder must refuse, or read, without a trap.

/// A seed longer than this is not cut at every byte.
const CUT_BYTES_MAX: usize = 8 << 10;

/// The seed cut off at each byte, then `count` copies of it with one to four bytes changed, some of them cut as well. The same in
/// every run.
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
            let (at, any) = (self.below(bytes.len()), self.below(256));
            // A digit is still a number: it gets further than a broken byte.
            let byte = if self.below(2) == 0 {
                b'0' + u8::try_from(any % 10).unwrap_or(0)
            } else {
                u8::try_from(any).unwrap_or(0)
            };
            if let Some(place) = bytes.get_mut(at) {
                *place = byte;
            }
        }
        if self.below(16) == 0 {
            bytes.truncate(self.below(bytes.len()));
        }
        bytes
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
