//! What processes do while their TLS is read: they switch stacks, leave calls without an end, are killed; and probes that come
//! and go under them.
#![expect(unsafe_code, reason = "stacks are switched, system calls are forbidden")]

use std::cell::Cell;
use std::ffi::c_void;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use agent::counting::counts::{Pid, requests};
use agent::kernel::detach;
use agent::tls::place::Place;
use common::tls::action::Action;

use crate::lab::{Case, Expected, Lab, elsewhere, here};
use crate::own_program::library_of;
use crate::processes::in_role;
use crate::streams::GET;
use crate::tls_calls::{Session, library};

pub const ROLE: &str = "tls-sessions";
const REQUEST: &[u8] = GET.as_bytes();
/// Of the process that is killed.
const SESSIONS: u64 = 100;

fn sessions(requests: u64, sessions: u64) -> Expected {
    Expected { sessions, ..here(requests) }
}

pub fn cases() -> Vec<Case> {
    vec![
        #[cfg(target_env = "gnu")]
        Case::new("TLS session: coroutines whose reads end in another order", sessions(4, 2), |lab| {
            let _link = lab.uprobes()?.attach(&library()?).map_err(io::Error::other)?;
            coroutines::out_of_order();
            Ok(())
        }),
        #[cfg(target_env = "gnu")]
        Case::new("TLS session: a read that is never returned from", sessions(3, 2), |lab| {
            let _link = lab.uprobes()?.attach(&library()?).map_err(io::Error::other)?;
            coroutines::abandoned();
            Ok(())
        }),
        Case::new("TLS session: a process that is killed at any system call but two", filtered(), |lab| {
            in_filter(lab, Filter::Kill)
        }),
        Case::new("TLS session: a process to which all system calls but two fail", filtered(), |lab| {
            in_filter(lab, Filter::Fail)
        }),
        Case::new("TLS session: a killed process is swept", Expected::default(), killed),
        Case::new("TLS session: 20 times probed and not, under load", Expected::default(), come_and_go),
        Case::new("TLS session: 100 files are let go at once", Expected::default(), many_files),
    ]
}

/// What a filter does with system calls that it does not know.
#[derive(Clone, Copy)]
enum Filter {
    Kill,
    Fail,
}

impl Filter {
    const ALL: [(&'static str, Self); 2] = [("kill", Self::Kill), ("fail", Self::Fail)];

    const fn name(self) -> &'static str {
        Self::ALL[self as usize].0
    }

    /// For all of this process's life.
    fn install(self) -> io::Result<()> {
        let step = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
        // BPF_LD | BPF_W | BPF_ABS, BPF_JMP | BPF_JEQ | BPF_K, BPF_RET | BPF_K
        let (load, is, end) = (0x20, 0x15, 0x06);
        let other = match self {
            Self::Kill => libc::SECCOMP_RET_KILL_PROCESS,
            Self::Fail => libc::SECCOMP_RET_ERRNO | libc::EPERM as u32,
        };
        let mut steps = [
            step(load, 0, 0, 0), // The system call's number.
            step(is, 2, 0, libc::SYS_write as u32),
            step(is, 1, 0, libc::SYS_exit_group as u32),
            step(end, 0, 0, other),
            step(end, 0, 0, libc::SECCOMP_RET_ALLOW),
        ];
        let filter = libc::sock_fprog { len: steps.len() as u16, filter: steps.as_mut_ptr() };
        // SAFETY: the kernel copies the filter.
        let installed = unsafe {
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
                && libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const filter) == 0
        };
        if installed { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

/// Of the process that may do no more than write and end.
const FILTERED_SESSIONS: u64 = 1000;

fn filtered() -> Expected {
    Expected { sessions: FILTERED_SESSIONS, ..elsewhere(3 * FILTERED_SESSIONS) }
}

/// Reads in a process with this filter, which must come to its end by itself.
fn in_filter(lab: &mut Lab, filter: Filter) -> io::Result<()> {
    let _link = lab.uprobes()?.attach(&library()?).map_err(io::Error::other)?;
    let output = in_role(ROLE, &[filter.name().to_owned()]).output()?;
    if output.status.success() && output.stdout == b"done\n" {
        Ok(())
    } else {
        Err(io::Error::other(format!("it ended with {}, and said {:?}", output.status, output.stdout)))
    }
}

fn read_in_filter(filter: Filter) -> io::Result<()> {
    filter.install()?;
    for index in 1..=FILTERED_SESSIONS {
        let session = Session(index << 12);
        session.begin_server();
        session.read(REQUEST);
        session.read_ex(REQUEST);
        session.go_read(REQUEST, index);
        session.free();
    }
    let said = b"done\n";
    // SAFETY: bytes that are there; then nothing is run any more.
    unsafe {
        libc::write(1, said.as_ptr().cast(), said.len());
        libc::_exit(0)
    }
}

/// Begins sessions, and waits within a read from one.
pub fn play(arguments: &[String]) -> io::Result<()> {
    if let Some(name) = arguments.first() {
        let filter = Filter::ALL.into_iter().find(|(known, _)| known == name);
        return read_in_filter(filter.ok_or_else(|| io::Error::other("no such filter"))?.1);
    }
    extern "C" fn wait(_: *mut c_void) -> i64 {
        let mut out = io::stdout();
        let said = out.write_all(b"ready\n").and_then(|()| out.flush());
        let waited = said.and_then(|()| io::stdin().read(&mut [0]));
        waited.map_or(-1, |_| 0)
    }
    let all: Vec<_> = (1..=SESSIONS).map(|index| Session(index << 12)).collect();
    all.iter().for_each(|session| session.begin_server());
    all[0].read_within(REQUEST, wait, std::ptr::null_mut());
    Ok(())
}

fn killed(lab: &mut Lab) -> io::Result<()> {
    let uprobes = lab.uprobes()?;
    let _link = uprobes.attach(&library()?).map_err(io::Error::other)?;
    let mut child = in_role(ROLE, &[]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let out = child.stdout.as_mut().ok_or_else(|| io::Error::other("it has no output"))?;
    let said = out.read_exact(&mut [0; 6]);
    let lives = |tgid: u32| Path::new(&format!("/proc/{tgid}")).exists();
    let swept = uprobes.sweep(lives)?;
    child.kill()?;
    child.wait()?;
    said?;
    if swept.sessions != 0 {
        return Err(io::Error::other(format!("{swept:?} while it lived")));
    }
    let swept = uprobes.sweep(lives)?;
    if (swept.sessions as u64, swept.calls) == (SESSIONS, 1) {
        Ok(())
    } else {
        Err(io::Error::other(format!("{swept:?} of {SESSIONS} and a call")))
    }
}

/// No more than was read is counted, and what reads goes on.
fn come_and_go(lab: &mut Lab) -> io::Result<()> {
    let (stop, read) = (AtomicBool::new(false), AtomicU64::new(0));
    // Not in this program's file, of which the kernel takes away what is in memory while it puts probes in.
    let request = REQUEST.to_vec();
    let own = |lab: &mut Lab| -> io::Result<(u64, u64)> {
        let pid = Some(Pid(std::process::id()));
        let reading = lab.read()?;
        let own = reading.processes.iter().find(|process| process.pid == pid).map(|process| process.counts);
        let own = own.unwrap_or_default();
        Ok((requests(&own), own.tls_sessions))
    };
    let before = own(lab)?;
    thread::scope(|scope| {
        for index in 1..=2 {
            let (stop, read, request) = (&stop, &read, &request);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let session = Session(index << 12);
                    session.begin_server();
                    session.read(request);
                    session.read_ex(request);
                    session.free();
                    read.fetch_add(2, Ordering::Relaxed);
                }
            });
        }
        let done: io::Result<()> = (0..20).try_for_each(|_| {
            let link = lab.uprobes()?.attach(&library()?).map_err(io::Error::other)?;
            let seen = read.load(Ordering::Relaxed);
            // So that some were read with it.
            while read.load(Ordering::Relaxed) < seen + 100 {
                thread::yield_now();
            }
            drop(link);
            Ok(())
        });
        stop.store(true, Ordering::Relaxed);
        done
    })?;
    let (after, most) = (own(lab)?, read.load(Ordering::Relaxed));
    let (counted, sessions) = (after.0 - before.0, after.1 - before.1);
    if !(20 * 98..=most).contains(&counted) {
        return Err(io::Error::other(format!("{counted} counted of {most}")));
    }
    lab.expect(Expected { sessions, ..here(counted) });
    Ok(())
}

/// Of ten places each. Many are let go in a small part of the time that they would take one by one, however slow the machine is. Of
/// three rounds the fastest of each counts: what else the machine does only adds.
fn many_files(lab: &mut Lab) -> io::Result<()> {
    const SINGLE: u32 = 10;
    const MANY: u32 = 100;
    let folder = std::env::temp_dir().join(format!("cases-tls-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    let uprobes = lab.uprobes()?;
    let (mut single, mut many) = (Duration::MAX, Duration::MAX);
    for _ in 0..3 {
        let mut links = Vec::new();
        for index in 0..SINGLE + MANY {
            let path = folder.join(index.to_string());
            // Instructions that do nothing; nobody runs them.
            fs::write(&path, [0x90; 4096])?;
            let places = (0..10).map(|place| Place { offset: 16 * place, action: Action::ReadEntry, depth: 0 });
            links.push(uprobes.attach(&library_of(File::open(&path)?, places.collect())?).map_err(io::Error::other)?);
        }
        let attached = Instant::now();
        links.drain(..SINGLE as usize).for_each(|link| detach(vec![link]));
        single = single.min(attached.elapsed());
        let begun = Instant::now();
        detach(links);
        many = many.min(begun.elapsed());
    }
    fs::remove_dir_all(folder)?;
    println!("note: {SINGLE} files let go one by one in {single:?}, {MANY} together in {many:?}");
    if 3 * many < single * (MANY / SINGLE) {
        Ok(())
    } else {
        Err(io::Error::other(format!("{MANY} together take {many:?}, and {SINGLE} one by one {single:?}")))
    }
}

#[cfg(target_env = "gnu")]
mod coroutines {
    use super::*;
    use std::mem::MaybeUninit;
    use std::ptr::{from_ref, null_mut};

    const STACK_BYTES: usize = 1 << 18;

    thread_local! {
        /// What a context runs that begins.
        static TO_RUN: Cell<*const Coroutine> = const { Cell::new(std::ptr::null()) };
    }

    struct Coroutine {
        own: *mut libc::ucontext_t,
        main: *mut libc::ucontext_t,
        session: Session,
    }

    extern "C" fn run() {
        // SAFETY: `enter` has set it, and it outlives the context.
        let coroutine = unsafe { &*TO_RUN.get() };
        coroutine.session.begin_server();
        coroutine.session.read(REQUEST);
        coroutine.session.read_within(REQUEST, leave, from_ref(coroutine).cast_mut().cast());
        // SAFETY: both were filled in.
        unsafe { libc::swapcontext(coroutine.own, coroutine.main) };
    }

    /// Goes on with the main context, in the midst of a read.
    extern "C" fn leave(coroutine: *mut c_void) -> i64 {
        // SAFETY: `run` gave it.
        let coroutine = unsafe { &*coroutine.cast::<Coroutine>() };
        // SAFETY: both were filled in.
        unsafe { libc::swapcontext(coroutine.own, coroutine.main) };
        REQUEST.len() as i64
    }

    /// Runs the first until it is in its read, then those of `more` in their order.
    fn play(sessions: &[Session], more: &[usize]) {
        let mut main = Box::new(MaybeUninit::<libc::ucontext_t>::zeroed());
        let main = main.as_mut_ptr();
        let mut owned: Vec<_> = sessions
            .iter()
            .map(|_| (Box::new(MaybeUninit::<libc::ucontext_t>::zeroed()), vec![0_u8; STACK_BYTES]))
            .collect();
        let coroutines: Vec<_> = owned
            .iter_mut()
            .zip(sessions)
            .map(|((context, stack), session)| {
                let own = context.as_mut_ptr();
                // SAFETY: a context of its own, with a stack of its own.
                unsafe {
                    libc::getcontext(own);
                    (*own).uc_stack.ss_sp = stack.as_mut_ptr().cast();
                    (*own).uc_stack.ss_size = STACK_BYTES;
                    (*own).uc_link = null_mut();
                    libc::makecontext(own, run, 0);
                }
                Coroutine { own, main, session: *session }
            })
            .collect();
        for coroutine in (0..coroutines.len()).chain(more.iter().copied()).map(|index| &coroutines[index]) {
            TO_RUN.set(coroutine);
            // SAFETY: it was made above, or has left.
            unsafe { libc::swapcontext(main, coroutine.own) };
        }
        sessions.iter().for_each(|session| session.free());
    }

    /// Both are within a read; the one that began first ends first.
    pub fn out_of_order() {
        play(&[Session(1 << 12), Session(2 << 12)], &[0, 1]);
    }

    /// The first stack goes while it is in its read: that one never ends. Others may be where it was.
    pub fn abandoned() {
        play(&[Session(1 << 12)], &[]);
        play(&[Session(2 << 12)], &[0]);
    }
}
