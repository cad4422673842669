//! Why a response, its status or its duration is not known. PURE.

use crate::causes::causes;

causes! {
    /// A cause for which something of a response is not known. It is counted, never guessed.
    Untold:
    Gap = "gap",
        "Bytes of a response never passed the hook outside a body of known length; the responses that were awaited are not counted.";
    Malformed = "malformed",
        "A response could not be framed: no status line, differing Content-Length fields, a bad chunk size, a broken frame.";
    Unreadable = "unreadable",
        "The kernel refused to give the probe the bytes of a send.";
    StepBudget = "step_budget",
        "One send held more protocol elements than one call of the probe may process.";
    Pipeline = "pipeline",
        "More requests of a connection waited than are kept: duration and method of the further ones are not known.";
    Streams = "streams",
        "More HTTP/2 streams of a connection were open than are kept: the duration of some is not known.";
    Status = "status",
        "The status of an HTTP/2 response stood in the table of fields at a place that is not known.";
    Unasked = "unasked",
        "A response to no request that was counted.";
    UnixSocket = "unix_socket",
        "A request came over a Unix socket whose other direction was in use before it was looked at; its response is not counted.";
    UntilClose = "until_close",
        "A response over a Unix socket lasted until its connection's end, which this kernel does not tell: its duration is not known.";
    StorageFull = "storage_full",
        "The kernel had no memory for the requests of a connection that wait; their responses are not counted.";
    SeriesFull = "series_full",
        "There were more combinations of process, method, status and version than are kept; further ones are not counted.";
    Process = "process",
        "The process had ended when its request was answered; the response is not counted.";
    Tls = "tls",
        "A request was read in TLS, where responses are not looked at.";
}
