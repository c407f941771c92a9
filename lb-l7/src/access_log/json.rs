//! One JSON object per line. Fields that have no value are left out.

use super::Record;
use super::date::DateCache;
use super::escape;

pub(super) fn write(record: &Record, date: &DateCache, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"time\":\"");
    date.write_rfc3339(out);
    out.extend_from_slice(b"\",\"client\":\"");
    super::write_address(record.client.ip(), out);
    out.push(b'"');
    number("client_port", record.client.port().into(), out);
    route(record, out);
    request(record, out);
    response(record, out);
    if let Some(fault) = record.fault {
        text("fault", fault.side.as_str().as_bytes(), out);
        text("reason", fault.reason.as_bytes(), out);
    }
    out.extend_from_slice(b"}\n");
}

fn route(record: &Record, out: &mut Vec<u8>) {
    text("frontend", record.frontend.as_bytes(), out);
    optional_number("route", record.route.map(|n| n as u64), out);
    optional_text("pool", record.pool.unwrap_or_default().as_bytes(), out);
    optional_text("backend", record.backend.unwrap_or_default().as_bytes(), out);
}

fn request(record: &Record, out: &mut Vec<u8>) {
    text("method", record.method, out);
    text("host", record.host, out);
    text("path", record.path, out);
    text("protocol", record.protocol.as_bytes(), out);
    optional_text("tls", record.tls.unwrap_or_default().as_bytes(), out);
    optional_text("user_agent", record.user_agent, out);
    optional_text("referer", record.referer, out);
    number("bytes_in", record.bytes_in, out);
}

fn response(record: &Record, out: &mut Vec<u8>) {
    number("status", record.status.into(), out);
    number("bytes_out", record.bytes_out, out);
    number("duration_us", record.duration_us, out);
    optional_number("queue_us", record.queue_us, out);
    optional_number("connect_us", record.connect_us, out);
    optional_number("first_byte_us", record.first_byte_us, out);
    number("retries", record.retries.into(), out);
}

/// Empty is as good as absent.
fn optional_text(name: &'static str, value: &[u8], out: &mut Vec<u8>) {
    if !value.is_empty() {
        text(name, value, out);
    }
}

fn text(name: &'static str, value: &[u8], out: &mut Vec<u8>) {
    field(name, out);
    out.push(b'"');
    escape::json(value, out);
    out.push(b'"');
}

fn optional_number(name: &'static str, value: Option<u64>, out: &mut Vec<u8>) {
    if let Some(value) = value {
        number(name, value, out);
    }
}

fn number(name: &'static str, value: u64, out: &mut Vec<u8>) {
    field(name, out);
    super::write_number(value, out);
}

fn field(name: &'static str, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}
