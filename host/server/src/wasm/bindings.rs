//! Generated from `wit/v1`.
#![allow(missing_docs, clippy::all)]

wasmtime::component::bindgen!({
    path: "../../wit/v1",
    world: "adapter",
    imports: { default: async | trappable },
    exports: { default: async },
});
