//! From the paths of cgroups, written as `/proc/PID/cgroup` has them, to the pods and containers it may belong to. PURE.
//!
//! Every driver (systemd, cgroupfs), version (v1, v2, hybrid) and runtime writes its own path. This reads what all of
//! them have in common: a directory per pod, a directory per container inside it, and again inside that for
//! Kubernetes in a container (kind, k3s). What it does not recognise it leaves out; it never completes or guesses.
//!
//! Sources: kubelet `pkg/kubelet/cm/cgroup_manager_linux.go` (`ToSystemd`, `ToCgroupfs`), containerd
//! `pkg/cri`, CRI-O `internal/config/cgmgr`, the lines recorded in `tests/data/cgroups.json`.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Text beyond this is not read. Each line is at most a path (4 096 bytes), and cgroup v1 has 13 controllers.
pub const MAX_TEXT_BYTES: usize = 64 * 1024;
/// Nesting beyond this is cut: the innermost candidates are dropped.
pub const MAX_CANDIDATES: usize = 8;

/// A container's full id, 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ContainerId([u8; 32]);

impl ContainerId {
    /// Reads exactly 64 lower-case hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        Some(Self(hex(text)?))
    }

    /// Reads `containerID` of a container's status: `containerd://<id>`, `cri-o://<id>`, `docker://<id>`.
    pub fn parse_status(text: &str) -> Option<Self> {
        Self::parse(text.split_once("://")?.1)
    }
}

/// A pod's UID as the API server gives it: a UUID.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PodUid([u8; 16]);

impl PodUid {
    /// Reads a lower-case UUID with dashes, or with the underscores that systemd's unit names need in their place.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        let separator = *bytes.get(8)?;
        let dashes = [8, 13, 18, 23];
        if bytes.len() != 36 || !matches!(separator, b'-' | b'_') || dashes.iter().any(|&at| bytes[at] != separator) {
            return None;
        }
        let digits: String =
            text.chars().enumerate().filter(|(at, _)| !dashes.contains(at)).map(|(_, digit)| digit).collect();
        Some(Self(hex(&digits)?))
    }
}

/// Longer names of static pods are not known.
const MAX_HASH_BYTES: usize = 64;

/// What stands for a static pod's UID: the hash of its file, 32 hexadecimal digits, or whatever UID the file gives it.
/// Padded with NUL, and with `_` for each `-`, as systemd's unit names have it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct ConfigHash([u8; MAX_HASH_BYTES]);

impl From<ConfigHash> for String {
    fn from(hash: ConfigHash) -> Self {
        String::from_utf8_lossy(&hash.0).trim_end_matches('\0').to_owned()
    }
}

impl TryFrom<String> for ConfigHash {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text).ok_or("no name of a static pod")
    }
}

impl ConfigHash {
    /// Reads letters, digits, `.`, `-` and `_`.
    pub fn parse(text: &str) -> Option<Self> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
        if text.is_empty() || text.len() > MAX_HASH_BYTES || !text.bytes().all(is_plain) {
            return None;
        }
        let mut bytes = [0; MAX_HASH_BYTES];
        for (byte, of_text) in bytes.iter_mut().zip(text.bytes()) {
            *byte = if of_text == b'-' { b'_' } else { of_text };
        }
        Some(Self(bytes))
    }

    /// A static pod whose file gives it this UID.
    #[must_use]
    pub fn of_uid(uid: PodUid) -> Self {
        Self::parse(&uid.to_string()).expect("36 digits and dashes")
    }
}

/// What a cgroup path calls a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum PodKey {
    /// A pod made through the API server.
    Uid(PodUid),
    /// A static pod, made from a file on the node. One whose file gives it a UUID looks like the other.
    Hash(ConfigHash),
}

impl PodKey {
    /// Of any directory: what only a kubelet would make.
    fn parse(text: &str) -> Option<Self> {
        let is_hash = hex::<16>(text).is_some();
        PodUid::parse(text).map(Self::Uid).or_else(|| ConfigHash::parse(text).filter(|_| is_hash).map(Self::Hash))
    }

    /// Of a directory among those that a kubelet makes for pods: there any name is one.
    fn parse_name(text: &str) -> Option<Self> {
        PodUid::parse(text).map(Self::Uid).or_else(|| ConfigHash::parse(text).map(Self::Hash))
    }
}

/// One pod or container that a path names. At least one of the two is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Candidate {
    /// The pod whose directory encloses the container.
    pub pod: Option<PodKey>,
    /// The container, unless the process sits in the pod's own directory.
    pub container: Option<ContainerId>,
}

/// The candidates of a process, the likeliest first: lines that name a pod before those that do not; in each line those
/// that name a pod before those that do not, and from the outermost inwards. The outermost name a runtime gave; those
/// within a container may be names that it gave itself.
pub fn candidates(text: &str) -> Vec<Candidate> {
    let lines: Vec<Vec<Candidate>> = whole_lines(text).filter_map(path).map(nesting).collect();
    let names_pod = |line: &Vec<Candidate>| line.iter().any(|candidate| candidate.pod.is_some());
    let mut found: Vec<Candidate> = Vec::new();
    let with_pod = lines.iter().filter(|line| names_pod(line));
    let without_pod = lines.iter().filter(|line| !names_pod(line));
    for candidate in with_pod.chain(without_pod).flatten() {
        if found.len() < MAX_CANDIDATES && !found.contains(candidate) {
            found.push(*candidate);
        }
    }
    found
}

/// The lines within the bound. A line that the bound cuts is left out: what is left of it would name an outer pod.
fn whole_lines(text: &str) -> impl Iterator<Item = &str> {
    let kept = match text.as_bytes().get(..MAX_TEXT_BYTES) {
        Some(head) if text.len() > MAX_TEXT_BYTES => {
            let end = head.iter().rposition(|&byte| byte == b'\n').unwrap_or(0);
            &text[..end] // '\n' and 0 are character boundaries
        }
        _ => text,
    };
    kept.lines()
}

/// The path of a line `hierarchy:controllers:path`; the path itself may have colons.
fn path(line: &str) -> Option<&str> {
    let path = line.splitn(3, ':').nth(2)?;
    // The kernel marks a directory removed while its last process ends (kernel/cgroup/cgroup.c, proc_cgroup_show).
    Some(path.strip_suffix(" (deleted)").unwrap_or(path))
}

/// The candidates of one path: those with a pod, and within that from the outermost inwards.
fn nesting(path: &str) -> Vec<Candidate> {
    let mut found: Vec<Candidate> = Vec::new();
    // The pod whose directory we are in and that has no container yet.
    let mut open: Option<PodKey> = None;
    let (mut parent, mut above) = ("", "");
    for segment in path.split('/') {
        let in_pods = parent == "kubepods" || above == "kubepods" && matches!(parent, "burstable" | "besteffort");
        if let Some((pod, container)) = colon_form(segment) {
            found.extend(open.take().map(pod_alone));
            found.push(Candidate { pod: Some(pod), container: Some(container) });
        } else if let Some(pod) = pod_directory(segment, in_pods) {
            found.extend(open.replace(pod).map(pod_alone));
        } else if let Some(container) = container_directory(segment) {
            found.push(Candidate { pod: open.take(), container: Some(container) });
        }
        (parent, above) = (segment, parent);
    }
    found.extend(open.map(pod_alone));
    found.sort_by_key(|candidate| candidate.pod.is_none());
    found
}

fn pod_alone(pod: PodKey) -> Candidate {
    Candidate { pod: Some(pod), container: None }
}

/// `pod<uid>` (cgroupfs), `[...]kubepods[-burstable|-besteffort]-pod<uid>.slice` (systemd).
fn pod_directory(segment: &str, in_pods: bool) -> Option<PodKey> {
    if let Some(uid) = segment.strip_prefix("pod") {
        return if in_pods { PodKey::parse_name(uid) } else { PodKey::parse(uid) };
    }
    let (parent, uid) = segment.strip_suffix(".slice")?.rsplit_once("-pod")?;
    let class = parent.strip_suffix("-burstable").or_else(|| parent.strip_suffix("-besteffort")).unwrap_or(parent);
    // A kubelet with a cgroup root of its own puts that before, joined by a dash.
    if class == "kubepods" || class.ends_with("-kubepods") { PodKey::parse_name(uid) } else { None }
}

/// Prefixes of a container's directory, by runtime; cgroupfs drivers use none.
const RUNTIME_PREFIXES: [&str; 5] = ["cri-containerd-", "crio-", "docker-", "libpod-payload-", "libpod-"];

fn container_directory(segment: &str) -> Option<ContainerId> {
    let name = segment.strip_suffix(".scope").unwrap_or(segment);
    let id = RUNTIME_PREFIXES.iter().find_map(|prefix| name.strip_prefix(prefix)).unwrap_or(name);
    ContainerId::parse(id)
}

/// `<pod slice>:<runtime>:<container id>`: the kubelet speaks systemd and the runtime does not.
fn colon_form(segment: &str) -> Option<(PodKey, ContainerId)> {
    let (slice, rest) = segment.split_once(':')?;
    let (_runtime, id) = rest.split_once(':')?;
    Some((pod_directory(slice, false)?, ContainerId::parse(id)?))
}

/// `2 * N` lower-case hexadecimal digits.
fn hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

fn digit(character: u8) -> Option<u8> {
    match character {
        b'0'..=b'9' => Some(character - b'0'),
        b'a'..=b'f' => Some(character - b'a' + 10),
        _ => None,
    }
}

fn write_hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

impl fmt::Display for PodUid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (dash, part) in [("", 0..4), ("-", 4..6), ("-", 6..8), ("-", 8..10), ("-", 10..16)] {
            f.write_str(dash)?;
            write_hex(f, &self.0[part])?;
        }
        Ok(())
    }
}

impl fmt::Display for ConfigHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.split(|byte| *byte == 0).next().unwrap_or_default();
        f.write_str(std::str::from_utf8(text).unwrap_or_default())
    }
}

impl fmt::Display for PodKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uid(uid) => uid.fmt(f),
            Self::Hash(hash) => hash.fmt(f),
        }
    }
}

/// As in a path: bytes in decimal would help nobody.
macro_rules! debug_as_display {
    ($($type:ty),*) => {$(
        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    )*};
}
debug_as_display!(ContainerId, PodUid, ConfigHash);
