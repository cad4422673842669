//! The definition of a request, case by case, on the running kernel: expected counts come from the
//! definition or from the servers, never from the probe.
//!
//! Needs root. Where the probe cannot run, says so and skips; with `REQUIRE_PROBE=1` that fails.
//! The binary needs nothing beside itself, so that it also runs inside other kernels.

mod beside;
mod certainty;
mod cgroups;
#[path = "../../../common/tests/client_hellos/mod.rs"]
mod client_hellos;
mod frames;
#[path = "../harness/mod.rs"]
mod harness;
#[path = "../hierarchy/mod.rs"]
mod hierarchy;
mod hostile;
mod kinds;
mod lab;
mod load;
mod machine;
mod old_http2;
#[path = "../own_program/mod.rs"]
mod own_program;
mod processes;
mod raw;
mod raw_sends;
mod reading;
mod responses;
mod responses_http2;
mod responses_joined;
mod responses_processes;
mod responses_sends;
mod responses_unix;
mod state;
mod streams;
mod tls;
mod tls_calls;
mod tls_lives;
mod tls_responses;
mod tls_sessions;
mod transports;
mod urgent;

use std::process::ExitCode;

use agent::counting::tick::Probe as _;
use agent::kernel::{Kernel, ProbeConfig, ResponseChoice, TlsChoice};
use agent::settings::config::probe_of_variables;
use lab::{Case, Lab};

/// Of each program, less than a sixth of what the kernel allows: peers of this probe failed on one kernel while others took them.
const MOST_VERIFIED: u32 = 150_000;

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
    let half_answered = responses_joined::Old::open().expect("connections on loopback can be made");
    let old_http2 = old_http2::Old::open().expect("connections on loopback can be made");
    let config = probe_of_variables(|name| std::env::var(name).ok());
    let kernel = match Kernel::load(ProbeConfig { responses: ResponseChoice::Auto, tls: TlsChoice::ALL, ..config }) {
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
    for (program, verified) in kernel.verified_for_responses() {
        println!("verified instructions of {program}: {verified}");
        if verified > MOST_VERIFIED {
            println!("more than {MOST_VERIFIED} verified instructions of {program}");
            return ExitCode::FAILURE;
        }
    }
    let mut lab = Lab::new(kernel);
    let cases: Vec<Case> = [
        certainty::cases(old),
        old_http2::cases(old_http2),
        streams::cases(),
        tls::cases(),
        tls_sessions::cases(),
        tls_lives::cases(),
        tls_responses::cases(),
        reading::cases(),
        transports::cases(),
        kinds::cases(),
        urgent::cases(),
        hostile::cases(),
        state::cases(),
        processes::cases(),
        cgroups::cases(),
        load::cases(),
        responses::cases(),
        responses_sends::cases(),
        responses_http2::cases(),
        responses_processes::cases(),
        responses_joined::cases(half_answered),
        responses_unix::cases(),
        machine::cases(),
    ]
    .into_iter()
    .flatten()
    .filter(|case| filter.is_none_or(|filter| case.name.contains(filter.as_str())))
    .collect();
    lab.run(cases)
}
