//! Marks the `AF_UNIX` connections that are older than the probe: they have no position to tell. A mark takes no memory.

use aya_ebpf::helpers::bpf_sock_from_file;

use crate::kernel::{member, offset};
use crate::maps;
use crate::socket::Socket;

/// `struct bpf_iter__task_file { meta; task; u32 fd; file }`, a word each.
const FILE: usize = 3;

/// `int bpf_iter_task_file(struct bpf_iter_meta *meta, struct task_struct *task, u32 fd, struct file
/// *file)`: called for every open file of every process (Linux 5.8; the helper 5.11).
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task_file")]
pub extern "C" fn mark_open(context: *const *mut u8) -> i32 {
    // SAFETY: the iterator's context has four words.
    let file = unsafe { context.add(FILE).read_volatile() };
    if !file.is_null() {
        mark(file);
    }
    0
}

#[inline(always)]
fn mark(file: *mut u8) -> Option<()> {
    // SAFETY: the helper checks that the file is a socket.
    let socket: *const u8 = unsafe { bpf_sock_from_file(file.cast()) }.cast_const().cast();
    if socket.is_null() {
        return None;
    }
    let socket = member(socket, offset!(socket_sk));
    if let Socket::Unix(address) = Socket::from(socket)? {
        maps::note_seen(address);
    }
    Some(())
}
