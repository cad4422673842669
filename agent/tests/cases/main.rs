//! The definition of a request, case by case, on the running kernel: expected counts come from the
//! definition or from the servers, never from the probe.
//!
//! Needs root. Where the probe cannot run, says so and skips; with `REQUIRE_PROBE=1` that fails.
//! The binary needs nothing beside itself, so that it also runs inside other kernels.

mod certainty;
mod cgroups;
#[expect(dead_code, reason = "no case waits with it")]
#[path = "../harness/mod.rs"]
mod harness;
#[path = "../hierarchy/mod.rs"]
mod hierarchy;
mod hostile;
mod kinds;
mod lab;
mod load;
mod processes;
mod raw;
mod reading;
mod state;
mod streams;
mod transports;
mod urgent;

use std::process::ExitCode;

use agent::counting::tick::Probe as _;
use agent::kernel::Kernel;
use agent::settings::config::probe_of_variables;
use lab::{Case, Lab};

/// A tenth of what the kernel allows: peers of this probe failed on one kernel while others took them.
const MOST_VERIFIED: u32 = 100_000;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, role, rest @ ..] = arguments.as_slice()
        && flag == "--role"
    {
        return processes::play(role, rest);
    }
    // Asked by cargo and by test runners; there is nothing to list.
    if arguments.iter().any(|argument| argument == "--list") {
        return ExitCode::SUCCESS;
    }
    let filter = arguments.iter().find(|argument| !argument.starts_with('-'));
    let old = certainty::Old::open().expect("connections on loopback can be made");
    let kernel = match Kernel::load(probe_of_variables(|name| std::env::var(name).ok())) {
        Ok(kernel) => kernel,
        Err(error) if std::env::var_os("REQUIRE_PROBE").is_some() => {
            println!("the probe is required here: {error}\n0 passed, 1 failed");
            return ExitCode::FAILURE;
        }
        Err(error) => {
            println!("SKIPPED, every case: {error}\n0 passed, 0 failed, 1 skipped");
            return ExitCode::SUCCESS;
        }
    };
    println!("probe: {}", kernel.description());
    let verified = kernel.program_statistics().map_or(0, |of| of.verified_instructions);
    println!("verified instructions: {verified}");
    if verified > MOST_VERIFIED {
        println!("more than {MOST_VERIFIED} verified instructions: kernels differ, and one may refuse the probe");
        return ExitCode::FAILURE;
    }
    let mut lab = Lab::new(kernel);
    let cases: Vec<Case> = [
        certainty::cases(old),
        streams::cases(),
        reading::cases(),
        transports::cases(),
        kinds::cases(),
        urgent::cases(),
        hostile::cases(),
        state::cases(),
        processes::cases(),
        cgroups::cases(),
        load::cases(),
    ]
    .into_iter()
    .flatten()
    .filter(|case| filter.is_none_or(|filter| case.name.contains(filter.as_str())))
    .collect();
    lab.run(cases)
}
