//! bytea and uuid.

use super::invalid_syntax;
use super::settings::ByteaOutput;
use crate::{SqlError, SqlResult, SqlState};

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Reads bytea in hex (`\x0aff`, blanks between bytes allowed) or escape format (`a\\b\012`).
///
/// # Errors
/// `22023` for bad hex, `22P02` for a bad escape.
pub fn parse_bytea(text: &str) -> SqlResult<Vec<u8>> {
    match text.strip_prefix("\\x") {
        Some(hex) => parse_hex(hex),
        None => parse_escape(text),
    }
}

fn parse_hex(text: &str) -> SqlResult<Vec<u8>> {
    let invalid = |message: String| SqlError::new(SqlState::InvalidParameterValue, message);
    let mut bytes = Vec::with_capacity(text.len() / 2);
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if matches!(c, ' ' | '\n' | '\t' | '\r') {
            continue;
        }
        let digit = |c: char| {
            c.to_digit(16).map(|d| d as u8).ok_or_else(|| invalid(format!("invalid hexadecimal digit: \"{c}\"")))
        };
        let high = digit(c)?;
        let Some(low) = chars.next() else {
            return Err(invalid("invalid hexadecimal data: odd number of digits".to_owned()));
        };
        bytes.push(high << 4 | digit(low)?);
    }
    Ok(bytes)
}

fn parse_escape(text: &str) -> SqlResult<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    loop {
        match rest {
            [] => return Ok(bytes),
            [b'\\', b'\\', tail @ ..] => {
                bytes.push(b'\\');
                rest = tail;
            }
            [b'\\', a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', tail @ ..] => {
                bytes.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                rest = tail;
            }
            [b'\\', ..] => {
                return Err(SqlError::new(SqlState::InvalidTextRepresentation, "invalid input syntax for type bytea"));
            }
            [byte, tail @ ..] => {
                bytes.push(*byte);
                rest = tail;
            }
        }
    }
}

/// Appends bytea.
pub fn format_bytea(out: &mut Vec<u8>, bytes: &[u8], style: ByteaOutput) {
    match style {
        ByteaOutput::Hex => {
            out.reserve(2 + bytes.len() * 2);
            out.extend_from_slice(b"\\x");
            for byte in bytes {
                out.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
            }
        }
        ByteaOutput::Escape => {
            for &byte in bytes {
                match byte {
                    b'\\' => out.extend_from_slice(b"\\\\"),
                    0x20..=0x7e => out.push(byte),
                    _ => out.extend_from_slice(&[b'\\', b'0' + (byte >> 6), b'0' + (byte >> 3 & 7), b'0' + (byte & 7)]),
                }
            }
        }
    }
}

/// Reads a uuid: 32 hexadecimal digits, hyphens after any group of four, braces around it allowed.
///
/// # Errors
/// `22P02`.
pub fn parse_uuid(text: &str) -> SqlResult<[u8; 16]> {
    let invalid = || invalid_syntax("uuid", text);
    let inner = match text.strip_prefix('{') {
        Some(rest) => rest.strip_suffix('}').ok_or_else(invalid)?,
        None => text,
    };
    let mut bytes = [0u8; 16];
    let mut rest = inner.as_bytes();
    for (i, byte) in bytes.iter_mut().enumerate() {
        if i > 0
            && i % 2 == 0
            && let [b'-', tail @ ..] = rest
        {
            rest = tail;
        }
        let [high, low, tail @ ..] = rest else { return Err(invalid()) };
        let digit = |b: u8| char::from(b).to_digit(16).map(|d| d as u8).ok_or_else(invalid);
        *byte = digit(*high)? << 4 | digit(*low)?;
        rest = tail;
    }
    if rest.is_empty() { Ok(bytes) } else { Err(invalid()) }
}

/// Appends a uuid.
pub fn format_uuid(out: &mut Vec<u8>, bytes: &[u8; 16]) {
    for (i, byte) in bytes.iter().enumerate() {
        if matches!(i, 4 | 6 | 8 | 10) {
            out.push(b'-');
        }
        out.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
    }
}
