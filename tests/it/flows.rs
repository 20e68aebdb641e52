//! Whole ways through the running hub: over a real broker, through files, and the demo itself.

pub mod alarm;
mod alone;
mod amqp;
mod aside;
mod attributes;
pub mod broker;
mod clock;
mod connection;
mod disk;
mod drift;
pub mod entries;
mod farewell;
mod files;
mod inbox;
pub mod limits;
mod measure;
mod new;
mod nodes;
mod out;
mod policies;
mod poll;
mod publishers;
mod questions;
mod stories;
mod trouble;
