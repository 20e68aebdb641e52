//! The entry point `connection`: a session that lives in one instance, called for one thing at a time.

use super::bindings::busbar::adapter as wit;
use super::bindings::exports::busbar::adapter::connection as exported;
use super::entry::Entry;
use super::host::show_message;
use super::run::{convert_failure, cut_off, limited, trapped};
use super::state::{CallState, limit};
use super::warm::{Caller, StoredInstance};
use busbar_core::ports::Run;
use busbar_core::{Code, Failure, Message, Problem};
use std::sync::Arc;
use wasmtime::component::ResourceAny;

/// What happened to a connection.
#[derive(Clone, Debug)]
pub enum SessionEvent {
    /// Address of the far end.
    Connected(String),
    Bytes(Vec<u8>),
    Timer,
    Message {
        delivery: i64,
        message: Arc<Message>,
        maybe_sent: bool,
    },
}

/// A part of what is sent.
#[derive(Clone, Debug, PartialEq)]
pub enum Piece {
    Plain(Vec<u8>),
    /// The value of the named credential.
    Secret(String),
}

/// A delivery and how it ended.
pub type Settled = (i64, Result<(), Failure>);

/// What follows; see `step` in `wit/v1`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SessionStep {
    pub send: Vec<Piece>,
    pub settled: Vec<Settled>,
    pub timer_ms: Option<u32>,
    pub ready: bool,
    pub close: Option<String>,
}

/// A session of a system's adapter.
pub struct Session {
    caller: Arc<Caller>,
    held: StoredInstance,
    guest: exported::Guest,
    resource: ResourceAny,
    sound: bool,
    /// Something that it said is not written down: what it remembers is not true.
    stale: bool,
}

impl Session {
    /// # Errors
    /// `no-such-entry`, or what ended the constructor.
    pub async fn open(caller: Arc<Caller>) -> Result<Self, Problem> {
        let Some(indices) = &caller.loaded.connection else {
            return Err(Entry::Connection.missing());
        };
        let mut held = caller.fresh(caller.state());
        let opened = limited(caller.system.limits.deadline_ms, async {
            let instance = held.instance(&caller.loaded).await?;
            let guest = indices.load(&mut held.store, &instance)?;
            let resource = guest.session().call_constructor(&mut held.store).await?;
            Ok((guest, resource))
        })
        .await;
        let (guest, resource) = opened.map_err(|error| trapped(&error))?;
        Ok(Self { caller, held, guest, resource, sound: true, stale: false })
    }

    /// Whether it may serve another connection: after a trap, a limit or a timeout nobody knows what is in its memory.
    pub fn is_sound(&self) -> bool {
        self.sound && !self.stale
    }

    /// What its last step stated could not be written down.
    pub fn forget(&mut self) {
        self.stale = true;
    }

    pub async fn step(&mut self, event: SessionEvent) -> Run<SessionStep> {
        let mut state = self.caller.state();
        if let SessionEvent::Message { message, .. } = &event {
            state.cause = Some(message.clone());
        }
        self.begin(state);
        let Self { held, guest, resource, .. } = self;
        let (store, session, resource) = (&mut held.store, guest.session(), *resource);
        let result = limited(self.caller.system.limits.deadline_ms, async {
            match event {
                SessionEvent::Connected(peer) => session.call_on_connect(store, resource, &peer).await,
                SessionEvent::Bytes(bytes) => session.call_on_bytes(store, resource, &bytes).await,
                SessionEvent::Timer => session.call_on_timer(store, resource).await,
                SessionEvent::Message { delivery, message, maybe_sent } => {
                    let delivery = u64::try_from(delivery).unwrap_or_default();
                    session.call_on_message(store, resource, delivery, &show_message(&message), maybe_sent).await
                }
            }
        })
        .await;
        self.sound = result.is_ok();
        let state = self.end();
        let result = match result {
            Ok(Ok(step)) => {
                let checked = self.checked(step);
                self.stale |= checked.is_err();
                checked.map_err(Failure::Hub)
            }
            Ok(Err(failure)) => Err(convert_failure(failure)),
            Err(error) => Err(cut_off(&state.calls, trapped(&error))),
        };
        state.run(result)
    }

    /// The connection is gone: what is known of the deliveries. What it emits or writes now is lost.
    pub async fn disconnected(&mut self) -> Vec<Settled> {
        if !self.sound {
            return Vec::new();
        }
        self.begin(self.caller.state());
        let session = self.guest.session();
        let call = session.call_on_disconnect(&mut self.held.store, self.resource);
        let result = limited(self.caller.system.limits.deadline_ms, call).await;
        self.sound = result.is_ok();
        self.end();
        result.map(|settled| settled.into_iter().map(convert_settled).collect()).unwrap_or_default()
    }

    fn begin(&mut self, state: CallState) {
        let state = state.following(self.held.store.data());
        *self.held.store.data_mut() = state;
        self.held.store.set_epoch_deadline(1);
    }

    /// Takes the call's state out; the instance's memory stays counted.
    fn end(&mut self) -> CallState {
        let idle = self.caller.state().following(self.held.store.data());
        std::mem::replace(self.held.store.data_mut(), idle)
    }

    fn checked(&self, step: exported::Step) -> Result<SessionStep, Problem> {
        let most = self.caller.system.limits.body_bytes;
        let mut bytes = 0;
        let mut send = Vec::with_capacity(step.send.len());
        for piece in step.send {
            send.push(match piece {
                wit::credentials::Piece::Plain(plain) => {
                    bytes += plain.len();
                    Piece::Plain(plain)
                }
                wit::credentials::Piece::Secret(name) => {
                    let granted = self.held.store.data().credential_granted(&name);
                    granted.map_err(|text| Problem::new(Code::MissingGrant, text))?;
                    Piece::Secret(name)
                }
            });
        }
        if bytes > most {
            return Err(limit(format!("more than {most} bytes to be sent at once (limits.body-bytes)")));
        }
        let settled = step.settled.into_iter().map(convert_settled).collect();
        Ok(SessionStep { send, settled, timer_ms: step.timer_ms, ready: step.ready, close: step.close })
    }
}

fn convert_settled(settled: exported::Settled) -> Settled {
    (i64::try_from(settled.delivery).unwrap_or_default(), settled.outcome.map_err(convert_failure))
}
