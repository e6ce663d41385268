//! Bytes, compressed with zstd where that pays.
//!
//! ```text
//! 0  count u32  bytes                as they are
//! 1  count u32  length u32  bytes    zstd, `count` bytes when decompressed
//! ```

use std::cell::RefCell;

use zstd::bulk::{Compressor, Decompressor};

use super::EncodingError;
use super::cursor::Cursor;

const RAW: u8 = 0;
const ZSTD: u8 = 1;

/// Level 1: a checkpoint is on the way of writers, and every scan of a warm chunk decompresses.
const LEVEL: i32 = 1;

/// Fewer bytes than this are not worth a frame.
const WORTH_BYTES: usize = 64;

/// The most bytes of one block: Arrow's offsets are 31 bits.
pub(super) const BYTES_MAX: usize = i32::MAX as usize;

/// zstd cannot do better: a block of 128 KiB takes four bytes at least.
const RATIO_MAX: usize = 1 << 16;

thread_local! {
    // A context is some hundred KiB and costs more to make than a small column to compress.
    static COMPRESSOR: RefCell<Option<Compressor<'static>>> = const { RefCell::new(None) };
    static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

/// Appends `bytes`.
pub(super) fn write(bytes: &[u8], out: &mut Vec<u8>) -> Result<(), EncodingError> {
    if bytes.len() > BYTES_MAX {
        return Err(EncodingError::TooLarge("more than 2 GiB"));
    }
    let count = (bytes.len() as u32).to_le_bytes();
    let compressed = if bytes.len() < WORTH_BYTES { None } else { Some(compress(bytes)?) };
    match compressed {
        // A tenth less space is not worth decompressing on every scan.
        Some(compressed) if compressed.len() < bytes.len() / 10 * 9 => {
            out.push(ZSTD);
            out.extend_from_slice(&count);
            out.extend_from_slice(&(compressed.len() as u32).to_le_bytes());
            out.extend_from_slice(&compressed);
        }
        _ => {
            out.push(RAW);
            out.extend_from_slice(&count);
            out.extend_from_slice(bytes);
        }
    }
    Ok(())
}

/// Reads exactly `count` bytes.
pub(super) fn read_exactly(cursor: &mut Cursor<'_>, count: usize) -> Result<Vec<u8>, EncodingError> {
    let method = cursor.u8()?;
    if cursor.u32()? as usize != count || count > BYTES_MAX {
        return Err(EncodingError::Damaged("a block has another length"));
    }
    match method {
        RAW => cursor.take(count).map(<[u8]>::to_vec),
        ZSTD => decompress(cursor.block()?, count),
        _ => Err(EncodingError::Damaged("unknown compression")),
    }
}

fn compress(bytes: &[u8]) -> Result<Vec<u8>, EncodingError> {
    let failed = |error: std::io::Error| EncodingError::Compressor(error.to_string());
    COMPRESSOR.with_borrow_mut(|slot| {
        if slot.is_none() {
            *slot = Some(Compressor::new(LEVEL).map_err(failed)?);
        }
        match slot {
            Some(compressor) => compressor.compress(bytes).map_err(failed),
            None => Err(EncodingError::Compressor("no context".to_owned())),
        }
    })
}

fn decompress(bytes: &[u8], count: usize) -> Result<Vec<u8>, EncodingError> {
    if count / RATIO_MAX > bytes.len() {
        return Err(EncodingError::Damaged("a block says that it is longer than it can be"));
    }
    let damaged = |_| EncodingError::Damaged("zstd");
    let out = DECOMPRESSOR.with_borrow_mut(|slot| {
        if slot.is_none() {
            *slot = Some(Decompressor::new().map_err(|error| EncodingError::Compressor(error.to_string()))?);
        }
        match slot {
            Some(decompressor) => decompressor.decompress(bytes, count).map_err(damaged),
            None => Err(EncodingError::Compressor("no context".to_owned())),
        }
    })?;
    if out.len() == count { Ok(out) } else { Err(EncodingError::Damaged("a block has another length")) }
}
