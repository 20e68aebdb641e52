//! What one instance of a component takes, counted by its sections in one pass and before anything else looks at it: nested
//! components of a few hundred bytes can stand for a billion instances, and must be a number, not an afternoon.

use super::engine::{broken, ceilings};
use crate::config::model::Limits;
use busbar_core::Problem;
use serde::Serialize;
use wasmparser::{
    ComponentAlias, ComponentExternalKind, ComponentInstance, ComponentOuterAliasKind, Instance, Parser, Payload,
};

/// Deeper than any tool nests what it composes.
const DEPTH_MAX: usize = 16;

/// Each under the name of its limit in `[systems.x.limits]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Needs {
    pub core_instances: u64,
    pub memories: u64,
    /// When it starts; it may ask for more later.
    pub memory_bytes: u64,
    pub tables: u64,
    /// When it starts, as with memory.
    pub table_elements: u64,
}

impl Needs {
    fn add(&mut self, other: Self) {
        for (sum, more) in self.each_mut().into_iter().zip(other.each()) {
            *sum = sum.saturating_add(more);
        }
    }

    fn each(&self) -> [u64; 5] {
        [self.core_instances, self.memories, self.memory_bytes, self.tables, self.table_elements]
    }

    fn each_mut(&mut self) -> [&mut u64; 5] {
        let Self { core_instances, memories, memory_bytes, tables, table_elements } = self;
        [core_instances, memories, memory_bytes, tables, table_elements]
    }

    /// What is over `limits`: the limit's name, what is needed, and what is allowed.
    pub fn over(&self, limits: &Limits) -> Vec<(&'static str, u64, u64)> {
        let names = ["core-instances", "memories", "memory-bytes", "tables", "table-elements"];
        let allowed =
            [limits.core_instances, limits.memories, limits.memory_bytes, limits.tables, limits.table_elements];
        let allowed = allowed.map(|most| u64::try_from(most).unwrap_or(u64::MAX));
        let rows = names.into_iter().zip(self.each()).zip(allowed);
        rows.map(|((name, needed), most)| (name, needed, most)).filter(|(_, needed, most)| needed > most).collect()
    }
}

/// A module or component that is being read. What comes from outside, and cannot be counted, is `None`.
#[derive(Default)]
struct Frame {
    module: bool,
    needs: Needs,
    modules: Vec<Option<Needs>>,
    components: Vec<Option<Needs>>,
}

/// Modules or components that a frame can make instances of, by their index.
type Things = fn(&Frame) -> &Vec<Option<Needs>>;

/// # Errors
/// `broken-adapter` when `wasm` is malformed, cannot be counted, or needs more than any system can have.
pub(super) fn needs(wasm: &[u8]) -> Result<Needs, Problem> {
    let mut frames = vec![Frame::default()];
    let mut whole = Needs::default();
    for payload in Parser::new(0).parse_all(wasm) {
        let payload = payload.map_err(malformed)?;
        match payload {
            Payload::ModuleSection { .. } => frames.push(Frame { module: true, ..Frame::default() }),
            Payload::ComponentSection { .. } => frames.push(Frame::default()),
            Payload::End(_) => {
                let Some(mut ended) = frames.pop() else { continue };
                match frames.last_mut() {
                    Some(around) if ended.module => {
                        ended.needs.core_instances = 1;
                        around.modules.push(Some(ended.needs));
                    }
                    Some(around) => around.components.push(Some(ended.needs)),
                    None => whole = ended.needs,
                }
            }
            other => {
                let defined = defined(&other)?;
                read(&mut frames, other)?;
                frames.last_mut().into_iter().for_each(|frame| frame.needs.add(defined));
            }
        }
        if frames.len() > DEPTH_MAX {
            return Err(broken(format!("its components are nested more than {DEPTH_MAX} deep")));
        }
    }
    match whole.over(&ceilings()).first() {
        None => Ok(whole),
        Some((name, needed, most)) => {
            Err(broken(format!("it needs {needed} {name}, and the host gives {most} at most")))
        }
    }
}

/// What a section of a core module defines.
fn defined(payload: &Payload<'_>) -> Result<Needs, Problem> {
    let mut needs = Needs::default();
    match payload {
        Payload::MemorySection(section) => {
            for memory in section.clone() {
                let memory = memory.map_err(malformed)?;
                let bytes = memory.initial.saturating_mul(1 << memory.page_size_log2.unwrap_or(16).min(16));
                needs.add(Needs { memories: 1, memory_bytes: bytes, ..Needs::default() });
            }
        }
        Payload::TableSection(section) => {
            for table in section.clone() {
                let elements = table.map_err(malformed)?.ty.initial;
                needs.add(Needs { tables: 1, table_elements: elements, ..Needs::default() });
            }
        }
        _ => {}
    }
    Ok(needs)
}

/// What a section of a component instantiates, and what it adds to the modules and components that can be.
fn read(frames: &mut [Frame], payload: Payload<'_>) -> Result<(), Problem> {
    let outer = |count: u32, of: Things, index: u32| {
        let frame = frames.iter().rev().nth(usize::try_from(count).ok()?)?;
        of(frame).get(usize::try_from(index).ok()?).copied().flatten()
    };
    let (modules, components): (Things, Things) = (|frame| &frame.modules, |frame| &frame.components);
    let mut needs = Needs::default();
    let (mut new_modules, mut new_components) = (Vec::new(), Vec::new());
    match payload {
        Payload::InstanceSection(section) => {
            for instance in section {
                if let Instance::Instantiate { module_index, .. } = instance.map_err(malformed)? {
                    needs.add(outer(0, modules, module_index).ok_or_else(uncounted)?);
                }
            }
        }
        Payload::ComponentInstanceSection(section) => {
            for instance in section {
                if let ComponentInstance::Instantiate { component_index, .. } = instance.map_err(malformed)? {
                    needs.add(outer(0, components, component_index).ok_or_else(uncounted)?);
                }
            }
        }
        Payload::ComponentImportSection(section) => {
            for import in section {
                push(import.map_err(malformed)?.ty.kind(), None, &mut new_modules, &mut new_components);
            }
        }
        Payload::ComponentAliasSection(section) => {
            for alias in section {
                match alias.map_err(malformed)? {
                    ComponentAlias::InstanceExport { kind, .. } => {
                        push(kind, None, &mut new_modules, &mut new_components)
                    }
                    ComponentAlias::Outer { kind: ComponentOuterAliasKind::CoreModule, count, index } => {
                        new_modules.push(outer(count, modules, index));
                    }
                    ComponentAlias::Outer { kind: ComponentOuterAliasKind::Component, count, index } => {
                        new_components.push(outer(count, components, index));
                    }
                    _ => {}
                }
            }
        }
        // An export is a further name, and a further index, of what it exports.
        Payload::ComponentExportSection(section) => {
            for export in section {
                let export = export.map_err(malformed)?;
                let of = if export.kind == ComponentExternalKind::Module { modules } else { components };
                push(export.kind, outer(0, of, export.index), &mut new_modules, &mut new_components);
            }
        }
        _ => {}
    }
    let Some(frame) = frames.last_mut() else { return Ok(()) };
    frame.needs.add(needs);
    frame.modules.append(&mut new_modules);
    frame.components.append(&mut new_components);
    Ok(())
}

fn push(
    kind: ComponentExternalKind,
    needs: Option<Needs>,
    modules: &mut Vec<Option<Needs>>,
    components: &mut Vec<Option<Needs>>,
) {
    match kind {
        ComponentExternalKind::Module => modules.push(needs),
        ComponentExternalKind::Component => components.push(needs),
        _ => {}
    }
}

fn malformed(error: wasmparser::BinaryReaderError) -> Problem {
    broken(format!("not valid wasm: {error}"))
}

fn uncounted() -> Problem {
    broken("it makes an instance of a module or component that is not in it, so that nobody can say what it needs")
}
