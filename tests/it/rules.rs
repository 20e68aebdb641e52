//! The rules of `busbar-core` by themselves.

mod expressions;
mod messages;
mod outcomes;
