use crate::log;

/// Warnings of one call; the host ends a call that logs more than 64 KiB, if it is not told otherwise.
const WARNINGS_MAX: usize = 150;
/// Bytes of all of them, counted as the host does: so many for each line, and its text.
const BYTES_MAX: usize = 48 << 10;
const LINE_BYTES: usize = 64;
/// Characters of one.
const CHARS_MAX: usize = 400;

/// Logs warnings, as many as help anybody.
#[derive(Default)]
pub struct Warnings {
    count: usize,
    bytes: usize,
    is_over: bool,
}

impl Warnings {
    pub fn write(&mut self, text: &str) {
        self.pass(text, |text| log::write(log::Level::Warn, text));
    }

    fn pass(&mut self, text: &str, mut write: impl FnMut(&str)) {
        if self.is_over {
            return;
        }
        let end = text.char_indices().nth(CHARS_MAX).map_or(text.len(), |(end, _)| end);
        self.count += 1;
        self.bytes += LINE_BYTES + end;
        self.is_over = self.count > WARNINGS_MAX || self.bytes > BYTES_MAX;
        write(if self.is_over { "there are more warnings like these" } else { text.get(..end).unwrap_or_default() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_stops() {
        for (text, count, chars) in [("ы".repeat(1000), 57, 400), ("w".into(), 151, 1), ("🗲".repeat(1000), 30, 400)]
        {
            let (mut written, mut bytes) = (Vec::new(), 0);
            let mut warnings = Warnings::default();
            for _ in 0..1000 {
                warnings.pass(&text, |text| {
                    written.push(text.chars().count());
                    bytes += 64 + text.len();
                });
            }
            assert_eq!((written.len(), written.first(), written.last()), (count, Some(&chars), Some(&34)));
            assert!(bytes <= 48 << 10);
        }
    }
}
