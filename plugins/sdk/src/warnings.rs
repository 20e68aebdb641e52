use crate::log;

/// Warnings of one call; the host ends a call that logs without end.
const WARNINGS_MAX: usize = 100;
/// Characters of one.
const CHARS_MAX: usize = 400;

/// Logs warnings, as many as help anybody.
#[derive(Default)]
pub struct Warnings {
    count: usize,
}

impl Warnings {
    pub fn write(&mut self, text: &str) {
        self.pass(text, |text| log::write(log::Level::Warn, text));
    }

    fn pass(&mut self, text: &str, mut write: impl FnMut(&str)) {
        self.count += 1;
        if self.count <= WARNINGS_MAX {
            let end = text.char_indices().nth(CHARS_MAX).map_or(text.len(), |(end, _)| end);
            write(text.get(..end).unwrap_or_default());
        } else if self.count == WARNINGS_MAX + 1 {
            write("there are more warnings like these");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_stops() {
        let mut written = Vec::new();
        let mut warnings = Warnings::default();
        for _ in 0..1000 {
            warnings.pass(&"ы".repeat(1000), |text| written.push(text.chars().count()));
        }
        assert_eq!((written.len(), written[0]), (101, 400));
        assert!(written.iter().sum::<usize>() * 2 < 100 << 10);
    }
}
