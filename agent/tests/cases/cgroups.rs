//! Names of cgroups: those of a process that ended, in a cgroup that is gone when the counts are read.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Command;

use agent::pods::cgroup::{Candidate, candidates};

use crate::hierarchy::unified;
use crate::lab::{Case, Lab, elsewhere, loopback};
use crate::processes::{finish, start};
use crate::streams::GET;

/// The pod of these cases, and one that it names its own cgroup after.
const UID: &str = "44c76ce5-f953-4bd3-bc89-12621681af49";
const OTHER: &str = "c55ba69a-e39f-44af-925d-c4794fd57878";

#[derive(Clone, Copy)]
enum Version {
    V1,
    V2,
}

pub fn cases() -> Vec<Case> {
    let case = |name: &str, version, depth: usize| {
        Case::new(name, elsewhere(1), move |lab: &mut Lab| of_a_cgroup_that_is_gone(lab, version, depth))
    };
    vec![
        case("names of a cgroup that is gone, v2", Version::V2, 0),
        case("names of a cgroup that is gone, v1", Version::V1, 0),
        case("as above, 30 levels below in cgroups named like another pod", Version::V2, 30),
    ]
}

fn of_a_cgroup_that_is_gone(lab: &mut Lab, version: Version, depth: usize) -> io::Result<()> {
    let hierarchy = Hierarchy::of(version)?;
    let container = format!("{:02x}{:062x}", version as u32, std::process::id() as usize * 100 + depth);
    let top = format!("cases-{}", std::process::id());
    let own = format!("{top}/kubepods/burstable/pod{UID}/{container}");
    let given = format!("/kubepods/burstable/pod{OTHER}/{}", "b".repeat(64));
    let inner: String = given
        .split('/')
        .cycle()
        .skip(1)
        .filter(|name| !name.is_empty())
        .take(depth)
        .fold(String::new(), |path, name| path + "/" + name);
    let folder = hierarchy.0.join(format!("{own}{inner}"));
    let made = fs::create_dir_all(&folder).and_then(|()| {
        let (mut client, server) = loopback()?;
        let child = start("read-in-cgroup", &[folder.display().to_string()], OwnedFd::from(server))?;
        io::Write::write_all(&mut client, GET.as_bytes())?;
        drop(client);
        finish(child)
    });
    for folder in folder.ancestors().take_while(|folder| *folder != hierarchy.0) {
        // The kernel may still be busy with the end of its last process.
        while fs::remove_dir(folder).is_err_and(|error| error.kind() == io::ErrorKind::ResourceBusy) {}
    }
    made?;
    let wanted = candidates(&format!("0::/{own}"))[0];
    let is_ours = |candidates: &[Candidate]| candidates.contains(&wanted);
    let processes = lab.read()?.processes;
    match processes.iter().filter(|process| is_ours(&process.candidates)).collect::<Vec<_>>().as_slice() {
        [process] if process.candidates[0] == wanted => Ok(()),
        others => Err(io::Error::other(format!("{wanted:?} is not the first of {others:?}"))),
    }
}

/// Where cgroups can be made.
struct Hierarchy(PathBuf, bool);

impl Hierarchy {
    fn of(version: Version) -> io::Result<Self> {
        let unsupported = |what: String| io::Error::new(io::ErrorKind::Unsupported, what);
        match version {
            Version::V2 => unified(Path::new("/sys/fs/cgroup"))
                .map(|mount| Self(mount, false))
                .ok_or_else(|| unsupported("no cgroup v2".to_owned())),
            Version::V1 => {
                // One more mount of a hierarchy is the same hierarchy.
                let mount = std::env::temp_dir().join(format!("cgroup-memory-{}", std::process::id()));
                fs::create_dir_all(&mount)?;
                let mounted =
                    Command::new("mount").args(["-t", "cgroup", "-o", "memory", "memory"]).arg(&mount).output()?;
                if !mounted.status.success() {
                    let _ = fs::remove_dir(&mount);
                    let said = String::from_utf8_lossy(&mounted.stderr).trim().to_owned();
                    return Err(unsupported(format!("no cgroup v1 for memory: {said}")));
                }
                Ok(Self(mount, true))
            }
        }
    }
}

impl Drop for Hierarchy {
    fn drop(&mut self) {
        if self.1 {
            let _ = Command::new("umount").arg(&self.0).status();
            let _ = fs::remove_dir(&self.0);
        }
    }
}
