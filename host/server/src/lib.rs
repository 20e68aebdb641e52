//! The busbar host: acts on what `busbar-core` decides.

pub mod amqp;
pub mod app;
pub mod bench;
pub mod bounds;
pub mod cli;
pub mod cloudevents;
pub mod config;
pub mod console;
pub mod deployment;
pub mod egress;
pub mod files;
pub mod folder;
pub mod hub;
pub mod ids;
pub mod rest;
pub mod retention;
pub mod running;
pub mod store;
pub mod tcp;
pub mod tls;
pub mod wasm;
