//! Answers in gzip, for clients that take it. PURE.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;

/// Whether an `Accept-Encoding` (RFC 9110, section 12.5.3) lets an answer be in gzip.
#[must_use]
pub fn takes_gzip(accepted: &str) -> bool {
    accepted.split(',').any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        let is_gzip = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
        let refused =
            |part: &str| part.strip_prefix("q=").and_then(|q| q.parse::<f32>().ok()).is_some_and(|q| q <= 0.0);
        is_gzip && !parts.any(refused)
    })
}

/// The bytes in gzip, compressed as fast as can be.
#[must_use]
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("writing into memory does not fail")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;

    #[test]
    fn who_takes_gzip() {
        for accepted in ["gzip", "GZip", "deflate, gzip;q=1.0", "gzip ; q=0.1,identity", "br,gzip"] {
            assert!(takes_gzip(accepted), "{accepted}");
        }
        for accepted in ["", "identity", "gzip;q=0", "gzip; q=0.000", "gzipped", "x-gzip", "br;gzip", "*"] {
            assert!(!takes_gzip(accepted), "{accepted}");
        }
    }

    #[test]
    fn what_goes_in_comes_out() {
        for text in ["", "{}", &"a report ".repeat(100_000)] {
            let compressed = gzip(text.as_bytes());
            let mut read = String::new();
            flate2::read::GzDecoder::new(&compressed[..]).read_to_string(&mut read).unwrap();
            assert_eq!(read, text);
        }
    }
}
