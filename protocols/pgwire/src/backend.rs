//! Messages to the client, appended to the output buffer.

use perigee_engine::TransactionStatus;
use perigee_plan::ResultColumn;
use perigee_types::{Oid, SqlType};

/// How a value is written: text or binary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Format {
    #[default]
    Text,
    Binary,
}

impl Format {
    pub(crate) fn code(self) -> i16 {
        match self {
            Format::Text => 0,
            Format::Binary => 1,
        }
    }
}

/// Appends a message: its tag, its length and what `body` writes.
pub(crate) fn message(out: &mut Vec<u8>, tag: u8, body: impl FnOnce(&mut Vec<u8>)) {
    out.push(tag);
    length_prefixed(out, 4, body);
}

/// Appends a length that counts what `body` writes and `own` bytes more.
pub(crate) fn length_prefixed(out: &mut Vec<u8>, own: usize, body: impl FnOnce(&mut Vec<u8>)) {
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    body(out);
    let length = (out.len() - at - 4 + own) as i32;
    out[at..at + 4].copy_from_slice(&length.to_be_bytes());
}

/// Appends a string with its terminating zero. Zeros inside would end it early: they become blanks.
pub(crate) fn string(out: &mut Vec<u8>, text: &str) {
    if text.as_bytes().contains(&0) {
        out.extend(text.bytes().map(|b| if b == 0 { b' ' } else { b }));
    } else {
        out.extend_from_slice(text.as_bytes());
    }
    out.push(0);
}

pub(crate) fn int16(out: &mut Vec<u8>, value: i16) {
    out.extend_from_slice(&value.to_be_bytes());
}

pub(crate) fn int32(out: &mut Vec<u8>, value: i32) {
    out.extend_from_slice(&value.to_be_bytes());
}

/// A count of columns; the planner allows fewer than 32,768 of them.
pub(crate) fn count(out: &mut Vec<u8>, count: usize) {
    int16(out, count.min(i16::MAX as usize) as i16);
}

/// AuthenticationOk (0), AuthenticationSASL (10) with mechanisms, …Continue (11), …Final (12) with data.
pub(crate) fn authentication(out: &mut Vec<u8>, kind: i32, data: &[u8]) {
    message(out, b'R', |out| {
        int32(out, kind);
        out.extend_from_slice(data);
    });
}

pub(crate) fn backend_key_data(out: &mut Vec<u8>, process_id: i32, secret: i32) {
    message(out, b'K', |out| {
        int32(out, process_id);
        int32(out, secret);
    });
}

pub(crate) fn parameter_status(out: &mut Vec<u8>, name: &str, value: &str) {
    message(out, b'S', |out| {
        string(out, name);
        string(out, value);
    });
}

/// NotificationResponse
pub(crate) fn notification(out: &mut Vec<u8>, process_id: i32, channel: &str, payload: &str) {
    message(out, b'A', |out| {
        int32(out, process_id);
        string(out, channel);
        string(out, payload);
    });
}

/// NegotiateProtocolVersion: the version that is spoken, as its whole number, and the options that are not known.
pub(crate) fn negotiate_protocol_version(out: &mut Vec<u8>, version: i32, unknown: &[String]) {
    message(out, b'v', |out| {
        int32(out, version);
        int32(out, unknown.len() as i32);
        for name in unknown {
            string(out, name);
        }
    });
}

pub(crate) fn ready_for_query(out: &mut Vec<u8>, status: TransactionStatus) {
    let byte = match status {
        TransactionStatus::Idle => b'I',
        TransactionStatus::InTransaction => b'T',
        TransactionStatus::Failed => b'E',
    };
    out.extend_from_slice(&[b'Z', 0, 0, 0, 5, byte]);
}

pub(crate) fn command_complete(out: &mut Vec<u8>, tag: &str) {
    message(out, b'C', |out| string(out, tag));
}

/// A message without a body: ParseComplete `1`, BindComplete `2`, CloseComplete `3`, NoData `n`, PortalSuspended `s`,
/// EmptyQueryResponse `I`, CopyDone `c`.
pub(crate) fn bare(out: &mut Vec<u8>, tag: u8) {
    out.extend_from_slice(&[tag, 0, 0, 0, 4]);
}

/// ParameterDescription. `domains`: the places of types that are told as another, a domain over them.
pub(crate) fn parameter_description(out: &mut Vec<u8>, types: &[SqlType], domains: &[(usize, Oid)]) {
    message(out, b't', |out| {
        count(out, types.len());
        for (at, ty) in types.iter().enumerate() {
            let domain = domains.iter().find(|(place, _)| *place == at).map(|(_, domain)| domain.0);
            let oid = domain.unwrap_or_else(|| described(ty).oid());
            out.extend_from_slice(&oid.to_be_bytes());
        }
    });
}

/// RowDescription. Columns without a format of their own are text.
pub(crate) fn row_description(out: &mut Vec<u8>, columns: &[ResultColumn], formats: &[Format]) {
    message(out, b'T', |out| {
        count(out, columns.len());
        for (i, column) in columns.iter().enumerate() {
            string(out, &column.name);
            let (table, number) = column.source.map_or((0, 0), |(table, number)| (table.0, number));
            out.extend_from_slice(&table.to_be_bytes());
            out.extend_from_slice(&number.to_be_bytes());
            let ty = described(&column.ty);
            let oid = if column.vector { column.type_oid() } else { ty.oid() };
            out.extend_from_slice(&oid.to_be_bytes());
            int16(out, ty.type_length());
            int32(out, ty.modifier());
            int16(out, formats.get(i).copied().unwrap_or_default().code());
        }
    });
}

/// No driver knows what to do with `unknown`: it is text to them.
fn described(ty: &SqlType) -> &SqlType {
    if *ty == SqlType::Unknown { &SqlType::Text } else { ty }
}

/// CopyInResponse (`G`) or CopyOutResponse (`H`).
pub(crate) fn copy_response(out: &mut Vec<u8>, tag: u8, format: Format, columns: usize) {
    message(out, tag, |out| {
        out.push(format.code() as u8);
        count(out, columns);
        for _ in 0..columns.min(i16::MAX as usize) {
            int16(out, format.code());
        }
    });
}
