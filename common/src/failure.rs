//! Every cause of loss, one enum. PURE.
//!
//! Each variant has a counter in the kernel, a metric in the agent and one sentence for people.
//! The list is declared once, below, so that a variant cannot lack any of them.

use crate::causes::causes;

causes! {
    /// A cause for which the probe could not be certain of a count.
    Failure:
    Joined = "joined",
        "The connection was already open when the probe first saw it; it is counted from its next certain request on.";
    Gap = "gap",
        "Bytes of the stream never passed the hook (splice, zero-copy receive, a skipped call) outside a body of known length.";
    MalformedRequest = "malformed_request",
        "A connection that had carried requests went on with something that is not a request line; its first line names HTTP and is none; or a head has lines of more than 1 MiB.";
    MalformedFraming = "malformed_framing",
        "A request's length cannot be known: differing Content-Length fields, a bad chunk size, 1 MiB behind one, or a transfer coding that does not end in chunked.";
    MalformedFrame = "malformed_frame",
        "An HTTP/2 connection broke the frame format.";
    StepBudget = "step_budget",
        "One read held more protocol elements than one call of the probe may process.";
    Unreadable = "unreadable",
        "The kernel refused to give the probe the bytes of a read.";
    StorageFull = "storage_full",
        "The kernel had no memory for the state of a connection, or its socket no room for options; its requests are not counted.";
    ProcessTableFull = "process_table_full",
        "The table of processes was full; requests and TLS connections of further processes are counted here only.";
    UnsupportedTransport = "unsupported_transport",
        "Data arrived over a transport whose stream position the probe cannot follow (MPTCP); it is not counted.";
    NoRequestLine = "no_request_line",
        "A connection began as HTTP/1 does (a word, a blank) with a line that is no request line; it is counted from its next certain request on.";
    UrgentData = "urgent_data",
        "Several bytes are missing from a stream that carried TCP urgent data: which of them were urgent, and so no part of it, is not known.";
    CallLost = "call_lost",
        "A TLS library returned bytes from a call that the probe had not seen begin: it was under way when the probe was attached, or too many were.";
}

impl Failure {
    /// Whether it may have cost a count. Not those of connections that were open before the probe,
    /// and of other protocols, which begin alike: both are expected.
    #[must_use]
    pub const fn is_loss(self) -> bool {
        !matches!(self, Self::Joined | Self::NoRequestLine)
    }

    /// Whether a connection may become certain again, at a request line that follows an answer. Not where the *sender*
    /// can bring it about: what looks like a request then may be what it sends as a body, to a server that answers all the
    /// while.
    #[inline(always)]
    #[must_use]
    pub const fn comes_back(self) -> bool {
        !matches!(
            self,
            Self::MalformedRequest
                | Self::MalformedFraming
                | Self::MalformedFrame
                | Self::StepBudget
                | Self::UrgentData
        )
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::Failure;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique_and_fit_a_metric_label() {
        let names: BTreeSet<_> = Failure::ALL.iter().map(|cause| cause.name()).collect();
        assert_eq!(names.len(), Failure::COUNT);
        for name in names {
            assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{name}");
        }
    }

    #[test]
    fn each_variant_is_the_index_of_its_counter() {
        for (index, cause) in Failure::ALL.iter().enumerate() {
            assert_eq!(*cause as usize, index);
        }
    }
}
