//! The chart's pods as containers of runc on this kernel, beside pods with real servers and a scripted API server.
//!
//! No kubelet and no containerd: `pod.rs` does what they do. `.ci/containers` runs it as root, in namespaces of its own
//! for mounts and network; `IMAGE` is a folder with the image's content, `RENDERED` one with what Helm makes of some values.

#[expect(dead_code, reason = "other tests use the rest of it")]
#[path = "../api_server/mod.rs"]
mod api_server;
mod asked;
mod counts;
#[path = "../harness/mod.rs"]
mod harness;
#[path = "../hierarchy/mod.rs"]
mod hierarchy;
mod lab;
mod pod;
mod refusals;
mod rolling;
mod runc;
mod secure;
#[path = "../secured/mod.rs"]
mod secured;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use asked::ENTRY;
use counts::{as_rendered, on_the_nodes_network, without_api_server, without_host_pids};
use harness::caught;
use lab::{Hierarchy, Lab, command};
use refusals::{cannot_start, in_the_least_memory, refused_by_the_api_server, refused_by_the_kernel};
use rolling::rolls_over;
use secure::https;

fn main() -> ExitCode {
    let mut tally = Tally::default();
    if let Err(error) = run(&mut tally) {
        tally.fail("what every check needs", &error);
    }
    println!("{} passed, {} failed", tally.passed, tally.failed);
    if tally.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run(tally: &mut Tally) -> Result<()> {
    let folder =
        |name| env::var_os(name).map(PathBuf::from).with_context(|| format!("{name} is not set: run .ci/containers"));
    let (image, rendered) = (folder("IMAGE")?, folder("RENDERED")?);
    // Anywhere else it would mount over the machine's own.
    ensure!(fs::read_link("/proc/self/ns/mnt")? != folder("MOUNTS_OUTSIDE")?, "not in a mount namespace of its own");
    // The node's /run, where the pods' folders are made, and its network.
    command("mount", &["-t", "tmpfs", "tmpfs", "/run"])?;
    command("ip", &["link", "set", "lo", "up"])?;
    let chart = |name: &str| documents(&rendered.join(format!("{name}.yaml")));
    let (default, counts_only, privileged) = (chart("default")?, chart("counts-only")?, chart("privileged-selinux")?);
    let tls = chart("tls")?;

    for hierarchy in [Hierarchy::AsHere, Hierarchy::Unified] {
        if hierarchy == Hierarchy::Unified && lab::is_unified() {
            continue;
        }
        let lab = Lab::start(hierarchy, &image, ENTRY)?;
        tally.check(&format!("default values, cgroups: {hierarchy:?}"), || as_rendered(&lab, &default));
    }
    let lab = Lab::start(Hierarchy::AsHere, &image, ENTRY)?;
    tally.check("values counts-only", || without_api_server(&lab, &counts_only));
    tally.check("values privileged-selinux", || on_the_nodes_network(&lab, &privileged));
    tally.check("values tls, two containers on one layer", || https(&lab, &tls));
    tally.check("capabilities, seccomp", || refused_by_the_kernel(&lab, &default));
    tally.check("one pod after another", || rolls_over(&lab, &default));
    tally.check("no hostPID", || without_host_pids(&lab, &default));
    tally.check("the least memory", || in_the_least_memory(&lab, &default));
    tally.check("pods that cannot start", || cannot_start(&lab, &default));
    tally.check("a token that is refused", || refused_by_the_api_server(&lab, &default));
    Ok(())
}

/// How many checks went well and not.
#[derive(Default)]
struct Tally {
    passed: usize,
    failed: usize,
}

impl Tally {
    fn check(&mut self, what: &str, act: impl FnOnce() -> Result<()>) {
        let started = Instant::now();
        match caught(act).map_err(anyhow::Error::from).flatten() {
            Ok(()) => {
                self.passed += 1;
                println!("ok: {what}, {:.1} s", started.elapsed().as_secs_f64());
            }
            Err(error) => self.fail(what, &error),
        }
    }

    fn fail(&mut self, what: &str, error: &anyhow::Error) {
        self.failed += 1;
        println!("FAILED: {what}: {error:#}");
    }
}

/// Every object in a file that Helm rendered.
fn documents(path: &Path) -> Result<Vec<Value>> {
    let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let parts = text.split("\n---\n").map(serde_saphyr::from_str::<Value>);
    Ok(parts.collect::<Result<Vec<_>, _>>()?)
}
