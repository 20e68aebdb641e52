//! The rules of `busbar-core` by themselves.

mod messages;
mod outcomes;
