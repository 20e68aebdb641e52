//! Measurements of the hub itself, each a comparison inside one run: `busbar bench`.

pub mod bare;
pub mod call;
pub mod decode;
mod inputs;
mod memory;
pub mod native;
pub mod relay;
mod sample;
pub mod scale;
pub mod start;

pub use sample::median;
