//! Every test that needs more than one part: contracts of the ports, and the project's own order.

mod contracts {
    mod store;
    mod transport;
}
mod check;
mod conformance;
mod console;
mod egress;
mod faults;
mod field;
mod flows;
mod hooks;
mod hostile;
mod hub;
mod judges;
mod peers;
mod rest;
mod rules;
mod samples;
mod servers;
mod tidy;
mod tls;
