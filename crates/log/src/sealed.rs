//! Small files that are replaced as a whole: magic, version, length, checksum, then the bytes.

use std::io;
use std::path::Path;

use perigee_runtime::Files;

use crate::error::LogError;

const HEADER_BYTES: usize = 20;
const VERSION: u32 = 1;

/// Replaces `path` by `payload`; durable on return.
pub(crate) fn write(files: &dyn Files, path: &Path, magic: [u8; 8], payload: &[u8]) -> Result<(), LogError> {
    let mut bytes = Vec::with_capacity(HEADER_BYTES + payload.len());
    bytes.extend_from_slice(&magic);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&crc(&bytes, payload).to_le_bytes());
    bytes.extend_from_slice(payload);
    files.write_atomic(path, &bytes).map_err(|e| LogError::io("cannot replace", path, e))
}

/// The payload of `path`, `None` where there is no such file.
pub(crate) fn read(files: &dyn Files, path: &Path, magic: [u8; 8]) -> Result<Option<Vec<u8>>, LogError> {
    let mut bytes = match files.read(path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(LogError::io("cannot read", path, e)),
    };
    let broken = |reason| LogError::damaged(path, 0, reason);
    if bytes.len() < HEADER_BYTES || bytes[..8] != magic {
        return Err(broken("it does not begin as such a file does"));
    }
    let field = |at: usize| bytes[at..].first_chunk().map_or(0, |field| u32::from_le_bytes(*field));
    let (version, length, sum) = (field(8), field(12), field(16));
    if length as usize != bytes.len() - HEADER_BYTES || sum != crc(&bytes[..16], &bytes[HEADER_BYTES..]) {
        return Err(broken("its checksum is wrong"));
    }
    if version != VERSION {
        return Err(LogError::UnknownVersion { file: path.to_owned(), found: version, supported: VERSION });
    }
    Ok(Some(bytes.split_off(HEADER_BYTES)))
}

fn crc(header: &[u8], payload: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(header), payload)
}
