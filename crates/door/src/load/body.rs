//! The body of a request as a reader on a thread: its parts one after the other, unpacked, bounded.

use std::io::{self, BufReader, Read};

use bytes::{Buf as _, Bytes};
use perigee_types::{SqlError, SqlResult, SqlState};
use tokio::sync::mpsc;

/// Some bytes, or `None` for the end.
pub(crate) type Part = SqlResult<Option<Bytes>>;

/// What reads a body.
pub(crate) type Body = BufReader<Box<dyn Read + Send>>;

/// Bytes that are read at a time.
const BUFFER_BYTES: usize = 64 << 10;

/// How a body is packed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Coding {
    /// Not at all.
    #[default]
    Plain,
    /// gzip
    Gzip,
    /// Zstandard
    Zstd,
}

/// Reads a body of at most so many bytes, packed and unpacked.
///
/// # Errors
/// `XX000` where nothing can be unpacked here.
pub(crate) fn open(parts: mpsc::Receiver<Part>, coding: Coding, bytes_max: u64) -> SqlResult<Body> {
    let packed = Bounded { reader: Parts { parts, part: Bytes::new(), is_ended: false }, left: bytes_max, bytes_max };
    let plain: Box<dyn Read + Send> = match coding {
        Coding::Plain => Box::new(packed),
        Coding::Gzip => Box::new(flate2::read::MultiGzDecoder::new(packed)),
        Coding::Zstd => Box::new(zstd::Decoder::new(packed).map_err(|error| error_of(error, "unpacked"))?),
    };
    Ok(BufReader::with_capacity(BUFFER_BYTES, Box::new(Bounded { reader: plain, left: bytes_max, bytes_max })))
}

/// Reads parts as they come.
struct Parts {
    parts: mpsc::Receiver<Part>,
    part: Bytes,
    is_ended: bool,
}

impl Read for Parts {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.part.is_empty() && !self.is_ended {
            match self.parts.blocking_recv() {
                Some(Ok(Some(part))) => self.part = part,
                Some(Ok(None)) => self.is_ended = true,
                Some(Err(error)) => return Err(io::Error::other(error)),
                None => {
                    let error = SqlError::new(SqlState::ProtocolViolation, "the body broke off");
                    return Err(io::Error::other(error));
                }
            }
        }
        let count = buffer.len().min(self.part.len());
        self.part.copy_to_slice(&mut buffer[..count]);
        Ok(count)
    }
}

/// Reads so many bytes and refuses more.
struct Bounded<R> {
    reader: R,
    left: u64,
    bytes_max: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        match self.left.checked_sub(count as u64) {
            Some(left) => self.left = left,
            None => {
                let message = format!("the body has more than {} bytes", self.bytes_max);
                return Err(io::Error::other(SqlError::new(SqlState::ProgramLimitExceeded, message)));
            }
        }
        Ok(count)
    }
}

/// The error that a reader has given; where that is none of SQL, the body cannot be `done` what it was to be.
pub(crate) fn error_of(error: io::Error, done: &str) -> SqlError {
    if error.kind() == io::ErrorKind::StorageFull {
        return SqlError::new(SqlState::DiskFull, "no space is left on the disk");
    }
    match error.downcast::<SqlError>() {
        Ok(error) => error,
        Err(error) => SqlError::new(SqlState::BadCopyFileFormat, format!("the body cannot be {done}: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(parts: Vec<Part>, coding: Coding, bytes_max: u64) -> SqlResult<Vec<u8>> {
        let (sender, waiting) = mpsc::channel(parts.len().max(1));
        parts.into_iter().for_each(|part| sender.try_send(part).unwrap());
        drop(sender);
        let mut whole = Vec::new();
        open(waiting, coding, bytes_max)?.read_to_end(&mut whole).map_err(|error| error_of(error, "read"))?;
        Ok(whole)
    }

    fn state(result: SqlResult<Vec<u8>>) -> &'static str {
        result.unwrap_err().state().code()
    }

    #[test]
    fn a_body_is_whole_only_with_its_end() {
        let part = |text: &'static str| Ok(Some(Bytes::from_static(text.as_bytes())));
        assert_eq!(read(vec![part("ab"), part(""), part("c"), Ok(None)], Coding::Plain, 3), Ok(b"abc".to_vec()));
        assert_eq!(state(read(vec![part("ab")], Coding::Plain, 9)), "08P01");
        assert_eq!(state(read(vec![part("ab"), Ok(None)], Coding::Plain, 1)), "54000");
        let late = SqlError::new(SqlState::QueryCanceled, "late");
        assert_eq!(state(read(vec![part("ab"), Err(late)], Coding::Plain, 9)), "57014");
    }

    #[test]
    fn what_is_packed_is_bounded_too() {
        let text = vec![b'x'; 1 << 20];
        let mut gzip = flate2::read::GzEncoder::new(&text[..], flate2::Compression::fast());
        let mut packed = Vec::new();
        gzip.read_to_end(&mut packed).unwrap();
        for (coding, packed) in [(Coding::Gzip, packed), (Coding::Zstd, zstd::encode_all(&text[..], 1).unwrap())] {
            let parts = |end: usize| vec![Ok(Some(Bytes::copy_from_slice(&packed[..end]))), Ok(None)];
            assert_eq!(read(parts(packed.len()), coding, 1 << 20).unwrap(), text);
            assert_eq!(state(read(parts(packed.len()), coding, (1 << 20) - 1)), "54000");
            assert_eq!(state(read(parts(packed.len() / 2), coding, 1 << 20)), "22P04");
        }
    }
}
