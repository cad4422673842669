//! ClientHellos as these programs sent them.

/// Who sent it, and what.
pub const HELLOS: [(&str, &[u8]); 5] = [
    ("openssl s_client 3.0, TLS 1.3", include_bytes!("openssl_tls13")),
    ("openssl s_client 3.0, TLS 1.0", include_bytes!("openssl_tls10")),
    ("curl 7.88 with ALPN h2", include_bytes!("curl")),
    ("Node 20", include_bytes!("node")),
    ("Go 1.19", include_bytes!("go")),
];
