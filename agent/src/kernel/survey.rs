//! What of the probe's needs a kernel has, piece by piece, without loading anything. EDGE.

use std::fs;

use aya::Btf;
use aya_obj::btf::BtfKind;
use common::layout::KernelFunction;

use super::{LoadError, TRACEPOINT, error, resolve};

pub use super::error::{LOCKDOWN, VMLINUX_BTF};

/// What was found. Each error is one line with the cause and the cure.
#[derive(Debug)]
pub struct Survey {
    /// Bytes of the kernel's description of its types.
    pub btf_bytes: usize,
    /// The tracepoint's name.
    pub tracepoint: Result<&'static str, LoadError>,
    /// Whether every member that the probe reads is where it looks.
    pub layout: Result<(), LoadError>,
    /// Kernel functions that the probe may call, and whether they are there. The kernel may still refuse them.
    pub functions: Vec<(&'static str, bool)>,
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
    let blob = fs::read(VMLINUX_BTF).map_err(|source| LoadError::NoBtf { source })?;
    let btf = Btf::parse(&blob, aya::Endianness::default()).map_err(|error| LoadError::Other(error.to_string()))?;
    let has = |name: &str, kind| btf.id_by_type_name_kind(name, kind).is_ok();
    let tracepoint = has(&format!("btf_trace_{TRACEPOINT}"), BtfKind::Typedef);
    Ok(Survey {
        btf_bytes: blob.len(),
        tracepoint: if tracepoint { Ok(TRACEPOINT) } else { Err(LoadError::NoTracepoint) },
        layout: resolve(&blob).map(drop).map_err(LoadError::from),
        functions: KernelFunction::ALL.iter().map(|f| (f.name(), has(f.name(), BtfKind::Func))).collect(),
    })
}
