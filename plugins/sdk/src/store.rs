use crate::state;

/// Where an adapter remembers: the system's state, or a test's memory.
pub trait Store {
    fn get(&mut self, key: &str) -> Option<Vec<u8>>;
    fn set(&mut self, key: &str, value: Vec<u8>);
    fn delete(&mut self, key: &str);
}

/// The state of the system, on the host.
pub struct HostStore;

impl Store for HostStore {
    fn get(&mut self, key: &str) -> Option<Vec<u8>> {
        state::get(key)
    }

    fn set(&mut self, key: &str, value: Vec<u8>) {
        state::set(key, &value);
    }

    fn delete(&mut self, key: &str) {
        state::delete(key);
    }
}
