//! The rules of `busbar-core` by themselves.

mod lanes;
mod messages;
mod outcomes;
