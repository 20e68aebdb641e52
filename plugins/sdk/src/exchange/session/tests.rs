use super::*;
use crate::exchange::READ_MAX;
use crate::test_hub::{TestHub, message};

/// Each byte is a frame: `!` breaks the protocol, `#` closes the connection, `/` has not come whole; others are answered by themselves.
struct Toy {
    line: Line,
    bytes: Vec<u8>,
}

impl Protocol for Toy {
    type Link = ();

    fn new(settings: Settings<()>, hub: &mut impl Hub) -> Result<Self, Failure> {
        Ok(Self { line: Line::new(Exchange::new(settings.exchange, hub)?, 10, 30), bytes: Vec::new() })
    }

    fn line(&mut self) -> &mut Line {
        &mut self.line
    }

    fn connected(&mut self, hub: &mut impl Hub) -> Result<Step, Failure> {
        Ok(self.line.connected(hub.now_ms()))
    }

    fn push(&mut self, bytes: &[u8]) -> (usize, String) {
        self.bytes.extend_from_slice(bytes);
        (self.bytes.len(), "here".to_owned())
    }

    fn item(&mut self, turn: &mut Turn<'_, impl Hub>) -> Result<bool, Failure> {
        let Some(byte) = self.bytes.first().copied().filter(|byte| *byte != b'/') else { return Ok(false) };
        self.bytes.remove(0);
        match byte {
            b'!' => return Err(rejected("broken", "", "")),
            b'#' => turn.step.close = Some("it says so".to_owned()),
            byte => turn.step.send(&[byte]),
        }
        Ok(true)
    }

    fn message(&mut self, _: u64, _: &Message, _: bool, hub: &mut impl Hub) -> Result<Step, Failure> {
        self.finish(Turn::new(hub))
    }

    fn disconnected(&mut self) -> Vec<Settled> {
        Vec::new()
    }

    fn finish<H: Hub>(&mut self, turn: Turn<'_, H>) -> Result<Step, Failure> {
        self.line.finish(turn, true, "never opened", u64::MAX, |turn| turn.step.send(b"?"))
    }
}

/// What each call says, a timer that is due at once as `+`; until one fails.
fn said(bytes: &[u8]) -> String {
    let mut hub = TestHub::default();
    let Ok(mut toy) = Toy::new(Settings::default(), &mut hub) else { return "not made".to_owned() };
    drop(toy.connected(&mut hub));
    let mut step = toy.bytes(bytes, &mut hub);
    let mut said = String::new();
    loop {
        match step {
            Err(Failure::Rejected(rejection)) => return said + &rejection.code,
            Err(failure) => return format!("{said}{failure:?}"),
            Ok(step) => {
                let sent = step.send.iter().map(|piece| crate::test_hub::plain(std::slice::from_ref(piece)));
                said += &String::from_utf8_lossy(&sent.collect::<Vec<_>>().concat());
                said += step.close.as_deref().unwrap_or_default();
                if step.timer_ms != Some(1) {
                    return said;
                }
                said.push('+');
            }
        }
        step = toy.timer(&mut hub);
    }
}

#[test]
fn what_comes_is_read_in_turns() {
    for (bytes, expected) in [
        ("abc/d", "abc"),
        ("ab!c", "ab+broken"),
        ("!abc", "broken"),
        ("a#b", "ait says so"),
        (&"a".repeat(READ_MAX + 1), &format!("{}+a", "a".repeat(READ_MAX))),
        (&"a".repeat(WAITING_BYTES_MAX + 1), "too-much"),
    ] {
        assert!(said(bytes.as_bytes()) == expected, "{}", &bytes[..bytes.len().min(9)]);
    }
}

#[test]
fn silence_is_asked_about_and_then_ends_it() {
    let mut hub = TestHub::default();
    let mut toy = Toy::new(Settings::default(), &mut hub).ok().unwrap();
    drop(toy.connected(&mut hub));
    let mut sent = Vec::new();
    for (seconds, bytes, timer_ms, close) in [
        (29, "", Some(1000), None),
        (1, "", Some(10_000), None),
        (5, "a", Some(30_000), None),
        (30, "", Some(10_000), None),
        (10, "", None, Some("no answer to a ping")),
    ] {
        hub.now_ms += seconds * 1000;
        let step = if bytes.is_empty() { toy.timer(&mut hub) } else { toy.bytes(bytes.as_bytes(), &mut hub) };
        let step = step.ok().unwrap();
        assert_eq!((step.timer_ms, step.close.as_deref()), (timer_ms, close));
        sent.extend(crate::test_hub::plain(&step.send));
    }
    assert_eq!(sent, b"?a?");
    let step = toy.message(1, &message("/test", "m", "x.v1", "{}"), false, &mut hub).ok().unwrap();
    assert!(!step.ready);
}
