//! Every test that needs more than one part: contracts of the ports, and the project's own order.

mod contracts {
    mod store;
    mod transport;
}
mod flows;
mod hostile;
mod hub;
mod servers;
mod tidy;
