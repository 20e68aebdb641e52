//! Standard Webhooks, out and in: glue between the host and [`mapping`].

pub mod mapping;

use busbar_sdk::{Failure, HookRequest, HookResponse, Message, clock, credentials, http, log, messages, settings};
use mapping::{Received, Settings};

busbar_sdk::adapter! { deliver: deliver, receive: receive }

fn deliver(message: Message) -> Result<(), Failure> {
    let settings: Settings = settings()?;
    let target = mapping::target(&settings)?;
    let outgoing = mapping::outgoing(target, &message, clock::now_ms() / 1000);
    let signature = credentials::hmac_sha256(&target.credential, &outgoing.signed).map_err(mapping::no_credential)?;
    let request = mapping::request(target, outgoing, &signature);
    let what = format!("POST {}", request.url);
    mapping::judge(&what, http::send_idempotent(&request))
}

fn receive(request: HookRequest) -> Result<HookResponse, Failure> {
    let settings: Settings = settings()?;
    let source = mapping::source(&settings)?;
    let incoming = mapping::incoming(&request)?;
    let mut genuine = false;
    for signature in &incoming.signatures {
        genuine |= credentials::verify_hmac_sha256(&source.credential, &incoming.signed, signature)
            .map_err(mapping::no_credential)?;
    }
    match mapping::accept(source, &incoming, genuine, clock::now_ms() / 1000)? {
        Received::Message(draft) => messages::emit(&[draft]),
        Received::Dropped(r#type) => log::write(log::Level::Info, &format!("event type {type} is not mapped, dropped")),
    }
    Ok(HookResponse { status: 204, headers: Vec::new(), body: Vec::new() })
}
