//! `key new`.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use clap::Subcommand;
use serde_json::json;
use std::process::ExitCode;

#[derive(Subcommand)]
pub enum KeyCommand {
    /// Make a random key; its digest goes into `busbar.toml`, the key itself to who uses it.
    New {
        /// Who will hold it.
        name: String,
    },
}

pub fn key(command: &KeyCommand, as_json: bool) -> anyhow::Result<ExitCode> {
    let KeyCommand::New { name } = command;
    let bytes: [u8; 32] = rand::random();
    let key = format!("bb_{}", BASE64_URL_SAFE_NO_PAD.encode(bytes));
    let sha256 = crate::rest::key_digest(&key);
    if as_json {
        println!("{}", json!({ "name": name, "key": key, "sha256": sha256 }));
    } else {
        println!(
            "key for {name} (shown only now): {key}\n\n[[http.keys]]\nname = \"{name}\"\nsha256 = \"{sha256}\"\nrights = [\"publish\", \"read\"]\nsources = [\"/{name}\"] # its own, as they stand in its messages\ntypes = [\"*\"] # those it may send"
        );
    }
    Ok(ExitCode::SUCCESS)
}
