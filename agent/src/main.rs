//! The agent's process: configuration, telemetry, run, exit code.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use agent::commands::{ask, top};
use agent::counting::tick::{Handed, Probe};
use agent::exit::Failure;
use agent::handover::stand_by;
use agent::kernel::{Kernel, LoadError};
use agent::printable::printable_lines;
use agent::processes::ProcessTable;
use agent::run::{End, run};
use agent::settings::cli::{self, Call};
use agent::settings::config::{Config, ConfigError};
use agent::settings::environment;
use agent::telemetry::HeldLines;
use agent::watchdog::Watched;
use agent::{check, telemetry, terminal};
use tokio::runtime::Runtime;

/// Where Kubernetes looks for the last words of a container.
const TERMINATION_LOG: &str = "/dev/termination-log";
/// What the kubelet tells each container.
const OF_A_POD: &str = "KUBERNETES_SERVICE_HOST";
/// How long an agent that hangs is given to say so.
const LAST_WORDS: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().collect();
    // What somebody asks in the agent's container is not its end.
    let ended = if cli::is_the_agents(&arguments) { ended } else { |failure: &Failure| failure.code().into() };
    match cli::parse(arguments, environment::of_process()) {
        Ok(Call::Count(config)) => count(*config),
        Ok(Call::Check(config, json)) => checked(&config, json),
        Ok(Call::Ask(reach, request)) => answered(ask::ask(&reach.plugins_root, request)),
        Ok(Call::Top(reach, top)) => match top::run(&reach, top) {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => {
                say(&failure);
                ended(&failure)
            }
        },
        Ok(Call::Print(bytes)) => {
            // Whoever closed the pipe has read enough.
            let _ = std::io::stdout().write_all(&bytes);
            ExitCode::SUCCESS
        }
        // Prints help, version or the fault.
        Err(ConfigError::Usage(usage)) if !usage.use_stderr() => usage.exit(),
        Err(ConfigError::Usage(usage)) => {
            let _ = usage.print();
            ended(&Failure::Usage(usage.to_string()))
        }
        Err(ConfigError::Values(errors)) => {
            say(&errors.join("\n"));
            ended(&Failure::Usage(errors.join("\n")))
        }
    }
}

fn count(config: Config) -> ExitCode {
    let lines = telemetry::start(&config, terminal::wanted(config.terminal));
    match config.given.as_slice() {
        [] => tracing::info!("settings: all as by default"),
        given => tracing::info!("settings: {}; else as by default", given.join(", ")),
    }
    let probe = config.probe;
    let result = runtime().and_then(|runtime| {
        let result = runtime.block_on(run_again(config, lines.clone(), |handed| {
            let kernel = match handed {
                Some(handed) => Kernel::adopt(probe, handed)?,
                None => Kernel::load(probe)?,
            };
            Ok::<_, LoadError>(Watched::new(kernel, hung))
        }));
        // A credential plugin may still be at work on a thread, and nobody waits for it.
        runtime.shutdown_background();
        result
    });
    if let Err(failure) = &result {
        tracing::error!("{failure}");
    }
    if let Some(lines) = lines {
        lines.release();
    }
    result.map_or_else(|failure| ended(&failure), |_| ExitCode::SUCCESS)
}

/// In a pod an agent that has handed over stands by, and counts again where the other one is gone.
async fn run_again<K: Probe + Send + 'static>(
    config: Config,
    lines: Option<HeldLines>,
    mut load: impl FnMut(Option<Handed>) -> Result<K, LoadError>,
) -> Result<(), Failure> {
    let stands_by = std::env::var_os(OF_A_POD).is_some();
    loop {
        let end = run(config.clone(), lines.clone(), &mut load, ProcessTable::new()).await?;
        let counts_again = end == End::HandedOver
            && stands_by
            && stand_by(&config.plugins_root).await.map_err(|error| Failure::Io(error.to_string()))?;
        if !counts_again {
            return Ok(());
        }
    }
}

fn runtime() -> Result<Runtime, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Failure::Io(format!("cannot start: {error}")))
}

/// Ends the agent from beside it. Whatever it hangs on may hold the log, too, so nobody waits for that.
fn hung(line: String) {
    let failure = Failure::Hung(line);
    let _ = ended(&failure);
    let code = failure.code();
    thread::spawn(move || tracing::error!("{failure}"));
    thread::sleep(LAST_WORDS);
    std::process::exit(code.into());
}

/// To stderr. Where that is closed or full, the exit code is left to tell.
fn say(text: &impl std::fmt::Display) {
    let _ = writeln!(std::io::stderr(), "{}", printable_lines(&text.to_string()));
}

/// Prints what was found; whether the agent can count is in the exit code.
fn checked(config: &Config, json: bool) -> ExitCode {
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(failure) => return answered(Err(failure.to_string())),
    };
    let (text, can_count) = runtime.block_on(check::run(config, json));
    // Whoever closed the pipe has read enough.
    let _ = write!(std::io::stdout(), "{text}");
    if can_count { ExitCode::SUCCESS } else { ExitCode::from(Failure::Unavailable(String::new()).code()) }
}

/// Prints what the running agent answered, or why it is no good answer.
fn answered(answer: Result<String, String>) -> ExitCode {
    match answer {
        Ok(text) => {
            // Whoever closed the pipe has read enough.
            let _ = write!(std::io::stdout(), "{text}");
            ExitCode::SUCCESS
        }
        Err(text) => {
            say(&text);
            ExitCode::FAILURE
        }
    }
}

/// Leaves the reason where Kubernetes shows it, and gives the exit code.
fn ended(failure: &Failure) -> ExitCode {
    // Only where there is such a file; elsewhere nobody misses it.
    if let Ok(mut log) = OpenOptions::new().write(true).open(TERMINATION_LOG) {
        let _ = writeln!(log, "{}", printable_lines(&failure.to_string()));
    }
    ExitCode::from(failure.code())
}
