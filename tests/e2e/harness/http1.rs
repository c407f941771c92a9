//! Reading HTTP/1.1 messages, strictly, for the raw client and for origins.

use std::io::{self, BufRead, Read};

#[derive(Debug, Clone, Default)]
pub struct Request {
    pub method: String,
    pub target: String,
    pub fields: Fields,
    pub body: Vec<u8>,
    pub trailers: Fields,
}

#[derive(Debug, Clone, Default)]
pub struct Response {
    pub status: u16,
    pub fields: Fields,
    pub body: Vec<u8>,
    pub trailers: Fields,
    /// The 1xx responses that came before.
    pub interim: Vec<(u16, Fields)>,
}

/// Names in lower case, in the order in which they came.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Fields(pub Vec<(String, String)>);

impl Fields {
    /// The only value of a field; a field that came twice fails the test.
    pub fn get(&self, name: &str) -> Option<&str> {
        let mut values = self.all(name);
        let value = values.next();
        assert!(values.next().is_none(), "field {name} came more than once: {self:?}");
        value
    }

    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    pub fn has(&self, name: &str) -> bool {
        self.all(name).next().is_some()
    }

    fn push_line(&mut self, line: &str) -> io::Result<()> {
        let (name, value) = line.split_once(':').ok_or_else(|| bad(format!("no colon: {line:?}")))?;
        self.0.push((name.to_ascii_lowercase(), value.trim_matches([' ', '\t']).to_owned()));
        Ok(())
    }
}

impl Request {
    pub fn get(&self, name: &str) -> Option<&str> {
        self.fields.get(name)
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Response {
    pub fn get(&self, name: &str) -> Option<&str> {
        self.fields.get(name)
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// `None` at a clean end of the connection.
pub fn read_request_head(from: &mut impl BufRead) -> io::Result<Option<Request>> {
    let Some(line) = read_line(from)? else { return Ok(None) };
    let mut words = line.split(' ');
    let mut word = || words.next().unwrap_or_default().to_owned();
    let (method, target) = (word(), word());
    Ok(Some(Request { method, target, fields: read_fields(from)?, ..Request::default() }))
}

pub fn read_request(from: &mut impl BufRead) -> io::Result<Option<Request>> {
    let Some(mut request) = read_request_head(from)? else { return Ok(None) };
    read_request_body(from, &mut request)?;
    Ok(Some(request))
}

pub fn read_request_body(from: &mut impl BufRead, request: &mut Request) -> io::Result<()> {
    match body_of(&request.fields)? {
        Body::Chunked => (request.body, request.trailers) = read_chunked(from)?,
        Body::Length(length) => request.body = read_exactly(from, length)?,
        Body::Unknown => {}
    }
    Ok(())
}

/// Interim responses are gathered in the final one. `to` is the method of the request.
pub fn read_response(from: &mut impl BufRead, to: &str) -> io::Result<Response> {
    let mut interim = Vec::new();
    loop {
        let line = read_line(from)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        let status =
            line.get(9..12).and_then(|s| s.parse().ok()).ok_or_else(|| bad(format!("status line {line:?}")))?;
        let fields = read_fields(from)?;
        if (100..200).contains(&status) && status != 101 {
            interim.push((status, fields));
            continue;
        }
        let mut response = Response { status, fields, interim, ..Response::default() };
        if to != "HEAD" && !matches!(status, 101 | 204 | 304) {
            read_response_body(from, &mut response)?;
        }
        return Ok(response);
    }
}

fn read_response_body(from: &mut impl BufRead, response: &mut Response) -> io::Result<()> {
    match body_of(&response.fields)? {
        Body::Chunked => (response.body, response.trailers) = read_chunked(from)?,
        Body::Length(length) => response.body = read_exactly(from, length)?,
        Body::Unknown => {
            from.read_to_end(&mut response.body)?;
        }
    }
    Ok(())
}

enum Body {
    Chunked,
    Length(usize),
    Unknown,
}

fn body_of(fields: &Fields) -> io::Result<Body> {
    let length = fields.get("content-length");
    match (fields.get("transfer-encoding"), length) {
        (Some(coding), None) if coding.eq_ignore_ascii_case("chunked") => Ok(Body::Chunked),
        (Some(coding), _) => Err(bad(format!("transfer-encoding {coding:?} with content-length {length:?}"))),
        (None, Some(length)) => Ok(Body::Length(length.parse().map_err(|_| bad(format!("length {length:?}")))?)),
        (None, None) => Ok(Body::Unknown),
    }
}

fn read_fields(from: &mut impl BufRead) -> io::Result<Fields> {
    let mut fields = Fields::default();
    loop {
        match read_line(from)?.ok_or(io::ErrorKind::UnexpectedEof)? {
            line if line.is_empty() => return Ok(fields),
            line => fields.push_line(&line)?,
        }
    }
}

/// Without an empty line that ends them.
pub fn read_fields_to_end(from: &mut impl BufRead) -> io::Result<Fields> {
    let mut fields = Fields::default();
    while let Some(line) = read_line(from)? {
        if !line.is_empty() {
            fields.push_line(&line)?;
        }
    }
    Ok(fields)
}

fn read_chunked(from: &mut impl BufRead) -> io::Result<(Vec<u8>, Fields)> {
    let mut body = Vec::new();
    loop {
        let line = read_line(from)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        let size = line.split(';').next().unwrap_or_default().trim();
        let size = usize::from_str_radix(size, 16).map_err(|_| bad(format!("chunk size {line:?}")))?;
        if size == 0 {
            return Ok((body, read_fields(from)?));
        }
        body.extend(read_exactly(from, size)?);
        let end = read_line(from)?;
        if end.as_deref() != Some("") {
            return Err(bad(format!("after a chunk: {end:?}")));
        }
    }
}

fn read_exactly(from: &mut impl BufRead, length: usize) -> io::Result<Vec<u8>> {
    let mut body = vec![0; length];
    from.read_exact(&mut body)?;
    Ok(body)
}

fn read_line(from: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    from.take(1 << 20).read_until(b'\n', &mut line)?;
    match line.strip_suffix(b"\r\n") {
        Some(line) => Ok(Some(String::from_utf8_lossy(line).into_owned())),
        None if line.is_empty() => Ok(None),
        None => Err(bad(format!("line without CRLF: {:?}", String::from_utf8_lossy(&line)))),
    }
}

fn bad(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
