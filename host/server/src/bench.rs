//! Measurements of the hub itself, each a comparison inside one run: `busbar bench`.

pub mod call;
pub mod decode;
mod inputs;
mod memory;
mod sample;
pub mod start;
