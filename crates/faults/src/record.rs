//! The record: every change of files, in order, as bytes.
//!
//! ```text
//! kind u8 | inode u64 | number u64 | first length u32 | second length u32 | first bytes | second bytes    (little endian)
//! ```
//!
//! | kind | inode | number | first | second |
//! | --- | --- | --- | --- | --- |
//! | 1 opened for writing | file | 1 when truncated | path | |
//! | 2 written | file | offset | data | |
//! | 3 length set | file | length | | |
//! | 4 allocated | file | end | | |
//! | 5 sync of a file begins | file | number of the sync | | |
//! | 6 sync of a folder begins | | number of the sync | path | |
//! | 7 sync has ended well | | number of the sync | | |
//! | 8 renamed | | | from | to |
//! | 9 unlinked | | | path | |
//! | 10 folder made | | | path | |
//! | 11 folder removed | | | path | |
//!
//! A change stands here after it was made and before the server knows; a sync's end before the server knows of it. The
//! reader is `crates/testkit/src/trace.rs`.

use std::os::fd::RawFd;

use crate::system;

#[derive(Clone, Copy)]
#[repr(u8)]
pub(crate) enum Kind {
    Opened = 1,
    Written = 2,
    LengthSet = 3,
    Allocated = 4,
    FileSync = 5,
    FolderSync = 6,
    Synced = 7,
    Renamed = 8,
    Unlinked = 9,
    FolderMade = 10,
    FolderRemoved = 11,
}

/// One line of the record.
pub(crate) struct Entry<'a> {
    pub(crate) kind: Kind,
    pub(crate) inode: u64,
    pub(crate) number: u64,
    pub(crate) first: &'a [u8],
    pub(crate) second: &'a [u8],
}

impl<'a> Entry<'a> {
    pub(crate) fn of_file(kind: Kind, inode: u64, number: u64, first: &'a [u8]) -> Self {
        Self { kind, inode, number, first, second: &[] }
    }

    pub(crate) fn of_path(kind: Kind, number: u64, first: &'a [u8]) -> Self {
        Self { kind, inode: 0, number, first, second: &[] }
    }

    /// Appends it to the record's file in one write.
    pub(crate) fn append(&self, fd: RawFd, buffer: &mut Vec<u8>) {
        buffer.clear();
        buffer.push(self.kind as u8);
        buffer.extend_from_slice(&self.inode.to_le_bytes());
        buffer.extend_from_slice(&self.number.to_le_bytes());
        buffer.extend_from_slice(&(self.first.len() as u32).to_le_bytes());
        buffer.extend_from_slice(&(self.second.len() as u32).to_le_bytes());
        buffer.extend_from_slice(self.first);
        buffer.extend_from_slice(self.second);
        system::write_all(fd, buffer);
    }
}
