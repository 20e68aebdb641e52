//! Notifications of which nothing is heard any more: after a time that the settings give, their outcome is stated as unknown.

use crate::call::Call;
use crate::drafts;
use crate::memory::{PartState, Sent};
use crate::receipt::Outcome;
use crate::settings::Settings;

/// Looked at in one call.
const LOOKS_MAX: usize = 20;

/// When the outcome of what is sent now is unknown; 0 for never. `bounds`: seconds after 1970 before which, and after
/// which, nobody wants it.
pub fn due_ms(settings: &Settings, bounds: [Option<i64>; 2], now_ms: u64) -> u64 {
    let bounds = bounds.into_iter().flatten().filter_map(|seconds| u64::try_from(seconds).ok());
    let latest = bounds.map(|seconds| seconds.saturating_mul(1000)).fold(now_ms, u64::max);
    match settings.outcome_wait_s {
        0 => 0,
        _ if !settings.receipts => 0,
        seconds => latest.saturating_add(u64::from(seconds) * 1000),
    }
}

/// Remembers that a notification begins to be sent.
pub fn begin(call: &mut Call<'_>, key: &str) {
    if let Some((old, mut sent)) = call.store.begin(key) {
        tell(call, &old, &mut sent, "too many others were sent since");
    }
}

/// States what is overdue, in the order in which it was sent: those behind one that may take longer wait for it. Gives when
/// there is something to do again.
pub fn look(call: &mut Call<'_>) -> u64 {
    for _ in 0..LOOKS_MAX {
        if call.is_full() {
            break;
        }
        let Some(key) = call.store.oldest() else { return u64::MAX };
        let sent = call.store.sent(&key).filter(|sent| sent.is_pending());
        match sent {
            None => call.store.pass_oldest(),
            Some(sent) if call.now_ms < sent.due_ms => return sent.due_ms,
            Some(mut sent) => {
                call.store.pass_oldest();
                let hours = call.settings.outcome_wait_s / 3600;
                tell(call, &key, &mut sent, &format!("no receipt within {hours} h"));
                // A receipt may come nevertheless.
                call.store.save(&Sent::key(&key), &sent);
            }
        }
    }
    call.now_ms + 1
}

fn tell(call: &mut Call<'_>, key: &str, sent: &mut Sent, why: &str) {
    if !sent.is_open() || std::mem::replace(&mut sent.told, true) {
        return;
    }
    let (total, arrived) = (sent.parts.len(), sent.count(PartState::Delivered));
    let parts = if total > 1 { format!(", {arrived} of {total} parts were delivered") } else { String::new() };
    let text = format!("{why}{parts}");
    let draft = drafts::outcome(&call.settings, key, sent, Outcome::Failed("unknown"), &text, None, call.now_ms);
    call.emit(draft);
}
