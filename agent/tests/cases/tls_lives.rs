//! What processes do while their TLS is read: they switch stacks, leave calls without an end, are killed; and probes that come
//! and go under them.
#![expect(unsafe_code, reason = "stacks are switched")]

use std::cell::Cell;
use std::ffi::c_void;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use agent::counting::counts::{Pid, requests};
use agent::kernel::detach;
use agent::tls::place::Place;
use common::tls::action::Action;

use crate::lab::{Case, Expected, Lab, here};
use crate::processes::in_role;
use crate::streams::GET;
use crate::tls_calls::{Session, library, library_of};

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
        Case::new("TLS session: a killed process is swept", Expected::default(), killed),
        Case::new("TLS session: 20 times probed and not, under load", Expected::default(), come_and_go),
        Case::new("TLS session: 100 files", Expected::default(), many_files),
    ]
}

/// Begins sessions, and waits within a read from one.
pub fn play() -> io::Result<()> {
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
            let (stop, read) = (&stop, &read);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let session = Session(index << 12);
                    session.begin_server();
                    session.read(REQUEST);
                    session.read_ex(REQUEST);
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

/// Of ten places each.
fn many_files(lab: &mut Lab) -> io::Result<()> {
    let folder = std::env::temp_dir().join(format!("cases-tls-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    let started = Instant::now();
    let mut links = Vec::new();
    let uprobes = lab.uprobes()?;
    for index in 0..100 {
        let path = folder.join(index.to_string());
        // Instructions that do nothing; nobody runs them.
        fs::write(&path, [0x90; 4096])?;
        let places = (0..10).map(|place| Place { offset: 16 * place, action: Action::ReadEntry, depth: 0 });
        links.push(uprobes.attach(&library_of(File::open(&path)?, places.collect())?).map_err(io::Error::other)?);
    }
    let attached = Instant::now();
    detach(links);
    println!("note: 100 files attached in {:?}, detached in {:?}", attached - started, attached.elapsed());
    fs::remove_dir_all(folder)
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
