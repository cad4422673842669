//! A request's method, as far as it has a name of its own. PURE.

/// The methods of RFC 9110 §9, RFC 5789 and QUERY. All others are [`Method::Other`], or not known.
///
/// 2 and 3 are left out: the machine has them for what begins like a request and is none, or is one of another method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Method {
    /// A method without a name here.
    Other = 0,
    /// CONNECT.
    Connect = 1,
    /// GET.
    Get = 4,
    /// HEAD.
    Head = 5,
    /// POST.
    Post = 6,
    /// PUT.
    Put = 7,
    /// DELETE.
    Delete = 8,
    /// OPTIONS.
    Options = 9,
    /// TRACE.
    Trace = 10,
    /// PATCH.
    Patch = 11,
    /// QUERY.
    Query = 12,
    /// Not known: of HTTP/2, where the header block does not begin with it, or of a request that was not kept.
    Unknown = 15,
}

impl Method {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Other,
        Self::Connect,
        Self::Get,
        Self::Head,
        Self::Post,
        Self::Put,
        Self::Delete,
        Self::Options,
        Self::Trace,
        Self::Patch,
        Self::Query,
        Self::Unknown,
    ];

    /// As OpenTelemetry writes it; empty where it is not known.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Other => "_OTHER",
            Self::Connect => "CONNECT",
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
            Self::Options => "OPTIONS",
            Self::Trace => "TRACE",
            Self::Patch => "PATCH",
            Self::Query => "QUERY",
            Self::Unknown => "",
        }
    }

    /// The method of this number.
    #[must_use]
    pub fn of(number: u8) -> Self {
        Self::ALL.into_iter().find(|method| *method as u8 == number).unwrap_or(Self::Other)
    }
}
