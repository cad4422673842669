//! The names of the current process's cgroups, taken once, when the process first counts: its cgroup may be gone
//! before anybody looks.
//!
//! The outermost names come first and are kept where room ends, so that no name that a container gave itself pushes out
//! the one that its runtime gave.

use aya_ebpf::btf_maps::PerCpuArray;
use aya_ebpf::helpers::bpf_get_current_task_btf;
use aya_ebpf::helpers::generated::{bpf_probe_read_kernel, bpf_probe_read_kernel_str};
use aya_ebpf::macros::btf_map;
use common::layout::Cgroups;
use common::maps::{CGROUP_BYTES, Process};
use core::ffi::c_void;

use crate::kernel::{bounded, constant, read_kernel};
use crate::repeat::{Round, repeat};
use crate::shared::{claims, gives_back};

/// The names while they are read. One program at a time runs on a CPU, so one a CPU is enough.
#[btf_map]
static NAMES: PerCpuArray<Names, 1> = PerCpuArray::new();

/// Names are kept of the levels above this one, of which the outermost has none.
const LEVELS: u32 = 16;
/// A process that is deeper has no names: nothing but a program that hides goes there.
const MAX_DEPTH: u32 = 512;
/// A name and its NUL (`NAME_MAX`).
const NAME_BYTES: u32 = 256;
/// Names begin below this, a power of two, and no name ends beyond the text.
const BEGINS: u32 = (CGROUP_BYTES as u32 + 1).next_power_of_two();

const TEXT_MASK: i32 = BEGINS as i32 - 1;
const LEVEL_MASK: i32 = LEVELS as i32 - 1;

/// What is written before it is copied to a process.
#[repr(C)]
struct Names {
    /// The nodes of one hierarchy (`struct kernfs_node *`), by level.
    nodes: [u64; LEVELS as usize],
    text: [u8; (BEGINS + NAME_BYTES) as usize],
    length: u32,
    /// The level of the innermost node.
    level: u32,
    /// Who is writing.
    holders: u64,
}

/// On the way to the outermost cgroup.
struct Ascent {
    node: u64,
    level: u32,
}

/// Notes the names for this process, or none where another one's are being read on this CPU: of the hierarchy of the controller by which runtimes limit, where that is one of
/// cgroup v1, and of v2.
#[inline(never)]
pub(crate) fn note(process: &mut Process) {
    process.cgroup_bytes = 0;
    if constant!(cgroups.node_name) == 0 {
        return;
    }
    if let Some(names) = names()
        && claims(&mut names.holders)
    {
        names.length = 0;
        // SAFETY: no arguments.
        let task = unsafe { bpf_get_current_task_btf() } as u64;
        let set = pointer(task, constant!(cgroups.task_cgroups));
        let unified = pointer(set, constant!(cgroups.set_default));
        let controller = constant!(cgroups.set_controller);
        if controller != Cgroups::NO_CONTROLLER {
            let limited = pointer(pointer(set, controller), constant!(cgroups.state_cgroup));
            let root = constant!(cgroups.cgroup_root);
            if pointer(limited, root) != pointer(unified, root) {
                append(names, limited);
            }
        }
        append(names, unified);
        let length = names.length;
        // SAFETY: the text is longer than what is copied, and the process has as much room.
        let copied = unsafe {
            bpf_probe_read_kernel(process.cgroups.as_mut_ptr().cast(), CGROUP_BYTES as u32, names.text.as_ptr().cast())
        };
        if copied == 0 {
            process.cgroup_bytes = length;
        }
        gives_back(&mut names.holders);
    }
}

/// Appends the names from the outermost cgroup to this one, each with its NUL, and one more NUL.
#[inline(never)]
fn append(names: &mut Names, cgroup: u64) {
    let level: u32 = read_kernel(cgroup as *const u8, constant!(cgroups.cgroup_level));
    let mut ascent = Ascent { node: pointer(cgroup, constant!(cgroups.cgroup_node)), level };
    names.level = 0;
    if level <= MAX_DEPTH {
        names.level = level;
        repeat::<Ascent>(MAX_DEPTH, &mut ascent);
        repeat::<NextName>(LEVELS, &mut ascent);
    }
    if names.length < CGROUP_BYTES as u32
        && let Some(end) = names.text.get_mut(bounded!(names.length, TEXT_MASK) as usize)
    {
        *end = 0;
        names.length += 1;
    }
}

/// Notes a node and goes one level up; the last round is at the outermost.
impl Round for Ascent {
    type Context = Self;

    #[inline(always)]
    fn round(_: u64, ascent: &mut Self) -> bool {
        let Some(names) = names() else { return false };
        if ascent.level == 0 {
            return false;
        }
        if ascent.level < LEVELS
            && let Some(node) = names.nodes.get_mut(bounded!(ascent.level, LEVEL_MASK) as usize)
        {
            *node = ascent.node;
        }
        ascent.node = pointer(ascent.node, constant!(cgroups.node_parent));
        ascent.level -= 1;
        true
    }
}

/// Appends the name of the next level, until behind the innermost.
struct NextName;

impl Round for NextName {
    type Context = Ascent;

    #[inline(always)]
    fn round(index: u64, _: &mut Ascent) -> bool {
        let Some(names) = names() else { return false };
        let level = index as u32 + 1;
        if level > names.level || level >= LEVELS || names.length >= CGROUP_BYTES as u32 {
            return false;
        }
        let Some(node) = names.nodes.get(bounded!(level, LEVEL_MASK) as usize) else { return false };
        let name = pointer(*node, constant!(cgroups.node_name));
        let at = bounded!(names.length, TEXT_MASK);
        // SAFETY: the mask bounds the begin, behind which there is room for a name.
        let length = unsafe {
            let text = names.text.as_mut_ptr().add(at as usize);
            bpf_probe_read_kernel_str(text.cast(), NAME_BYTES, name as *const c_void)
        };
        if length <= 0 {
            // Without a name from the middle the rest would lie.
            names.length = 0;
            return false;
        }
        names.length += length as u32;
        true
    }
}

#[inline(always)]
fn names<'a>() -> Option<&'a mut Names> {
    // SAFETY: per CPU, and one program at a time runs on a CPU.
    unsafe { NAMES.get_ptr_mut(0)?.as_mut() }
}

#[inline(always)]
fn pointer(structure: u64, offset: u32) -> u64 {
    read_kernel(structure as *const u8, offset)
}
