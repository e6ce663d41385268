//! Base backups: the newest checkpoint of a running node, with the cold files that it needs.
//!
//! Cold files are copied once, whichever base names them: a backup must outlive the bucket of the cold tier, and what its
//! collector removes. The manifest is written last, when everything that it names is there; a backup that was interrupted
//! has none, and is nothing but objects for [`crate::prune`].

use std::collections::{BTreeMap, HashMap};
use std::io;

use bytes::Bytes;
use perigee_storage::checkpoint::ColdFilesOf;
use perigee_storage::cold::{ColdFile, ColdStore};
use perigee_storage::kv::KvEngine;
use perigee_storage::objects::Objects;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::BackupError;
use crate::object::{self, Kind, OBJECT_BYTES_MAX};
use crate::place;
use crate::snapshot::{PieceReader, pin};

/// Bytes of a piece, before compression.
const PIECE_BYTES: usize = 16 << 20;

/// What a base backup consists of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Base {
    /// The cluster, 32 hexadecimal digits.
    pub cluster: String,
    /// Its name in the store: index and a random part.
    pub name: String,
    /// The version of perigee that made it.
    pub version: String,
    /// The last entry in it.
    pub index: u64,
    /// Term of that entry.
    pub term: u64,
    /// Chain hash of the log there, in hexadecimal.
    pub chain_hash: String,
    /// Time of that entry, as the log counts it.
    pub time: u64,
    /// The members at that entry, as consensus wrote them, in hexadecimal.
    pub members: Option<String>,
    /// When it was made: microseconds since the Unix epoch.
    pub created_micros: i64,
    /// The pairs of the checkpoint, in key order.
    pub pieces: Vec<PieceOf>,
    /// The cold files that it needs.
    pub cold: Vec<ColdFile>,
}

/// One object of a base backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PieceOf {
    /// Its length in bytes.
    pub bytes: u64,
    /// Its checksum, in hexadecimal.
    pub checksum: String,
}

/// The header of a piece: where it belongs.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PieceHeader {
    pub(crate) base: String,
    pub(crate) number: usize,
}

impl Base {
    /// Bytes of its own objects, without cold files.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.pieces.iter().map(|piece| piece.bytes).sum()
    }
}

/// Makes a base backup of what the LSM holds. `None` where it holds nothing yet. Blocking.
///
/// The caller sees to it that no cold file is removed meanwhile.
///
/// # Errors
/// [`BackupError`]: nothing of it counts then.
pub fn create(
    kv: &dyn KvEngine,
    cold: Option<&ColdStore>,
    at: &Objects,
    cluster: &str,
    now_micros: i64,
) -> Result<Option<Base>, BackupError> {
    let pinned = pin(kv).map_err(|error| BackupError::io("the checkpoint cannot be read", error))?;
    let Some((recovered, pairs)) = pinned else { return Ok(None) };
    let mut pieces = PieceReader::new(pairs);
    let random = uuid::Uuid::new_v4().simple().to_string();
    let name = format!("{:020}-{}", recovered.index.0, &random[..8]);
    let mut base = Base {
        cluster: cluster.to_owned(),
        name: name.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        index: recovered.index.0,
        term: recovered.term.0,
        chain_hash: hex::encode(recovered.chain_hash),
        time: recovered.time.0,
        members: recovered.membership.as_ref().map(hex::encode),
        created_micros: now_micros,
        pieces: Vec::new(),
        cold: Vec::new(),
    };
    let (mut finder, mut files) = (ColdFilesOf::default(), BTreeMap::new());
    loop {
        let look = |key: &[u8], value: &[u8]| {
            for file in finder.look(key, value).map_err(io::Error::other)? {
                files.insert(file.path.clone(), file);
            }
            Ok(())
        };
        let piece = pieces.next(PIECE_BYTES, look);
        let piece = piece.map_err(|error| BackupError::io("the checkpoint cannot be read", error))?;
        let Some(piece) = piece else { break };
        let number = base.pieces.len();
        let sealed = object::seal(Kind::Piece, &PieceHeader { base: name.clone(), number }, &piece)?;
        base.pieces.push(PieceOf { bytes: sealed.len() as u64, checksum: object::checksum(&sealed) });
        at.put(&place::piece(cluster, &name, number), sealed)?;
    }
    // The scan holds back compaction.
    drop(pieces);
    base.cold = files.into_values().collect();
    copy_cold(&base.cold, cold, at, cluster)?;
    at.put(&place::manifest(cluster, &name), object::seal(Kind::Manifest, &base, &[])?)?;
    Ok(Some(base))
}

/// Copies cold files that are not there yet. Blocking.
///
/// # Errors
/// [`BackupError`]
pub(crate) fn copy_cold(
    files: &[ColdFile],
    from: Option<&ColdStore>,
    at: &Objects,
    cluster: &str,
) -> Result<(), BackupError> {
    if files.is_empty() {
        return Ok(());
    }
    let Some(from) = from else {
        return Err(BackupError::Cold(perigee_storage::cold::ColdError::NoStore));
    };
    let there: HashMap<String, u64> =
        at.list(&place::cold(cluster, ""))?.into_iter().map(|found| (found.path, found.bytes)).collect();
    for file in files {
        let to = place::cold(cluster, &file.path);
        if there.get(&to) == Some(&file.bytes) {
            continue;
        }
        let bytes = from.get(&file.path, 0..file.bytes)?;
        check_cold(&file.path, file, &bytes)?;
        at.put(&to, bytes)?;
    }
    Ok(())
}

/// Whether bytes are those of a cold file.
pub(crate) fn check_cold(path: &str, file: &ColdFile, bytes: &Bytes) -> Result<(), BackupError> {
    if bytes.len() as u64 != file.bytes || xxh3_64(bytes) != file.checksum {
        return Err(BackupError::damaged(path, "its checksum is not that of the table's manifest"));
    }
    Ok(())
}

/// The manifest of a base backup; `None` where it was never finished. Blocking.
///
/// # Errors
/// [`BackupError::Damaged`], [`BackupError::Store`]
pub fn load(at: &Objects, cluster: &str, name: &str) -> Result<Option<Base>, BackupError> {
    let path = place::manifest(cluster, name);
    let bytes = match at.get_all(&path, OBJECT_BYTES_MAX) {
        Ok(bytes) => bytes,
        Err(perigee_storage::objects::ObjectError::Missing(_)) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let (base, _): (Base, Bytes) = object::open(&path, Kind::Manifest, &bytes)?;
    if base.name != name || base.cluster != cluster {
        return Err(BackupError::damaged(&path, "it is the manifest of another backup"));
    }
    Ok(Some(base))
}

/// All base backups that were finished, oldest first. Blocking.
///
/// # Errors
/// As [`load`].
pub fn all(at: &Objects, cluster: &str) -> Result<Vec<Base>, BackupError> {
    let mut bases = Vec::new();
    for (name, objects) in place::bases(at, cluster)? {
        let manifest = place::manifest(cluster, &name);
        if objects.iter().any(|found| found.path == manifest) {
            bases.extend(load(at, cluster, &name)?);
        }
    }
    Ok(bases)
}

/// The content of a piece. Blocking.
///
/// # Errors
/// [`BackupError::Damaged`], [`BackupError::Store`]
pub(crate) fn check_piece(base: &Base, number: usize, bytes: &[u8]) -> Result<Bytes, BackupError> {
    let path = place::piece(&base.cluster, &base.name, number);
    let (header, content): (PieceHeader, Bytes) = object::open(&path, Kind::Piece, bytes)?;
    let known = base.pieces.get(number).is_some_and(|piece| piece.checksum == object::checksum(bytes));
    if !known || header != (PieceHeader { base: base.name.clone(), number }) {
        return Err(BackupError::damaged(&path, "it is not the piece that the manifest names"));
    }
    Ok(content)
}
