//! Processes while no file can be opened: none that lives is taken for one that has ended. Alone in its program, whose
//! limit of open files it lowers.

#![expect(clippy::unwrap_used, reason = "a test may fail by panicking; clippy knows its functions, not their helpers")]

use std::fs;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use agent::counting::counts::{Pid, ProcessCounts};
use agent::counting::identity::start_ticks;
use agent::counting::tick::Processes as _;
use agent::processes::ProcessTable;
use common::maps::{Counts, ProcessKey};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// A process that waits for its standard input, which ends with this test.
fn waiting() -> (Child, ProcessCounts) {
    let child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
    let started = start_ticks(&fs::read(format!("/proc/{}/stat", child.id())).unwrap()).unwrap();
    let process = ProcessCounts {
        key: ProcessKey { start_ns: started * 10_000_000, tgid: child.id(), reserved: 0 },
        pid: Some(Pid(child.id())),
        command: "cat".into(),
        candidates: Arc::default(),
        counts: Counts::default(),
    };
    (child, process)
}

fn end(child: &mut Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn without_descriptors_the_living_live_and_the_dead_are_noticed() {
    let mut table = ProcessTable::new();
    let [(mut first, a), (mut second, b), (mut third, c)] = [waiting(), waiting(), waiting()];
    end(&mut third);
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(0), ..limit }).unwrap();
    let tracked = [&a, &b, &c].map(|process| table.track(process).identity.command);
    let at_once = table.ended();
    let later = table.ended();
    end(&mut first);
    let after_one = table.ended();
    let restored = setrlimit(Resource::Nofile, limit);
    let after_it = table.ended();
    end(&mut second);
    // Nothing could be asserted before: a panic opens files.
    restored.unwrap();
    assert_eq!(tracked, ["cat"; 3]);
    assert_eq!((at_once, later, after_one, after_it), (vec![c.key], vec![], vec![a.key], vec![]));
    assert_eq!((table.ended(), table.unreadable()), (vec![b.key], 2));
}
