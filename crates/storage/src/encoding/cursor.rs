//! Reads bytes from the front, never beyond the end.

use super::EncodingError;

pub(super) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], EncodingError> {
        let (front, rest) = self.rest.split_at_checked(count).ok_or(EncodingError::Damaged("it ends early"))?;
        self.rest = rest;
        Ok(front)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], EncodingError> {
        let (front, rest) = self.rest.split_first_chunk::<N>().ok_or(EncodingError::Damaged("it ends early"))?;
        self.rest = rest;
        Ok(*front)
    }

    pub(super) fn u8(&mut self) -> Result<u8, EncodingError> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(super) fn u32(&mut self) -> Result<u32, EncodingError> {
        self.array().map(u32::from_le_bytes)
    }

    /// Bytes behind their length as u32.
    pub(super) fn block(&mut self) -> Result<&'a [u8], EncodingError> {
        let count = self.u32()?;
        self.take(count as usize)
    }

    /// That nothing is left.
    pub(super) fn finish(&self) -> Result<(), EncodingError> {
        if self.rest.is_empty() { Ok(()) } else { Err(EncodingError::Damaged("it goes on behind its end")) }
    }
}
