//! `scope-http-requests top` as a process beside a served socket: in pipes, and in a real terminal (tmux).
#![expect(clippy::unwrap_used, reason = "a test may fail by panicking; clippy knows its functions, not their helpers")]

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use agent::counting::counts::Pid;
use agent::counting::history::History;
use agent::counting::identity::Identity;
use agent::counting::overview::Facts;
use agent::counting::snapshot::{Place, Process, Snapshot, Standing};
use agent::scope::plugin::{self, Answers, Limits, Pulse, Refusal, Reports, Socket};
use agent::shutdown::{self, Trigger};
use common::maps::{Counts, ProcessKey};
use jiff::Timestamp;
use rustix::process::{Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::watch;

const TOP: &str = env!("CARGO_BIN_EXE_scope-http-requests");
/// Much longer than anything here takes; only a hang reaches it.
const HANG: Duration = Duration::from_secs(30);

/// What serves an agent's socket, and ticks when a test says so.
struct Agent {
    folder: TempDir,
    publish: watch::Sender<Arc<Snapshot>>,
    trigger: Option<Trigger>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Agent {
    fn start() -> Self {
        let facts = Facts { probe: "the probe".into(), socket: "the socket".into(), ..Facts::default() };
        Self::answering(|snapshots| Arc::new(Reports::new(snapshots, watch::channel(Pulse::new()).1).with_facts(facts)))
    }

    fn answering(answers: impl FnOnce(watch::Receiver<Arc<Snapshot>>) -> Arc<dyn Answers>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (publish, snapshots) = watch::channel(Arc::new(tick(1)));
        let answers = answers(snapshots);
        let (trigger, shutdown) = shutdown::channel();
        let root = folder.path().to_owned();
        let (claimed, is_claimed) = std::sync::mpsc::channel();
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let (_socket, listener) = Socket::claim(&root).unwrap();
                claimed.send(()).unwrap();
                plugin::serve(listener, answers, Limits::DEFAULT, shutdown).await;
            });
        });
        is_claimed.recv().unwrap();
        Self { folder, publish, trigger: Some(trigger), thread: Some(thread) }
    }

    fn tick(&self, number: u64) {
        self.publish.send_replace(Arc::new(tick(number)));
    }

    fn stop(&mut self) {
        self.trigger = None;
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }

    /// The command line of `top` with these flags.
    fn line(&self, flags: &[&str]) -> Vec<String> {
        let root = format!("--plugins-root={}", self.folder.path().display());
        [TOP, "top", &root].iter().chain(flags).map(|word| (*word).to_owned()).collect()
    }

    fn top(&self, flags: &[&str]) -> Command {
        let line = self.line(flags);
        let mut command = Command::new(&line[0]);
        command.args(&line[1..]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }
}

/// At tick n each process has received n times 10 requests.
fn tick(number: u64) -> Snapshot {
    let process = |(pid, name, place): (u32, &str, Option<&str>)| {
        let mut history = History::default();
        (1..=number).for_each(|tick| history.note(tick, 10.0));
        let identity = Identity {
            pid: Some(Pid(pid)),
            command: name.into(),
            command_line: format!("/usr/bin/{name} --serve"),
            candidates: Arc::default(),
        };
        let place = place.map(|pod| Place {
            scope_uid: pod.into(),
            namespace: "shop".into(),
            pod: pod.into(),
            container_id: None,
            container: Some("app".into()),
        });
        Process {
            standing: Standing::default(),
            key: ProcessKey { start_ns: 1, tgid: pid, reserved: 0 },
            identity: Arc::new(identity),
            place: place.map(Arc::new),
            totals: Counts { requests: [0, number * 10, 0], ..Counts::default() },
            history,
            responded: None,
        }
    };
    let processes = [(41, "nginx", Some("web-1")), (42, "apache", Some("web-1")), (43, "node", None)].map(process);
    Snapshot {
        sequence: number,
        now: number,
        ticks: vec![Timestamp::from_second(1_700_000_000 + number as i64).unwrap()],
        processes: processes.into_iter().collect(),
        totals: Counts { requests: [0, number * 30, 0], ..Counts::default() },
        rate: 30.0,
        ..Snapshot::empty("node-1".into())
    }
}

#[track_caller]
fn check(output: &Output, code: i32) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let (out, error) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{out}{error}");
    (out, error)
}

/// A running `top` that writes lines.
struct Lines {
    child: Child,
    /// `None` once the reader is gone.
    lines: Option<BufReader<ChildStdout>>,
}

impl Lines {
    fn of(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let lines = child.stdout.take().map(BufReader::new);
        Self { child, lines }
    }

    fn next(&mut self) -> String {
        let mut line = String::new();
        self.lines.as_mut().unwrap().read_line(&mut line).unwrap();
        line
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_pipe_gets_lines() {
    let agent = Agent::start();
    let output = agent.top(&["--ticks=1", "--rows=2", "--sort=name"]).output().unwrap();
    let (out, _) = check(&output, 0);
    let lines: Vec<Vec<_>> = out.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["TIME", "REQ/S", "ERR/S", "P50", "P99", "TOTAL", "SHARE", "PID", "PROCESS"]);
    assert_eq!(lines[1], ["2023-11-14T22:13:21.000Z", "30.0", "-", "-", "-", "30", "100.0%", "-", "(all)"]);
    assert_eq!(lines[2], ["2023-11-14T22:13:21.000Z", "10.0", "-", "-", "-", "10", "33.3%", "42", "apache", "--serve"]);
    assert_eq!((lines.len(), lines[3][7]), (4, "41"));
}

#[test]
fn json_is_a_line_for_each_tick() {
    let mut agent = Agent::start();
    let mut top = Lines::of(agent.top(&["--json", "--by=pod"]));
    for number in 1..=3 {
        let line: Value = serde_json::from_str(&top.next()).unwrap();
        assert_eq!(line["total"], number * 30);
        assert_eq!(line["rows"][0]["name"], "shop/web-1");
        assert_eq!(line["rows"][0]["total"], number * 20);
        assert_eq!(line["rows"][1]["name"], "(outside pods)");
        agent.tick(number + 1);
    }
    top.next();
    agent.stop();
    assert_eq!(top.child.wait().unwrap().code(), Some(69));
    let mut said = String::new();
    top.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(said.starts_with("no answer on "), "{said}");
}

#[test]
fn a_reader_that_goes_is_no_error() {
    let agent = Agent::start();
    let mut top = Lines::of(agent.top(&["--json"]));
    top.next();
    top.lines = None;
    agent.tick(2);
    assert_eq!(top.child.wait().unwrap().code(), Some(0));
}

#[test]
fn where_no_agent_is_it_says_what_to_do() {
    let output = Command::new(TOP).args(["top", "--plugins-root=/nonexistent"]).output().unwrap();
    let (_, said) = check(&output, 69);
    assert!(
        said.contains("/nonexistent/http-requests/http-requests.sock") && said.contains("--plugins-root"),
        "{said}"
    );
}

#[test]
fn an_agent_that_cannot_count_says_why() {
    let agent = Agent::answering(|_| Arc::new(Refusal("no BTF".into())));
    let output = agent.top(&[]).output().unwrap();
    let (_, said) = check(&output, 69);
    assert_eq!(said, "503: no BTF\n");
}

/// A terminal with a program in it, and a shell that says how the program ended.
struct Tmux {
    socket: PathBuf,
}

impl Tmux {
    /// `None` where there is no tmux.
    fn start(agent: &Agent, size: (u16, u16), flags: &[&str]) -> Option<Self> {
        Self::start_with("TERM=xterm-256color", agent, size, flags)
    }

    /// After `before` in a shell.
    fn start_with(before: &str, agent: &Agent, (width, height): (u16, u16), flags: &[&str]) -> Option<Self> {
        if Command::new("tmux").arg("-V").output().is_err() {
            assert!(std::env::var_os("REQUIRE_PROBE").is_none(), "tmux is required here");
            eprintln!("SKIPPED: no tmux");
            return None;
        }
        let tmux = Self { socket: agent.folder.path().join("tmux") };
        let line = agent.line(flags).join(" ");
        let shell = format!("{before} {line}; echo \"ended with $?\"; stty -a | grep -c ' echo '; cat");
        let (width, height) = (width.to_string(), height.to_string());
        let size = ["-x", &width, "-y", &height];
        let begin = ["-f", "/dev/null", "new-session", "-d"];
        tmux.run(&[begin.as_slice(), &size, &["sh", "-c", &shell]].concat());
        Some(tmux)
    }

    fn run(&self, arguments: &[&str]) -> String {
        let output = Command::new("tmux").arg("-S").arg(&self.socket).arg("-u").args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn press(&self, keys: &[&str]) {
        self.run(&[&["send-keys"], keys].concat());
    }

    /// The screen once it has all of this.
    #[track_caller]
    fn until(&self, parts: &[&str]) -> String {
        let started = Instant::now();
        loop {
            let screen = self.run(&["capture-pane", "-p"]);
            if parts.iter().all(|part| screen.contains(part)) {
                return screen;
            }
            assert!(started.elapsed() < HANG, "never {parts:?}:\n{screen}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// With what makes colours.
    fn coloured(&self) -> String {
        self.run(&["capture-pane", "-p", "-e"])
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        let _ = Command::new("tmux").arg("-S").arg(&self.socket).arg("kill-server").output();
    }
}

/// Whether a captured screen has a colour other than the terminal's own.
fn is_coloured(screen: &str) -> bool {
    ["[38;", "[48;", "[32m", "[33m"].iter().any(|colour| screen.contains(colour))
}

#[test]
fn a_terminal_gets_a_live_table_that_keys_change_and_that_leaves_no_trace() {
    let agent = Agent::start();
    let Some(tmux) = Tmux::start(&agent, (120, 20), &[]) else { return };
    let screen = tmux.until(&["HTTP requests on node-1: 30.0/s, 30 total, 3 processes", "q quits"]);
    for part in ["probe the probe", "Scope the socket", "nginx --serve", "LAST MINUTE", "UNSYNCED", "33.3%", "█"] {
        assert!(screen.contains(part), "{part}:\n{screen}");
    }
    assert!(is_coloured(&tmux.coloured()), "{}", tmux.coloured());
    agent.tick(2);
    tmux.until(&["60 total"]);
    tmux.press(&["Tab"]);
    tmux.until(&["CONTAINER", "shop/web-1/app"]);
    tmux.press(&["o"]);
    tmux.until(&["POD", "(outside pods)", "66.7%"]);
    tmux.press(&["p", "/", "n", "g", "i"]);
    let screen = tmux.until(&["filter: ngi_", "nginx"]);
    assert!(!screen.contains("apache"), "{screen}");
    // Alone: what follows at once would make it another key.
    tmux.press(&["Escape"]);
    tmux.until(&["q quits", "apache"]);
    tmux.press(&["s", "Space"]);
    tmux.until(&["PAUSED", "TOTAL▼", "apache"]);
    agent.tick(3);
    tmux.press(&["r"]);
    tmux.until(&["PAUSED", "TOTAL▲", "60 total"]);
    tmux.press(&["Space"]);
    tmux.until(&["90 total"]);
    tmux.press(&["q"]);
    let screen = tmux.until(&["ended with 0\n1\n"]);
    assert!(!screen.contains("PROCESS"), "the alternate screen is still there:\n{screen}");
}

#[test]
fn a_narrow_terminal_gets_what_fits_and_a_resize_redraws() {
    let agent = Agent::start();
    let Some(tmux) = Tmux::start(&agent, (50, 9), &["--by=pod"]) else { return };
    let screen = tmux.until(&["POD", "shop/web-1", "q quits"]);
    assert!(!screen.contains("LAST MINUTE") && !screen.contains("SHARE"), "{screen}");
    tmux.run(&["resize-window", "-x", "130", "-y", "30"]);
    tmux.until(&["LAST MINUTE", "SHARE", "UNSYNCED"]);
}

#[test]
fn no_colour_is_none_and_an_agent_that_goes_is_told_until_it_returns() {
    let mut agent = Agent::start();
    let Some(tmux) = Tmux::start(&agent, (100, 20), &["--no-colour"]) else { return };
    tmux.until(&["nginx", "q quits"]);
    assert!(!is_coloured(&tmux.coloured()), "{}", tmux.coloured());
    agent.stop();
    tmux.until(&["the last that is known: no answer on", "nginx"]);
    tmux.press(&["C-c"]);
    tmux.until(&["ended with 0\n1\n"]);
}

#[test]
fn a_terminal_that_can_only_print_gets_lines() {
    let agent = Agent::start();
    let Some(tmux) = Tmux::start_with("TERM=dumb", &agent, (120, 20), &["--ticks=1"]) else { return };
    let screen = tmux.until(&["TIME", "nginx --serve", "ended with 0\n1\n"]);
    assert!(!screen.contains("q quits"), "{screen}");
}

#[test]
fn a_terminal_without_a_size_is_told_and_gets_lines() {
    let agent = Agent::start();
    let before = "stty columns 0 rows 0; TERM=xterm-256color";
    let Some(tmux) = Tmux::start_with(before, &agent, (120, 20), &["--ticks=1"]) else { return };
    tmux.until(&["no columns or no rows", "`stty columns 80 rows 24`", "TIME", "nginx --serve", "ended with 0\n1\n"]);
}

#[test]
fn a_signal_leaves_the_terminal_as_it_was() {
    let agent = Agent::start();
    let Some(tmux) = Tmux::start(&agent, (100, 20), &[]) else { return };
    tmux.until(&["nginx", "q quits"]);
    let shell: i32 = tmux.run(&["display-message", "-p", "#{pane_pid}"]).trim().parse().unwrap();
    kill_process(child_of(shell), Signal::TERM).unwrap();
    tmux.until(&["ended with 0\n1\n"]);
}

/// The one process whose parent this is.
fn child_of(parent: i32) -> rustix::process::Pid {
    let children = std::fs::read_to_string(Path::new("/proc").join(format!("{parent}/task/{parent}/children")));
    let child = children.unwrap().split_whitespace().next().unwrap().parse().unwrap();
    rustix::process::Pid::from_raw(child).unwrap()
}
