//! Apache's combined format, and behind it lb's own fields as `name=value`; those that have no value are left out.

use super::Record;
use super::date::DateCache;
use super::escape;

pub(super) fn write(record: &Record, date: &DateCache, out: &mut Vec<u8>) {
    super::write_address(record.client.ip(), out);
    out.extend_from_slice(b" - - [");
    out.extend_from_slice(date.common_log().as_bytes());
    out.extend_from_slice(b"] \"");
    request_line(record, out);
    out.extend_from_slice(b"\" ");
    super::write_number(record.status.into(), out);
    out.push(b' ');
    super::write_number(record.bytes_out, out);
    quoted_or_dash(record.referer, out);
    quoted_or_dash(record.user_agent, out);
    own_fields(record, out);
    out.push(b'\n');
}

/// A request that could not be read has none.
fn request_line(record: &Record, out: &mut Vec<u8>) {
    if record.method.is_empty() {
        return out.push(b'-');
    }
    escape::word(record.method, out);
    out.push(b' ');
    escape::word(record.path, out);
    out.push(b' ');
    out.extend_from_slice(record.protocol.as_bytes());
}

fn quoted_or_dash(value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b" \"");
    match value {
        [] => out.push(b'-'),
        value => escape::quoted(value, out),
    }
    out.push(b'"');
}

fn own_fields(record: &Record, out: &mut Vec<u8>) {
    text("frontend", record.frontend.as_bytes(), out);
    number("route", record.route.map(|n| n as u64), out);
    text("pool", record.pool.unwrap_or_default().as_bytes(), out);
    text("backend", record.backend.unwrap_or_default().as_bytes(), out);
    text("host", record.host, out);
    text("tls", record.tls.unwrap_or_default().as_bytes(), out);
    number("bytes_in", Some(record.bytes_in), out);
    number("duration_us", Some(record.duration_us), out);
    number("queue_us", record.queue_us, out);
    number("connect_us", record.connect_us, out);
    number("first_byte_us", record.first_byte_us, out);
    number("retries", Some(record.retries.into()), out);
    text("fault", record.fault.map_or("", |f| f.side.as_str()).as_bytes(), out);
    text("reason", record.fault.map_or("", |f| f.reason).as_bytes(), out);
}

/// Empty is as good as absent.
fn text(name: &'static str, value: &[u8], out: &mut Vec<u8>) {
    if !value.is_empty() {
        field(name, out);
        escape::word(value, out);
    }
}

fn number(name: &'static str, value: Option<u64>, out: &mut Vec<u8>) {
    if let Some(value) = value {
        field(name, out);
        super::write_number(value, out);
    }
}

fn field(name: &'static str, out: &mut Vec<u8>) {
    out.push(b' ');
    out.extend_from_slice(name.as_bytes());
    out.push(b'=');
}
