//! What the probe must be told of the running kernel before it is loaded. EDGE.

use std::fs;

use aya::Btf;
use common::layout::{Buffers, Cgroups, Constants, IovIter, KernelFunction, Layout};

use super::btf::{self, FUNCTION, STRUCTURE, TYPEDEF};
use super::error::VMLINUX_BTF;
use super::excerpt::excerpt;
use super::hook::{FUNCTIONS, Hook, ITERATORS, Preemption, TRACEPOINTS, tracepoints_are_preemptible};
use super::namespace::pid_namespace;
use super::{LoadError, patch};

/// The youngest of the helpers that the probe calls on every kernel.
pub const YOUNGEST_HELPER: (&str, &str) = ("bpf_task_pt_regs", "5.15");
/// What calls the probe's loops, where it is there.
pub const LOOP_HELPER: (&str, &str) = ("bpf_loop", "5.17");

/// Which of the functions that a kernel may lack were found.
pub struct Linked {
    pub reads_buffers: bool,
    pub holds_preemption: bool,
    pub casts: bool,
}

impl Linked {
    pub fn preemption(&self, hook: Hook) -> Preemption {
        match hook {
            Hook::Tracepoint if !tracepoints_are_preemptible() => Preemption::Off,
            _ if self.holds_preemption => Preemption::Held,
            _ => Preemption::On,
        }
    }
}

/// How the running kernel describes its types, to be parsed.
pub fn describe() -> Result<Vec<u8>, LoadError> {
    fs::read(VMLINUX_BTF).map_err(LoadError::no_btf)
}

/// What aya looks for where it loads one of the programs.
pub fn hooks(types: &btf::Btf<'_>) -> Result<Btf, LoadError> {
    let tracepoints = TRACEPOINTS.map(|name| (TYPEDEF, format!("btf_trace_{name}")));
    let iterators = ITERATORS.map(|name| (FUNCTION, format!("bpf_iter_{name}")));
    let functions = FUNCTIONS.map(|name| (FUNCTION, name.to_owned()));
    let names: Vec<_> = tracepoints.into_iter().chain(iterators).chain(functions).collect();
    let wanted: Vec<_> = names.iter().map(|(kind, name)| (*kind, name.as_str())).collect();
    let blob = excerpt(types, &wanted);
    Btf::parse(&blob, aya::Endianness::default()).map_err(|error| LoadError::Other(error.to_string()))
}

/// Links the probe's calls to the kernel's functions. Calls of those that it lacks stay as they
/// are: the constants make them dead code, which the verifier drops, or their program is not loaded.
pub fn link_functions(code: &mut [u8], types: &btf::Btf<'_>) -> Result<Linked, LoadError> {
    let mut link = |function: KernelFunction| -> Result<bool, LoadError> {
        let Some(id) = types.id_of(FUNCTION, function.name()) else { return Ok(false) };
        patch::patch(code, function, id).map_err(|error| LoadError::Other(error.to_string()))?;
        Ok(true)
    };
    Ok(Linked {
        reads_buffers: link(KernelFunction::DynptrFromSkb)?,
        holds_preemption: link(KernelFunction::PreemptDisable)? && link(KernelFunction::PreemptEnable)?,
        casts: link(KernelFunction::ReadOnlyCast)?,
    })
}

pub fn constants(types: &btf::Btf<'_>, linked: &Linked) -> Result<Constants, btf::Error> {
    let tcp_sock = types.id_of(STRUCTURE, "tcp_sock").unwrap_or(0);
    Ok(Constants {
        buffers: Buffers::UNKNOWN,
        layout: Layout::resolve(|structure, member| types.offset_of(structure, member))?,
        iterator: iterator(types)?,
        cgroups: cgroups(types).unwrap_or_else(|error| {
            tracing::warn!(%error, "no names of pods: cgroups cannot be read on this kernel");
            Cgroups::UNKNOWN
        }),
        pid_namespace: pid_namespace(),
        can_hold_preemption: linked.holds_preemption.into(),
        hold_at_tracepoint: (linked.preemption(Hook::Tracepoint) == Preemption::Held).into(),
        tcp_sock: if linked.casts { tcp_sock } else { 0 },
        response_shards: 0,
        second_at_sends: 0,
        has_loop: types.id_of(FUNCTION, LOOP_HELPER.0).is_some().into(),
        reserved: 0,
    })
}

/// Whether all members are where the probe looks.
pub fn knows(types: &btf::Btf<'_>) -> Result<(), btf::Error> {
    Layout::resolve(|structure, member| types.offset_of(structure, member))?;
    iterator(types).map(drop)
}

/// The memory controller is what every runtime needs, so its hierarchy is the one in which containers have their names.
fn cgroups(types: &btf::Btf<'_>) -> Result<Cgroups, btf::Error> {
    const POINTER_BYTES: u32 = size_of::<u64>() as u32;
    let controller = types.value_of("cgroup_subsys_id", "memory_cgrp_id");
    let states = types.offset_of("css_set", "subsys")?;
    let node = |member| types.offset_of("kernfs_node", member);
    Ok(Cgroups {
        task_cgroups: types.offset_of("task_struct", "cgroups")?,
        set_default: types.offset_of("css_set", "dfl_cgrp")?,
        set_controller: controller.map_or(Cgroups::NO_CONTROLLER, |number| states + number * POINTER_BYTES),
        state_cgroup: types.offset_of("cgroup_subsys_state", "cgroup")?,
        cgroup_root: types.offset_of("cgroup", "root")?,
        cgroup_level: types.offset_of("cgroup", "level")?,
        cgroup_node: types.offset_of("cgroup", "kn")?,
        node_parent: node("__parent").or_else(|_| node("parent"))?,
        node_name: node("name")?,
        reserved: 0,
    })
}

/// Kernels differ in the names of members, in the values of kinds, and in whether there is a buffer at all.
fn iterator(types: &btf::Btf<'_>) -> Result<IovIter, btf::Error> {
    let offset_of = |member| types.offset_of("iov_iter", member);
    let kind = |name| types.value_of("iter_type", name);
    let (buffer, is_buffer) = match kind("ITER_UBUF") {
        Ok(is_buffer) => (offset_of("ubuf")?, is_buffer),
        Err(_) => (0, u32::MAX),
    };
    Ok(IovIter {
        kind: offset_of("iter_type")?,
        filled: offset_of("iov_offset")?,
        buffer,
        segments: offset_of("__iov").or_else(|_| offset_of("iov"))?,
        is_buffer,
        is_segments: kind("ITER_IOVEC")?,
    })
}
