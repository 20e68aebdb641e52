//! RabbitMQ: the topology, the connection that comes back, publishing, and the hub's intake.

mod attributes;
mod consume;
mod dead;
mod dial;
mod fit;
mod frames;
mod intake;
mod link;
mod management;
mod one;
mod policies;
mod publish;
mod publishers;
mod taking;
mod topology;
mod transport;

pub use attributes::PREFIX as ATTRIBUTE_PREFIX;
pub use intake::run as run_intake;
pub use management::Management;
pub use policies::{Policies, PolicyWatcher};
pub use publishers::Allowed;
pub use topology::{SystemQueue, Topology};
pub use transport::RabbitTransport;
