//! The type `vector` of the extension pgvector: a list of floats of a fixed length.
//!
//! A value is kept as its binary format on the wire: the count of dimensions and zero as 16 bits each, then the floats, all
//! big-endian.

use crate::text::number;
use crate::{SqlError, SqlResult, SqlState};

/// Most dimensions of a vector.
pub const DIMENSIONS_MAX: usize = 16_000;

const HEADER: usize = 4;

fn state(text: &str, why: &str) -> SqlError {
    let error =
        SqlError::new(SqlState::InvalidTextRepresentation, format!("invalid input syntax for type vector: \"{text}\""));
    if why.is_empty() { error } else { error.detail(why) }
}

/// A vector of floats.
///
/// # Errors
/// `22000` without a dimension, `54000` with more than [`DIMENSIONS_MAX`], `22003` for NaN and infinities.
pub fn encode(floats: &[f32]) -> SqlResult<Vec<u8>> {
    if floats.is_empty() {
        return Err(SqlError::new(SqlState::DataException, "vector must have at least 1 dimension"));
    }
    if floats.len() > DIMENSIONS_MAX {
        let message = format!("vector cannot have more than {DIMENSIONS_MAX} dimensions");
        return Err(SqlError::new(SqlState::ProgramLimitExceeded, message));
    }
    if let Some(wrong) = floats.iter().find(|float| !float.is_finite()) {
        let what = if wrong.is_nan() { "NaN" } else { "infinite value" };
        return Err(SqlError::new(SqlState::DataException, format!("{what} not allowed in vector")));
    }
    let mut bytes = Vec::with_capacity(HEADER + floats.len() * 4);
    bytes.extend_from_slice(&(floats.len() as u16).to_be_bytes());
    bytes.extend_from_slice(&[0, 0]);
    floats.iter().for_each(|float| bytes.extend_from_slice(&float.to_be_bytes()));
    Ok(bytes)
}

/// The floats of a vector; of what is none, those that are there.
pub fn floats(bytes: &[u8]) -> impl ExactSizeIterator<Item = f32> + '_ {
    let (chunks, _) = bytes.get(HEADER..).unwrap_or_default().as_chunks::<4>();
    chunks.iter().map(|chunk| f32::from_be_bytes(*chunk))
}

/// Count of dimensions.
#[must_use]
pub fn dimensions(bytes: &[u8]) -> usize {
    bytes.len().saturating_sub(HEADER) / 4
}

/// Checks the binary format of a vector that came from outside.
///
/// # Errors
/// `22P03` where the header and the length do not fit, and as [`encode`].
pub fn check(bytes: &[u8]) -> SqlResult<()> {
    let header = bytes.first_chunk::<HEADER>().map(|h| (usize::from(u16::from_be_bytes([h[0], h[1]])), [h[2], h[3]]));
    match header {
        Some((count, [0, 0])) if bytes.len() == HEADER + count * 4 => {
            encode(&floats(bytes).collect::<Vec<_>>()).map(|_| ())
        }
        _ => Err(SqlError::new(SqlState::InvalidBinaryRepresentation, "invalid binary format of a vector")),
    }
}

/// Refuses a vector of another length than a column's.
///
/// # Errors
/// `22000`
pub fn fit(bytes: &[u8], wanted: Option<u16>) -> SqlResult<()> {
    match wanted {
        Some(wanted) if usize::from(wanted) != dimensions(bytes) => {
            let message = format!("expected {wanted} dimensions, not {}", dimensions(bytes));
            Err(SqlError::new(SqlState::DataException, message))
        }
        _ => Ok(()),
    }
}

/// Reads `[1,2.5,-3]`.
///
/// # Errors
/// `22P02`, and as [`encode`] and [`fit`].
pub fn parse(text: &str, wanted: Option<u16>) -> SqlResult<Vec<u8>> {
    let trimmed = text.trim_ascii();
    let inner = trimmed.strip_prefix('[').ok_or_else(|| state(text, "Vector contents must start with \"[\"."))?;
    let inner = inner.strip_suffix(']').ok_or_else(|| state(text, ""))?;
    let mut floats = Vec::new();
    if !inner.trim_ascii().is_empty() {
        for part in inner.split(',') {
            if floats.len() > DIMENSIONS_MAX {
                break;
            }
            let float = number::parse_float4(part.trim_ascii()).map_err(|error| match error.state() {
                SqlState::NumericValueOutOfRange => {
                    SqlError::new(error.state(), format!("\"{}\" is out of range for type vector", part.trim_ascii()))
                }
                _ => state(text, ""),
            })?;
            floats.push(float);
        }
    }
    let bytes = encode(&floats)?;
    fit(&bytes, wanted)?;
    Ok(bytes)
}

/// Appends the text of a vector.
pub fn format_into(out: &mut Vec<u8>, bytes: &[u8], extra_float_digits: i8) {
    out.push(b'[');
    for (at, float) in floats(bytes).enumerate() {
        if at > 0 {
            out.push(b',');
        }
        number::format_float4(out, float, extra_float_digits);
    }
    out.push(b']');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: &[u8]) -> String {
        let mut out = Vec::new();
        format_into(&mut out, bytes, 1);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn texts_come_back() {
        let vector = parse(" [1, -2.5 ,3e2]", Some(3)).unwrap();
        assert_eq!((text(&vector).as_str(), dimensions(&vector)), ("[1,-2.5,300]", 3));
        assert!(check(&vector).is_ok());
        assert_eq!(vector[..4], [0, 3, 0, 0]);
    }

    #[test]
    fn what_is_no_vector_is_refused() {
        let code = |text: &str| parse(text, None).unwrap_err().state().code().to_owned();
        assert_eq!(["1,2", "[1,2", "[1,]", "[a]"].map(code), ["22P02"; 4]);
        assert_eq!(code("[]"), "22000");
        assert_eq!(code("[NaN]"), "22000");
        assert_eq!(code("[1e99]"), "22003");
        assert_eq!(parse("[1,2]", Some(3)).unwrap_err().message(), "expected 3 dimensions, not 2");
        assert!(check(&[0, 2, 0, 0, 0, 0, 0, 0]).is_err());
        assert!(check(&[]).is_err());
    }
}
