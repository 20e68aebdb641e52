use crate::{Draft, Rejection, messages};

/// Those of the drafts that fit their schemas. Of settings that map foreign values each of the others is left out, like one that
/// cannot be mapped, with its own place.
pub fn leave_out_unfit(drafts: Vec<Draft>) -> Vec<Draft> {
    let fits = |draft: &Draft| match messages::check(draft) {
        None => true,
        Some(wrong) => {
            let place = format!("{}{}", draft.place.as_deref().unwrap_or_default(), wrong.place.unwrap_or_default());
            messages::leave_out(&Rejection { place: Some(place), ..wrong });
            false
        }
    };
    drafts.into_iter().filter(fits).collect()
}

/// Drafts handed to the host in one call: enough to make the crossing cheap, few enough to keep
/// both sides' memory flat.
pub const BATCH_DRAFTS: usize = 256;

/// States messages in batches. Call [`Emitter::finish`] at the end; a dropped emitter keeps its last batch
/// to itself, which is what a failed decode wants.
pub struct Emitter<F: FnMut(&[Draft])> {
    batch: Vec<Draft>,
    emit: F,
}

impl Emitter<fn(&[Draft])> {
    /// An emitter to the host.
    pub fn host() -> Self {
        Self::new(messages::emit)
    }
}

impl<F: FnMut(&[Draft])> Emitter<F> {
    pub fn new(emit: F) -> Self {
        Self { batch: Vec::new(), emit }
    }

    pub fn push(&mut self, draft: Draft) {
        self.batch.push(draft);
        if self.batch.len() >= BATCH_DRAFTS {
            self.flush();
        }
    }

    pub fn finish(mut self) {
        self.flush();
    }

    fn flush(&mut self) {
        if !self.batch.is_empty() {
            (self.emit)(&self.batch);
            self.batch.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_pushed_is_emitted_in_order() {
        let mut sizes = Vec::new();
        let mut ids = Vec::new();
        let mut emitter = Emitter::new(|batch: &[Draft]| {
            sizes.push(batch.len());
            ids.extend(batch.iter().map(|draft| draft.id.clone()));
        });
        for number in 0..600 {
            emitter.push(crate::draft(number.to_string(), "x.v1", "{}".into()));
        }
        emitter.finish();
        assert_eq!(sizes, [256, 256, 88]);
        assert_eq!(ids, (0..600).map(|number| number.to_string()).collect::<Vec<_>>());
    }
}
