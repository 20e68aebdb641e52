//! Generated from `wit/v1`: one module for the imports and one for each export, so that a
//! component exports only what its adapter says with `export_<entry>!`.
#![allow(missing_docs, unused, clippy::all)]

wit_bindgen::generate!({ path: "../../wit/v1", world: "imports", generate_all });

macro_rules! entry {
    ($module:ident, $world:literal, $macro:literal, $bindings:literal) => {
        pub mod $module {
            wit_bindgen::generate!({
                path: "../../wit/v1",
                world: $world,
                with: {
                    "busbar:adapter/types@1.0.0": crate::bindings::busbar::adapter::types,
                    "busbar:adapter/log@1.0.0": crate::bindings::busbar::adapter::log,
                    "busbar:adapter/config@1.0.0": crate::bindings::busbar::adapter::config,
                    "busbar:adapter/http@1.0.0": crate::bindings::busbar::adapter::http,
                    "busbar:adapter/credentials@1.0.0": crate::bindings::busbar::adapter::credentials,
                    "busbar:adapter/state@1.0.0": crate::bindings::busbar::adapter::state,
                    "busbar:adapter/clock@1.0.0": crate::bindings::busbar::adapter::clock,
                    "busbar:adapter/random@1.0.0": crate::bindings::busbar::adapter::random,
                    "busbar:adapter/messages@1.0.0": crate::bindings::busbar::adapter::messages,
                    "busbar:adapter/input@1.0.0": crate::bindings::busbar::adapter::input,
                    "busbar:adapter/output@1.0.0": crate::bindings::busbar::adapter::output,
                },
                pub_export_macro: true,
                export_macro_name: $macro,
                default_bindings_module: $bindings,
            });
        }
    };
}

entry!(deliver, "deliver-adapter", "export_deliver", "busbar_sdk::bindings::deliver");
entry!(receive, "receive-adapter", "export_receive", "busbar_sdk::bindings::receive");
entry!(poll, "poll-adapter", "export_poll", "busbar_sdk::bindings::poll");
entry!(decode, "decode-adapter", "export_decode", "busbar_sdk::bindings::decode");
entry!(encode, "encode-adapter", "export_encode", "busbar_sdk::bindings::encode");
entry!(answer, "answer-adapter", "export_answer", "busbar_sdk::bindings::answer");
entry!(connection, "connection-adapter", "export_connection", "busbar_sdk::bindings::connection");
