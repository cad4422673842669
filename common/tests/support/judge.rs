//! An independent count of the requests in an HTTP/1 stream: heads by `httparse`, bodies by a
//! reading of RFC 9112 §6 that has the whole stream at hand.

/// Of a method: docs/accuracy.md.
const MOST_BYTES: usize = 128;

/// How many requests a stream of complete, valid messages holds; `None` for any other stream.
pub fn judge(stream: &[u8]) -> Option<u64> {
    let mut rest = stream;
    let mut requests = 0;
    loop {
        if skip_empty_lines(rest).is_empty() {
            return Some(requests);
        }
        let mut fields = [httparse::EMPTY_HEADER; 64];
        let mut request = httparse::Request::new(&mut fields);
        let mut config = httparse::ParserConfig::default();
        config.allow_multiple_spaces_in_request_line_delimiters(true);
        let parsed = config.parse_request(&mut request, rest);
        let Ok(httparse::Status::Complete(length)) = parsed else { return None };
        let method = request.method?;
        if matches!(method, "CONNECT" | "PROXY" | "PRI") || method.len() > MOST_BYTES {
            return None;
        }
        let body = Body::of(request.headers)?;
        rest = body.skip(&rest[length..])?;
        requests += 1;
    }
}

fn skip_empty_lines(mut stream: &[u8]) -> &[u8] {
    loop {
        stream = match stream {
            [b'\r', b'\n', rest @ ..] | [b'\n', rest @ ..] => rest,
            _ => return stream,
        }
    }
}

enum Body {
    Length(usize),
    Chunked,
}

impl Body {
    fn of(fields: &[httparse::Header<'_>]) -> Option<Self> {
        let values = |name: &str| {
            let list = fields.iter().filter(|field| field.name.eq_ignore_ascii_case(name)).map(|field| field.value);
            list.map(|value| std::str::from_utf8(value).ok()).collect::<Option<Vec<_>>>()
        };
        if !values("upgrade")?.is_empty() {
            return None;
        }
        let codings = values("transfer-encoding")?;
        let mut codings =
            codings.iter().flat_map(|value| value.split(',')).map(str::trim).filter(|coding| !coding.is_empty());
        if let Some(last) = codings.next_back() {
            return last.eq_ignore_ascii_case("chunked").then_some(Self::Chunked);
        }
        let lengths = values("content-length")?;
        let lengths = lengths.iter().flat_map(|value| value.split(',')).map(|length| {
            let digits = length.trim_matches([' ', '\t']);
            let valid = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            if valid { digits.parse::<usize>().ok() } else { None }
        });
        let lengths: Vec<usize> = lengths.collect::<Option<_>>()?;
        let length = lengths.first().copied().unwrap_or(0);
        lengths.iter().all(|other| *other == length).then_some(Self::Length(length))
    }

    /// What follows the body.
    fn skip<'a>(&self, stream: &'a [u8]) -> Option<&'a [u8]> {
        match *self {
            Self::Length(length) => stream.get(length..),
            Self::Chunked => skip_chunks(stream),
        }
    }
}

fn skip_chunks(mut stream: &[u8]) -> Option<&[u8]> {
    loop {
        let Ok(httparse::Status::Complete((start, size))) = httparse::parse_chunk_size(stream) else { return None };
        stream = &stream[start..];
        if size == 0 {
            break;
        }
        stream = stream.get(usize::try_from(size).ok()?..)?.strip_prefix(b"\r\n")?;
    }
    loop {
        let end = stream.iter().position(|byte| *byte == b'\n')?;
        let line = &stream[..end];
        stream = &stream[end + 1..];
        if line.is_empty() || line == b"\r" {
            return Some(stream);
        }
    }
}
