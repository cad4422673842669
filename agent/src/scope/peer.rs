//! Which host name the process at the other end of a Unix socket goes by. EDGE.

use std::fs::{self, File};
use std::io::{self, Read as _};

use rustix::system::uname;

use crate::scope::host::in_environment;

/// Of an environment no more than this is looked at.
const ENVIRONMENT_BYTES: u64 = 1 << 20;

/// The host name that a Scope probe with this PID uses: that of its environment, else that of its
/// UTS namespace. `None` where the latter is not ours and not told by a file either.
///
/// # Errors
///
/// Reading another user's environment takes `CAP_SYS_PTRACE`, which the agent need not have.
pub fn host_name(pid: u32) -> io::Result<Option<String>> {
    let mut environment = Vec::new();
    File::open(format!("/proc/{pid}/environ"))?.take(ENVIRONMENT_BYTES).read_to_end(&mut environment)?;
    if let Some(name) = in_environment(&environment) {
        return Ok(Some(name));
    }
    if fs::read_link(format!("/proc/{pid}/ns/uts"))? == fs::read_link("/proc/self/ns/uts")? {
        return Ok(Some(own_host_name()));
    }
    let file = fs::read_to_string(format!("/proc/{pid}/root/etc/hostname")).ok();
    Ok(file.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()))
}

/// The name of the machine, or of the container if it has its own.
#[must_use]
pub fn own_host_name() -> String {
    uname().nodename().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    #[track_caller]
    fn check(variable: Option<&str>, expected: &str) {
        let mut command = Command::new("cat");
        command.env_remove("SCOPE_HOSTNAME").envs(variable.map(|name| ("SCOPE_HOSTNAME", name)));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        // Once it echoes it has its environment; before, there is a moment without any.
        child.stdin.as_mut().unwrap().write_all(b".").unwrap();
        child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        let name = host_name(child.id());
        drop(child.stdin.take());
        child.wait().unwrap();
        assert_eq!(name.unwrap().as_deref(), Some(expected));
    }

    #[test]
    fn the_environment_comes_first_then_the_machine() {
        check(Some("node-1"), "node-1");
        check(None, &own_host_name());
    }

    #[test]
    fn a_process_that_is_gone_is_an_error() {
        assert!(host_name(u32::MAX).is_err());
    }
}
