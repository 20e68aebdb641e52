//! Signed webhooks, out and in: glue between the host and [`mapping`].

pub mod mapping;

use busbar_sdk::{Failure, HookRequest, HookResponse, Message, clock, credentials, http, log, messages, settings};
use credentials::{Digest, Piece};
use mapping::{Proof, Received, Settings, Source};

busbar_sdk::adapter! { deliver: deliver, receive: receive }

fn deliver(message: Message) -> Result<(), Failure> {
    let settings: Settings = settings()?;
    let target = mapping::target(&settings)?;
    let outgoing = mapping::outgoing(target, &message, clock::now_ms() / 1000);
    let signature = credentials::hmac_sha256_base64(&target.credential, &outgoing.signed);
    let signature = signature.map_err(mapping::no_credential)?;
    let request = mapping::request(target, outgoing, &signature);
    let what = format!("POST {}", request.url);
    mapping::judge(&what, http::send_idempotent(&request))
}

fn receive(request: HookRequest) -> Result<HookResponse, Failure> {
    let settings: Settings = settings()?;
    let source = mapping::source(&settings)?;
    let incoming = mapping::incoming(source, &request)?;
    let genuine = is_genuine(source, &incoming.proof).map_err(mapping::no_credential)?;
    match mapping::accept(source, &incoming, genuine, clock::now_ms() / 1000)? {
        Received::Messages(drafts) => {
            // A number where the schema wants text is what the sender wrote: it is told so, and need not send it again.
            if let Some(wrong) = drafts.iter().find_map(messages::check) {
                return Err(wrong.into());
            }
            messages::emit(&drafts);
        }
        Received::Dropped(r#type) => log::write(log::Level::Info, &format!("event type {type} is not mapped, dropped")),
    }
    Ok(HookResponse { status: 204, headers: Vec::new(), body: Vec::new() })
}

fn is_genuine(source: &Source, proof: &Proof) -> Result<bool, String> {
    let credential = &source.credential;
    // What signs in its own way takes the secret's bytes as they are.
    let verify = match source.signature {
        None => credentials::verify_hmac_sha256_base64,
        Some(_) => credentials::verify_hmac_sha256,
    };
    match proof {
        Proof::Signatures { signed, signatures } => {
            let mut genuine = false;
            for signature in signatures {
                genuine |= verify(credential, signed, signature)?;
            }
            Ok(genuine)
        }
        // The host compares hashes only, in constant time.
        Proof::Secret(value) => {
            let given = credentials::hash(Digest::Sha256, &[Piece::Plain(value.as_bytes().to_vec())])?;
            credentials::verify_hash(Digest::Sha256, &[Piece::Secret(credential.to_owned())], &given)
        }
    }
}
