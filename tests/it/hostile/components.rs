//! Components that no compiler of Rust makes: what takes long to compile, needs more than there is, grows what others do not
//! grow, imports what the host does not have; and files that are not what they were.

use super::{attempting, caller_of, code, grants, limits};
use crate::hub::{Hub, RUNTIME, adapters, binary, compiler, payment, root};
use busbar_core::{Code, Problem};
use busbar_server::config::model::{CompileConfig, Instances, Limits};
use busbar_server::wasm::inspect::inspect;
use busbar_server::wasm::{Compiler, Loaded, Runtime, deliver};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};
use wasm_encoder::{
    CodeSection, Component, ComponentInstanceSection, ExportKind, ExportSection, Function, FunctionSection, HeapType,
    Instruction, MemorySection, MemoryType, Module, ModuleSection, NestedComponentSection, RefType, TableSection,
    TableType, TypeSection, ValType,
};

const PAGES: MemoryType =
    MemoryType { minimum: 2, maximum: None, memory64: false, shared: false, page_size_log2: None };
const TABLE: TableType =
    TableType { element_type: RefType::FUNCREF, table64: false, minimum: 10, maximum: None, shared: false };

/// An adapter whose `deliver` has this body.
fn delivering(body: &[Instruction<'_>]) -> Vec<u8> {
    let (mut types, mut functions, mut code) = (TypeSection::new(), FunctionSection::new(), CodeSection::new());
    let (mut tables, mut memories, mut exports) = (TableSection::new(), MemorySection::new(), ExportSection::new());
    types.ty().function([ValType::I32], [ValType::I32]);
    types.ty().function([ValType::I32; 4], [ValType::I32]);
    functions.function(0).function(1);
    tables.table(TABLE);
    memories.memory(PAGES);
    exports.export("busbar:adapter/deliver@1.0.0#deliver", ExportKind::Func, 0);
    exports.export("cabi_realloc", ExportKind::Func, 1).export("memory", ExportKind::Memory, 0);
    // A pointer to zeros is the result `ok`, and whatever the host writes may lie over it.
    for body in [body, &[Instruction::I32Const(4096)]] {
        let mut function = Function::new([]);
        for instruction in body.iter().chain([&Instruction::End]) {
            function.instruction(instruction);
        }
        code.function(&function);
    }
    let mut module = Module::new();
    module.section(&types).section(&functions).section(&tables).section(&memories).section(&exports).section(&code);
    let mut bytes = module.finish();
    let mut resolve = wit_parser::Resolve::default();
    let (package, _) = resolve.push_dir(root().join("wit/v1")).unwrap();
    let world = resolve.select_world(&[package], Some("deliver-adapter")).unwrap();
    let utf8 = wit_component::StringEncoding::UTF8;
    wit_component::embed_component_metadata(&mut bytes, &resolve, world, utf8).unwrap();
    wit_component::ComponentEncoder::default().validate(true).module(&bytes).unwrap().encode().unwrap()
}

/// A function of so many steps, each of which needs the one before.
fn long(steps: usize) -> Vec<u8> {
    let step = [Instruction::LocalGet(0), Instruction::LocalGet(0), Instruction::I32Mul, Instruction::LocalSet(0)];
    let steps = std::iter::repeat_n(step, steps).flatten();
    delivering(&steps.chain([Instruction::LocalGet(0)]).collect::<Vec<_>>())
}

/// A component of two of the one below, and so on: of a core module with memory and table at last.
fn nested(levels: u32) -> Vec<u8> {
    let (mut tables, mut memories) = (TableSection::new(), MemorySection::new());
    tables.table(TABLE);
    memories.memory(PAGES);
    let mut module = Module::new();
    module.section(&tables).section(&memories);
    let mut component = Component::new();
    component.section(&ModuleSection(&module));
    let mut instances = wasm_encoder::InstanceSection::new();
    instances.instantiate(0, std::iter::empty::<(&str, wasm_encoder::ModuleArg)>());
    component.section(&instances);
    for _ in 0..levels {
        let mut around = Component::new();
        around.section(&NestedComponentSection(&component));
        let mut instances = ComponentInstanceSection::new();
        for _ in 0..2 {
            instances.instantiate(0, std::iter::empty::<(&str, wasm_encoder::ComponentExportKind, u32)>());
        }
        around.section(&instances);
        component = around;
    }
    component.finish()
}

/// An import of what a component for WASI cannot do without.
fn wasi() -> Vec<u8> {
    let mut types = wasm_encoder::ComponentTypeSection::new();
    let mut instance = wasm_encoder::InstanceType::new();
    instance.ty().function().params([] as [(&str, wasm_encoder::ComponentValType); 0]).result(None);
    instance.export("exit", wasm_encoder::ComponentTypeRef::Func(0));
    types.instance(&instance);
    let mut imports = wasm_encoder::ComponentImportSection::new();
    imports.import("wasi:cli/exit@0.2.0", wasm_encoder::ComponentTypeRef::Instance(0));
    let mut component = Component::new();
    component.section(&types).section(&imports);
    component.finish()
}

fn compiled(wasm: &[u8], limits: CompileConfig) -> Result<Loaded, Problem> {
    let runtime = Runtime::new(None, Compiler { limits, ..compiler() }).unwrap();
    Loaded::load(&runtime, wasm)
}

#[track_caller]
fn refused(result: Result<Loaded, Problem>, code: Code, named: &str) {
    let Err(problem) = result else { panic!("it was loaded") };
    assert!(problem.code == code && problem.detail.contains(named), "{problem}");
}

#[test]
fn a_component_compiles_within_the_limits_or_says_which_it_reached() {
    let usual = CompileConfig::default;
    let bomb = long(800_000);
    let began = Instant::now();
    refused(compiled(&bomb, CompileConfig { time_ms: 300, ..usual() }), Code::CompileLimit, "300 ms (compile.time-ms)");
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    let small = CompileConfig { memory_bytes: 200 << 20, ..usual() };
    refused(compiled(&bomb, small), Code::CompileLimit, "209715200 bytes (compile.memory-bytes)");
    assert!(compiled(&long(10), usual()).is_ok());
    // What is a component, and no code that a processor could run.
    let mut wrong = long(10);
    let at = wrong.windows(3).position(|w| w == [0x20, 0, 0x6c]).unwrap();
    wrong[at + 2] = 0x6b + 0x20;
    refused(compiled(&wrong, usual()), Code::BrokenAdapter, "type mismatch");
}

/// What the hub has in its environment is not for the compiler, and who never ends is ended.
#[test]
fn the_compiler_is_a_process_with_nothing_but_its_task() {
    let place = tempfile::tempdir().unwrap();
    let program = place.path().join("program");
    let written = |text: &str| {
        std::fs::write(&program, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o700)).unwrap();
        let limits = CompileConfig { time_ms: 1500, ..CompileConfig::default() };
        let runtime = Runtime::new(None, Compiler { program: program.clone(), limits }).unwrap();
        Loaded::load(&runtime, &long(10)).map(drop).unwrap_err()
    };
    assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some(), "run by cargo, which sets it");
    let _open =
        (std::net::TcpListener::bind("127.0.0.1:0").unwrap(), std::fs::File::create(place.path().join("journal")));
    let shown = written("env >&2; ls -l /proc/$$/fd >&2; pwd >&2; exit 1");
    assert!(shown.detail.contains("PWD=/") && !shown.detail.contains("CARGO"), "{shown}");
    assert!(shown.detail.contains("memfd:component") && !shown.detail.contains("journal"), "{shown}");
    assert!(!shown.detail.contains("socket:") && shown.detail.ends_with("\n/"), "{shown}");
    assert_eq!(written("sleep 60").code, Code::CompileLimit);
    // Its words are cut, and what it writes that is no code is not taken for code.
    let loud = written("yes n 2>/dev/null | head -c 9000000 >&2; exit 1");
    assert!(loud.code == Code::BrokenAdapter && loud.detail.len() < 2100, "{}", loud.detail.len());
    assert_eq!(written("echo no code").code, Code::BrokenAdapter);
    assert_eq!(written("kill -SEGV $$").code, Code::BrokenAdapter);
    // The machine does that, for want of memory.
    assert_eq!(written("kill -KILL $$").code, Code::CompileLimit);
}

#[test]
fn what_an_instance_takes_is_counted_before_it_is_compiled() {
    let wasm = nested(2);
    let needs = inspect(&wasm).unwrap().needs;
    let numbers = (needs.core_instances, needs.memories, needs.memory_bytes, needs.tables, needs.table_elements);
    assert_eq!(numbers, (4, 4, 4 * 2 * 65_536, 4, 40));
    // The runtime counts the same, where it has compiled it.
    let component = wasmtime::component::Component::new(&wasmtime::Engine::default(), &wasm).unwrap();
    let counted = component.resources_required().unwrap();
    assert_eq!((counted.num_memories, counted.num_tables), (4, 4));
    // Two bytes more a level, and twice the instances.
    let bomb = nested(14);
    assert!(bomb.len() < 2_000);
    let problem = inspect(&bomb).unwrap_err();
    assert!(problem.code == Code::BrokenAdapter && problem.detail.contains("16384 core-instances"), "{problem}");
    let deep = inspect(&nested(40)).unwrap_err();
    assert!(deep.detail.contains("nested more than 16 deep"), "{deep}");
}

/// The bytes of every adapter, damaged: none may end the process that looks at it.
#[test]
fn looking_at_a_damaged_component_is_an_error_and_never_a_crash() {
    let wasm = std::fs::read(adapters().join("translator.wasm")).unwrap();
    let (mut refused, mut state) = (0, 7u64);
    for _ in 0..400 {
        let mut damaged = wasm.clone();
        for _ in 0..4 {
            // xorshift64: the same bytes in each run.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let at = state as usize % damaged.len();
            damaged[at] = (state >> 32) as u8;
        }
        refused += usize::from(inspect(&damaged).is_err());
    }
    for cut in (0..wasm.len()).step_by(wasm.len() / 100) {
        refused += usize::from(inspect(&wasm[..cut]).is_err());
    }
    assert!(refused > 100, "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_grow_to_their_limit_and_no_further() {
    let grow = [
        Instruction::Loop(wasm_encoder::BlockType::Empty),
        Instruction::RefNull(HeapType::FUNC),
        Instruction::I32Const(1000),
        Instruction::TableGrow(0),
        Instruction::Drop,
        Instruction::Br(0),
        Instruction::End,
        Instruction::Unreachable,
    ];
    let loaded = Arc::new(Loaded::load(&RUNTIME, &delivering(&grow)).unwrap());
    let caller = |limits| {
        let wrap = |effects| Arc::new(effects) as Arc<_>;
        caller_of((RUNTIME.clone(), loaded.clone()), "", "", grants(), limits, Instances::Fresh, wrap)
    };
    let run = deliver(&caller(Limits { deadline_ms: 4000, ..limits() }), attempting(1, Vec::new())).await;
    assert_eq!(code(&run), "adapter-limit");
    assert!(run.result.unwrap_err().problem().detail.contains("limits.table-elements"));
    // What it needs to start at all is held against the limits as well.
    for (small, named) in [
        (Limits { tables: 0, ..limits() }, "table"),
        (Limits { memories: 0, ..limits() }, "memor"),
        (Limits { core_instances: 0, ..limits() }, "instance"),
        (Limits { memory_bytes: 65_536, ..limits() }, "limits.memory-bytes"),
        (Limits { table_elements: 9, ..limits() }, "limits.table-elements"),
    ] {
        let run = deliver(&caller(small), attempting(1, Vec::new())).await;
        assert_eq!(code(&run), "adapter-limit", "{named}");
        let detail = run.result.unwrap_err().problem().detail;
        assert!(detail.contains(named), "{named}: {detail}");
    }
}

/// A hub whose folder of adapters is its own, with `odd.wasm` in it, pinned.
fn with_odd(wasm: &[u8], toml: &str) -> Hub {
    let hub = Hub::unstarted(&format!("{toml}[systems.odd]\nadapter = \"odd\"\n"));
    let folder = hub.path("adapters");
    std::fs::remove_file(&folder).unwrap();
    std::fs::create_dir(&folder).unwrap();
    put(&folder.join("odd.wasm"), wasm);
    pin(&folder, wasm);
    hub
}

fn put(path: &Path, wasm: &[u8]) {
    std::fs::write(path, wasm).unwrap();
}

fn pin(folder: &Path, wasm: &[u8]) {
    use sha2::Digest;
    let digest: String = sha2::Sha256::digest(wasm).iter().map(|byte| format!("{byte:02x}")).collect();
    std::fs::write(folder.join("SHA256SUMS"), format!("{digest}  odd.wasm\n")).unwrap();
}

/// What `busbar <command>` says of the deployment, which must fail.
fn says(hub: &Hub, command: &str) -> String {
    let output = Command::new(binary()).arg(command).arg(hub.folder.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat()
}

#[test]
fn a_hub_does_not_start_with_what_it_cannot_hold_and_says_what_that_is() {
    // 100 MB, which are not even read.
    let large = with_odd(b"", "");
    std::fs::File::create(large.path("adapters/odd.wasm")).unwrap().set_len(100_000_000).unwrap();
    let bomb = with_odd(&long(800_000), "[compile]\ntime-ms = 300\n");
    let grants = "[systems.odd.limits]\ntables = 0\nmemory-bytes = 100000\n";
    let hungry = with_odd(&long(10), "");
    let toml = std::fs::read_to_string(hungry.path("busbar.toml")).unwrap();
    std::fs::write(hungry.path("busbar.toml"), format!("{toml}{grants}")).unwrap();
    for (hub, command, wanted) in [
        (&large, "check", ["odd.wasm", "67108864", "compile.component-bytes"]),
        (&large, "run", ["odd.wasm", "compile.component-bytes", "nothing was started"]),
        (&bomb, "run", ["adapter `odd`", "compile-limit", "300 ms (compile.time-ms)"]),
        (&with_odd(&wasi(), ""), "check", ["odd.wasm", "wasi:cli/exit@0.2.0", "the host does not have"]),
        (&with_odd(&wasi(), ""), "run", ["odd.wasm", "wasi:cli/exit@0.2.0", "nothing was started"]),
        (&with_odd(&nested(14), ""), "check", ["odd.wasm", "16384 core-instances", "64 at most"]),
        (&hungry, "check", ["1 tables to start, the system has 0", "131072 memory-bytes", "limits.memory-bytes"]),
    ] {
        let said = says(hub, command);
        assert!(wanted.iter().all(|part| said.contains(part)), "{command}, {wanted:?}:\n{said}");
    }
}

/// Somebody exchanges the file of an adapter beneath a hub that runs.
#[tokio::test]
async fn a_component_that_was_swapped_is_not_taken() {
    let good = std::fs::read(adapters().join("hostile.wasm")).unwrap();
    let mut hub = with_odd(&good, "[[routes]]\ntypes = [\"payment.received.v1\"]\nto = [\"odd\"]\n");
    assert!(hub.try_run(), "{}", hub.log());
    let file = hub.path("adapters/odd.wasm");
    std::fs::remove_file(&file).unwrap();
    put(&file, &std::fs::read(adapters().join("translator.wasm")).unwrap());
    // What it read when it was checked is what it runs.
    let sent = hub.publish(&payment("m1", "1", "10.00")).await;
    hub.settled(&sent["seq"], &["done"]).await;
    hub.kill();
    assert!(!hub.try_run(), "it started with another adapter");
    assert!(hub.log().contains("wrong-digest") && hub.log().contains("nothing was started"), "{}", hub.log());
    put(&file, b"no component");
    assert!(says(&hub, "check").contains("not valid wasm"));
}

#[test]
fn an_entry_of_a_later_contract_is_told() {
    let (mut types, mut functions) = (TypeSection::new(), FunctionSection::new());
    let (mut exports, mut code) = (ExportSection::new(), CodeSection::new());
    types.ty().function([], []);
    functions.function(0);
    exports.export("busbar:adapter/later@1.1.0#go", ExportKind::Func, 0);
    let mut nothing = Function::new([]);
    nothing.instruction(&Instruction::End);
    code.function(&nothing);
    let mut module = Module::new();
    module.section(&types).section(&functions).section(&exports).section(&code);
    let mut bytes = module.finish();
    let mut resolve = wit_parser::Resolve::default();
    let text = "package busbar:adapter@1.1.0; interface later { go: func(); } world w { export later; }";
    let package = resolve.push_str("later.wit", text).unwrap();
    let world = resolve.select_world(&[package], Some("w")).unwrap();
    let utf8 = wit_component::StringEncoding::UTF8;
    wit_component::embed_component_metadata(&mut bytes, &resolve, world, utf8).unwrap();
    let wasm = wit_component::ComponentEncoder::default().module(&bytes).unwrap().encode().unwrap();
    let found = inspect(&wasm).unwrap();
    assert!(found.exports.is_empty());
    assert_eq!(found.unknown_exports, ["later"]);
    assert_eq!(found.entries(), "later (unknown to this hub)");
}
