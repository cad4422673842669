//! What of the probe's needs a kernel has, piece by piece, without loading anything. EDGE.

use common::layout::KernelFunction;

use super::btf::{Btf, FUNCTION, TYPEDEF};
use super::constants::{LOOP_HELPER, YOUNGEST_HELPER, describe, knows};
use super::hook::{COPY_FUNCTION, TRACEPOINT};
use super::{LoadError, error};

pub use super::error::{IN_USER_NAMESPACE, LOCKDOWN, OUT_OF_USER_NAMESPACE, VMLINUX_BTF, kubernetes_names};

/// What was found.
#[derive(Debug)]
pub struct Survey {
    /// Bytes of the kernel's description of its types.
    pub btf_bytes: usize,
    /// Whether every member that the probe reads is where it looks; if not, one line with the cause and the cure.
    pub layout: Result<(), LoadError>,
    /// Where the probe may be attached; one of them is enough.
    pub hooks: Vec<Piece>,
    /// Functions that the probe may call. The kernel may still refuse them.
    pub functions: Vec<Piece>,
}

/// Something that a kernel has or has not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Its name, and what it is where that is not plain.
    pub name: String,
    /// Whether it is there.
    pub is_there: bool,
}

/// Capabilities that are needed and missing.
#[must_use]
pub fn missing_capabilities() -> Vec<&'static str> {
    error::missing_capabilities()
}

/// Looks at the running kernel.
///
/// # Errors
///
/// It does not describe its types, so nothing else is known.
pub fn survey() -> Result<Survey, LoadError> {
    let blob = describe()?;
    let types = Btf::parse(&blob)?;
    let has = |name: &str, kind| types.id_of(kind, name).is_some();
    let function = |name: &str, since: &str| {
        let name_and_age = format!("{name} (Linux {since})");
        Piece { name: name_and_age, is_there: has(name, FUNCTION) }
    };
    let tracepoint = has(&format!("btf_trace_{TRACEPOINT}"), TYPEDEF);
    let own = KernelFunction::ALL.iter().map(|own| function(own.name(), own.since()));
    Ok(Survey {
        btf_bytes: blob.len(),
        layout: knows(&types).map_err(LoadError::from),
        hooks: vec![
            Piece { name: format!("tracepoint {TRACEPOINT}"), is_there: tracepoint },
            Piece { name: format!("fexit {COPY_FUNCTION}"), is_there: has(COPY_FUNCTION, FUNCTION) },
        ],
        functions: own.chain([YOUNGEST_HELPER, LOOP_HELPER].map(|(name, since)| function(name, since))).collect(),
    })
}
