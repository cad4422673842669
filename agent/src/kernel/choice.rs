//! How the probe is to be loaded. PURE.

use common::maps::MAX_PROCESSES;

/// How the probe is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProbeConfig {
    /// Where it is attached.
    pub hook: HookChoice,
    /// How many processes are counted at a time.
    pub max_processes: u32,
    /// Whether responses are counted.
    pub responses: ResponseChoice,
    /// Whether requests in TLS are counted.
    pub tls: TlsChoice,
    /// As on a kernel that has no `bpf_loop`: so tests can see that there.
    pub without_loop: bool,
}

impl Default for ProbeConfig {
    fn default() -> Self {
        Self {
            hook: HookChoice::Auto,
            max_processes: MAX_PROCESSES,
            responses: ResponseChoice::Off,
            tls: TlsChoice::Off,
            without_loop: false,
        }
    }
}

/// Whether responses are counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ResponseChoice {
    /// Where the kernel has the tracepoints for it.
    Auto,
    /// Requests only.
    #[default]
    Off,
}

/// Whether requests in TLS are counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TlsChoice {
    /// Only that there is TLS.
    #[default]
    Off,
    /// Of processes that use a library which is known.
    Auto {
        /// And of programs in Go, each of whose reads takes a trap that costs more.
        go: bool,
        /// And the responses, each of whose writes takes two traps, if responses are counted at all.
        responses: bool,
    },
}

impl TlsChoice {
    /// Everything.
    pub const ALL: Self = Self::Auto { go: true, responses: true };

    /// Each, as it is written.
    pub const WORDS: [(&'static str, Self); 5] = [
        ("off", Self::Off),
        ("auto", Self::Auto { go: false, responses: false }),
        ("auto,go", Self::Auto { go: true, responses: false }),
        ("auto,responses", Self::Auto { go: false, responses: true }),
        ("auto,go,responses", Self::ALL),
    ];
}

/// Where the probe is attached, and with that how it reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HookChoice {
    /// At the tracepoint if the kernel lets programs there read its buffers (where they are, if it can), else at fexit.
    #[default]
    Auto,
    /// At the tracepoint `skb_copy_datagram_iovec`.
    Tracepoint,
    /// The same, reading through the kernel's function even where buffers can be read where they are.
    Dynptr,
    /// At the end of the function `skb_copy_datagram_iter`.
    Fexit,
}
