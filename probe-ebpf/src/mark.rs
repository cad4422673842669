//! Notes the connections that are older than the probe, when it is attached already: `AF_UNIX` ones get a mark, since they have no position
//! to tell, and a mark takes no memory; TCP ones state, if a server has them.
//!
//! Files, since they are seen in every network namespace: the kernel's iterator over TCP sockets goes through one. It would hold their locks, which
//! this does not. So the state is made whole, at once, and only where none is: since the first read that the probe saw there is some. What a read
//! that was going on at the attachment does to the position, the next one tells.

use aya_ebpf::helpers::bpf_sock_from_file;

use crate::kernel::{member, offset};
use crate::maps;
use crate::socket::{Socket, note_open};

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
    match Socket::from(socket)? {
        Socket::Unix(address) => maps::note_seen(address),
        Socket::Tcp(address) => note_open(address),
    }
    Some(())
}
