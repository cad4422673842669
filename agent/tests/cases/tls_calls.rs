//! Functions that are called, and keep registers and stack, as those of TLS libraries and of Go are: what they "read" and "write" the case
//! says. They are in this binary, so that cases need nothing beside it on any kernel.
#![expect(unsafe_code, reason = "functions in assembly, whose instructions' places are known")]

use std::ffi::c_void;
use std::fs::{self, File};
use std::hint::black_box;
use std::io;
use std::ptr::null_mut;

use agent::tls::library::Library;
use agent::tls::place::Place;
use common::tls::action::Action;

use crate::lab::Lab;
use crate::own_program::{library_of, offset};

/// What a function calls before it returns what that returns.
pub type Within = extern "C" fn(*mut c_void) -> i64;

macro_rules! functions {
    (
        reads: [$($read:ident $read_within:ident $read_end:ident),*]
        go: [$($go_read:ident $go_entry:ident $go_end:ident),*]
        marks: [$($mark:ident),*]
        go_marks: [$($go_mark:ident $go_place:ident),*]
    ) => {
        // The first instructions are such that young kernels make a call of them for a probe, and a system call in it.
        #[cfg(target_arch = "x86_64")]
        std::arch::global_asm!(
            $(concat!(
                ".globl ", stringify!($read), "\n", stringify!($read), ":\n .byte 0x0f, 0x1f, 0x44, 0, 0\n push rbx\n mov rdi, r9\n call r8\n",
                ".globl ", stringify!($read_within), "\n", stringify!($read_within), ":\n nop\n pop rbx\n",
                ".globl ", stringify!($read_end), "\n", stringify!($read_end), ":\n ret\n"
            ),)*
            $(concat!(
                ".globl ", stringify!($go_read), "\n", stringify!($go_read),
                ":\n push rbx\n push r14\n mov rax, rdi\n mov rbx, rsi\n mov r14, rcx\n",
                ".globl ", stringify!($go_entry), "\n", stringify!($go_entry), ":\n nop\n mov rax, rdx\n",
                ".globl ", stringify!($go_end), "\n", stringify!($go_end), ":\n nop\n pop r14\n pop rbx\n ret\n"
            ),)*
            $(concat!(".globl ", stringify!($mark), "\n", stringify!($mark), ":\n .byte 0x0f, 0x1f, 0x44, 0, 0\n ret\n"),)*
            $(concat!(
                ".globl ", stringify!($go_mark), "\n", stringify!($go_mark), ":\n mov rax, rdi\n",
                ".globl ", stringify!($go_place), "\n", stringify!($go_place), ":\n nop\n ret\n"
            ),)*
        );
        #[cfg(target_arch = "aarch64")]
        std::arch::global_asm!(
            $(concat!(
                ".globl ", stringify!($read), "\n", stringify!($read),
                ":\n nop\n stp x29, x30, [sp, #-16]!\n mov x0, x5\n blr x4\n",
                ".globl ", stringify!($read_within), "\n", stringify!($read_within), ":\n nop\n ldp x29, x30, [sp], #16\n",
                ".globl ", stringify!($read_end), "\n", stringify!($read_end), ":\n ret\n"
            ),)*
            $(concat!(
                ".globl ", stringify!($go_read), "\n", stringify!($go_read), ":\n str x28, [sp, #-16]!\n mov x28, x3\n",
                ".globl ", stringify!($go_entry), "\n", stringify!($go_entry), ":\n nop\n mov x0, x2\n",
                ".globl ", stringify!($go_end), "\n", stringify!($go_end), ":\n nop\n ldr x28, [sp], #16\n ret\n"
            ),)*
            $(concat!(".globl ", stringify!($mark), "\n", stringify!($mark), ":\n nop\n ret\n"),)*
            $(concat!(
                ".globl ", stringify!($go_mark), "\n", stringify!($go_mark), ":\n nop\n",
                ".globl ", stringify!($go_place), "\n", stringify!($go_place), ":\n nop\n ret\n"
            ),)*
        );
        #[expect(dead_code, reason = "of each function one of its two ends is probed")]
        unsafe extern "C" {
            $(
                fn $read(session: u64, buffer: *const u8, size: u64, stored: *mut u64, within: Within, with: *mut c_void) -> i64;
                static $read_within: u8;
                static $read_end: u8;
            )*
            $(
                fn $go_read(session: u64, buffer: *const u8, length: i64, goroutine: u64) -> i64;
                static $go_entry: u8;
                static $go_end: u8;
            )*
            $(fn $mark(session: u64);)*
            $(fn $go_mark(session: u64); static $go_place: u8;)*
        }
    };
}

functions! {
    reads: [
        lab_read lab_read_within lab_read_end,
        lab_read_ex lab_read_ex_within lab_read_ex_end,
        lab_early lab_early_within lab_early_end,
        lab_write lab_write_within lab_write_end,
        lab_write_ex lab_write_ex_within lab_write_ex_end,
        lab_file lab_file_within lab_file_end,
        lab_uncork lab_uncork_within lab_uncork_end,
        lab_init lab_init_within lab_init_end
    ]
    go: [lab_go_read lab_go_entry lab_go_end, lab_go_write lab_go_write_entry lab_go_write_end]
    marks: [lab_unseen, lab_begin_server, lab_begin_client, lab_begin_unless_known, lab_free]
    go_marks: [
        lab_go_server lab_go_server_place,
        lab_go_client lab_go_client_place,
        lab_go_close lab_go_close_place
    ]
}

/// A session: any number will do for an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Session(pub u64);

/// Returns what it is given.
extern "C" fn as_told(result: *mut c_void) -> i64 {
    result.addr() as i64
}

const fn number(result: i64) -> *mut c_void {
    std::ptr::without_provenance_mut(result as usize)
}

/// Bytes that are in memory, as what a library hands over is: of the program's own file a new process has none before it looks.
/// What an optimizer knows of them must not keep it from looking.
fn in_memory(bytes: &[u8]) -> *const u8 {
    let bytes = black_box(bytes);
    black_box(bytes.iter().fold(0, |sum: u8, byte| sum ^ byte));
    bytes.as_ptr()
}

impl Session {
    pub fn begin_server(self) {
        // SAFETY: it does nothing; likewise the others.
        unsafe { lab_begin_server(self.0) }
    }

    pub fn begin_client(self) {
        // SAFETY: as above.
        unsafe { lab_begin_client(self.0) }
    }

    /// As `gnutls_init`, which writes the session to where it is told, with these flags and this result.
    pub fn init(self, flags: u64, result: i64) {
        let mut session = self.0;
        // SAFETY: it returns what it is given, and writes nothing; the flags are no buffer.
        unsafe {
            let flags = std::ptr::without_provenance(flags as usize);
            lab_init((&raw mut session).expose_provenance() as u64, flags, 0, null_mut(), as_told, number(result));
        }
    }

    pub fn begin_unless_known(self) {
        // SAFETY: as above.
        unsafe { lab_begin_unless_known(self.0) }
    }

    pub fn free(self) {
        // SAFETY: as above.
        unsafe { lab_free(self.0) }
    }

    pub fn go_server(self) {
        // SAFETY: as above.
        unsafe { lab_go_server(self.0) }
    }

    pub fn go_client(self) {
        // SAFETY: as above.
        unsafe { lab_go_client(self.0) }
    }

    pub fn go_close(self) {
        // SAFETY: as above.
        unsafe { lab_go_close(self.0) }
    }

    /// As `SSL_read`, which returns how many bytes there were.
    pub fn read(self, bytes: &[u8]) {
        self.read_returning(bytes, bytes.len() as i64);
    }

    /// The same, with another result.
    pub fn read_returning(self, bytes: &[u8], result: i64) {
        self.read_within(bytes, as_told, number(result));
    }

    /// The same, whose result is what it calls before it returns.
    pub fn read_within(self, bytes: &[u8], within: Within, with: *mut c_void) {
        let size = bytes.len() as u64;
        // SAFETY: it calls `within`, and does nothing else.
        unsafe { lab_read(self.0, in_memory(bytes), size, null_mut(), within, with) };
    }

    /// As `SSL_read_ex`, which stores how many bytes there were.
    pub fn read_ex(self, bytes: &[u8]) {
        self.read_ex_within(bytes, as_told, number(1));
    }

    pub fn read_ex_within(self, bytes: &[u8], within: Within, with: *mut c_void) {
        let mut length = bytes.len() as u64;
        // SAFETY: as above.
        unsafe { lab_read_ex(self.0, in_memory(bytes), length, &raw mut length, within, with) };
    }

    /// As `SSL_read_early_data`.
    pub fn early(self, bytes: &[u8], result: i64) {
        let mut length = bytes.len() as u64;
        // SAFETY: as above.
        unsafe { lab_early(self.0, in_memory(bytes), length, &raw mut length, as_told, number(result)) };
    }

    /// As `SSL_write`, which takes all bytes.
    pub fn write(self, bytes: &[u8]) {
        self.write_returning(bytes, bytes.len() as i64);
    }

    /// The same, with another result.
    pub fn write_returning(self, bytes: &[u8], result: i64) {
        self.write_within(bytes, as_told, number(result));
    }

    /// The same, whose result is what it calls before it returns.
    pub fn write_within(self, bytes: &[u8], within: Within, with: *mut c_void) {
        let size = bytes.len() as u64;
        // SAFETY: it calls `within`, and does nothing else.
        unsafe { lab_write(self.0, in_memory(bytes), size, null_mut(), within, with) };
    }

    /// As `SSL_write`, of memory that nobody has.
    pub fn write_at_nothing(self, length: usize) {
        const NOWHERE: *const u8 = std::ptr::without_provenance(8);
        // SAFETY: it calls what returns at once; nothing reads the bytes but the probe, which asks the kernel.
        unsafe { lab_write(self.0, NOWHERE, length as u64, null_mut(), as_told, number(length as i64)) };
    }

    /// As `SSL_write_ex`, which stores how many bytes it took.
    pub fn write_ex(self, bytes: &[u8]) {
        self.write_ex_within(bytes, as_told, number(1));
    }

    pub fn write_ex_within(self, bytes: &[u8], within: Within, with: *mut c_void) {
        let mut length = bytes.len() as u64;
        // SAFETY: as above.
        unsafe { lab_write_ex(self.0, in_memory(bytes), length, &raw mut length, within, with) };
    }

    /// As `SSL_sendfile`, which takes so many bytes.
    pub fn send_file(self, length: i64) {
        // SAFETY: as above.
        unsafe { lab_file(self.0, std::ptr::null(), 0, null_mut(), as_told, number(length)) };
    }

    /// As `gnutls_record_uncork`, which calls this.
    pub fn uncork(self, within: Within, with: *mut c_void) {
        // SAFETY: it calls `within`, and does nothing else.
        unsafe { lab_uncork(self.0, std::ptr::null(), 0, null_mut(), within, with) };
    }

    /// As a function that writes what nobody sees.
    pub fn write_unseen(self) {
        // SAFETY: it does nothing.
        unsafe { lab_unseen(self.0) }
    }

    /// As Go's `Write`, in this goroutine.
    pub fn go_write(self, bytes: &[u8], goroutine: u64) {
        // SAFETY: it does nothing.
        unsafe { lab_go_write(self.0, in_memory(bytes), bytes.len() as i64, goroutine) };
    }

    /// As Go's `Read`, in this goroutine.
    pub fn go_read(self, bytes: &[u8], goroutine: u64) {
        // SAFETY: it does nothing.
        unsafe { lab_go_read(self.0, in_memory(bytes), bytes.len() as i64, goroutine) };
    }
}

/// This binary as a library with all of these functions.
pub fn library() -> io::Result<Library> {
    of_actions(|_| true)
}

/// The same with some actions only.
pub fn of_actions(wanted: impl Fn(Action) -> bool) -> io::Result<Library> {
    #[cfg(target_arch = "x86_64")]
    const PUSHED: u32 = 8;
    #[cfg(target_arch = "aarch64")]
    const PUSHED: u32 = 16;
    let within = |place: *const u8| (place.addr(), PUSHED);
    let at = |place: *const u8| (place.addr(), 0);
    // A function's end is its last instruction, or one within behind which its result is final.
    let all = [
        (at(lab_read as *const u8), Action::ReadEntry),
        (at(&raw const lab_read_end), Action::ReadEnd),
        (at(lab_read_ex as *const u8), Action::ReadExEntry),
        (within(&raw const lab_read_ex_within), Action::ReadExEnd),
        (at(lab_early as *const u8), Action::EarlyEntry),
        (at(&raw const lab_early_end), Action::EarlyEnd),
        (at(lab_write as *const u8), Action::WriteEntry),
        (within(&raw const lab_write_within), Action::WriteEnd),
        (at(lab_write_ex as *const u8), Action::WriteExEntry),
        (at(&raw const lab_write_ex_end), Action::WriteExEnd),
        (at(lab_file as *const u8), Action::FileEntry),
        (at(&raw const lab_file_end), Action::FileEnd),
        (at(lab_uncork as *const u8), Action::AgainEntry),
        (at(&raw const lab_uncork_end), Action::AgainEnd),
        (at(lab_init as *const u8), Action::InitEntry),
        (within(&raw const lab_init_within), Action::InitEnd),
        (at(lab_unseen as *const u8), Action::WriteUnseen),
        (at(&raw const lab_go_write_entry), Action::GoWriteEntry),
        (at(&raw const lab_go_write_end), Action::GoWriteEnd),
        (at(lab_begin_server as *const u8), Action::BeginServer),
        (at(lab_begin_client as *const u8), Action::BeginClient),
        (at(lab_begin_unless_known as *const u8), Action::BeginUnlessKnown),
        (at(lab_free as *const u8), Action::Free),
        (at(&raw const lab_go_entry), Action::GoReadEntry),
        (at(&raw const lab_go_end), Action::GoReadEnd),
        (at(&raw const lab_go_server_place), Action::GoServer),
        (at(&raw const lab_go_client_place), Action::GoClient),
        (at(&raw const lab_go_close_place), Action::GoClose),
    ];
    let maps = fs::read_to_string("/proc/self/maps")?;
    let places = all.into_iter().filter(|(_, action)| wanted(*action)).map(|((address, depth), action)| {
        let offset = offset(&maps, address as u64).ok_or_else(|| io::Error::other("this binary is not mapped"))?;
        Ok(Place { offset, action, depth })
    });
    library_of(File::open("/proc/self/exe")?, places.collect::<io::Result<_>>()?)
}

/// Runs a case's part with every function of this binary probed; its sessions are freed before they no longer are.
pub fn probed(lab: &mut Lab, sessions: [Session; 2], run: impl FnOnce(&mut Lab) -> io::Result<()>) -> io::Result<()> {
    let link = lab.uprobes()?.attach(&library()?).map_err(io::Error::other)?;
    let done = run(lab);
    sessions.into_iter().for_each(Session::free);
    drop(link);
    done
}
