//! A node's folder out of a backup.
//!
//! ```text
//! fetch    every object that is needed, checked, into a folder beside the live state; cold files to the node's own store
//! build    pieces -> LSM; log up to the target behind it; an entry that makes this node the only voter
//! ```
//!
//! Nothing is built before everything is fetched and found whole. Both may be repeated after any interruption: what is fetched
//! already is looked at again and stays. What comes out is a cluster of its own: other ids, so that no member of the original
//! listens to it, and no collector of either touches files of the other.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use perigee_consensus::{Applied, Node, SnapshotPosition, force_recover};
use perigee_log::{Anchor, ChainHash, Log, LogOptions, Meta, Record, pack};
use perigee_runtime::Files;
use perigee_storage::cold::{ColdError, ColdFile, ColdStore};
use perigee_storage::objects::Objects;
use perigee_types::{Hlc, LogIndex, Term};

use crate::BackupError;
use crate::archive;
use crate::base::{Base, check_cold, check_piece};
use crate::object::OBJECT_BYTES_MAX;
use crate::place;
use crate::plan::Plan;
use crate::snapshot;

/// All that a restore needs, whole and at hand.
pub struct Fetched {
    base: Base,
    pieces: Vec<PathBuf>,
    logs: Vec<(PathBuf, String)>,
    /// Chain hash at the base.
    hash: ChainHash,
    /// The last entry that is restored.
    pub last: LogIndex,
    /// Its time.
    pub time: Hlc,
    /// The time of the first entry that is left out, where there is one.
    pub next_time: Option<Hlc>,
    /// Cold files that are there now.
    pub cold_files: usize,
}

/// Fetches what `plan` names into `staging`, and cold files into `cold`. Blocking.
///
/// # Errors
/// [`BackupError::Damaged`] for the first object that is not what was written; [`BackupError::Store`]
pub fn fetch(at: &Objects, plan: &Plan, staging: &Path, cold: &ColdStore) -> Result<Fetched, BackupError> {
    let failed = |error| BackupError::io(staging.display().to_string(), error);
    fs::create_dir_all(staging).map_err(failed)?;
    let base = plan.base.clone();
    let mut pieces = Vec::new();
    for number in 0..base.pieces.len() {
        let path = place::piece(&base.cluster, &base.name, number);
        let file = staging.join(format!("{}-{number:06}.piece", base.name));
        staged(at, &path, &file, |bytes| check_piece(&base, number, bytes).map(drop))?;
        pieces.push(file);
    }
    let hash = hex::decode(&base.chain_hash).ok().and_then(|bytes| bytes.try_into().ok());
    let hash: ChainHash = hash
        .ok_or_else(|| BackupError::damaged(&place::manifest(&base.cluster, &base.name), "its chain hash is none"))?;
    let mut files: BTreeMap<String, ColdFile> =
        base.cold.iter().map(|file| (file.path.clone(), file.clone())).collect();
    let (mut head, mut last, mut time, mut next_time) = (hash, base.index, base.time, None);
    let mut logs = Vec::new();
    for log in &plan.logs {
        let file = staging.join(format!("{:020}-{:020}.log", log.first, log.last));
        let bytes = staged(at, &log.path, &file, |bytes| archive::read(&log.path, bytes).map(drop))?;
        let span = archive::read(&log.path, &bytes)?;
        files.extend(span.header.cold.iter().map(|file| (file.path.clone(), file.clone())));
        let (wanted, behind) = follow(&log.path, &span, (last, head))?;
        let excluded = wanted.iter().position(|record| plan.target.excludes(record.index, record.time.0));
        let kept = &wanted[..excluded.unwrap_or(wanted.len())];
        if let Some(record) = kept.last() {
            (last, time) = (record.index, record.time.0);
        }
        logs.push((file, log.path.clone()));
        head = behind;
        if let Some(at) = excluded {
            next_time = wanted.get(at).map(|record| record.time);
            break;
        }
    }
    for file in files.values() {
        fetch_cold(at, &base.cluster, file, cold)?;
    }
    Ok(Fetched { base, pieces, logs, hash, last: LogIndex(last), time: Hlc(time), next_time, cold_files: files.len() })
}

/// The records of an object behind `have`, which they chain to, and the chain hash at the end.
fn follow<'a>(
    path: &str,
    span: &'a archive::Span,
    have: (u64, ChainHash),
) -> Result<(&'a [Record], ChainHash), BackupError> {
    let at = span.records.partition_point(|record| record.index <= have.0);
    let (before, wanted) = span.records.split_at(at);
    let (_, hash) = pack(before, &span.before);
    if hash != have.1 || span.header.first > have.0 + 1 {
        return Err(BackupError::damaged(path, format!("its entries do not chain to entry {}", have.0)));
    }
    Ok((wanted, span.head))
}

/// The bytes of an object: from the file where they are there and whole, else fetched into it.
fn staged(
    at: &Objects,
    path: &str,
    file: &Path,
    check: impl Fn(&[u8]) -> Result<(), BackupError>,
) -> Result<Bytes, BackupError> {
    if let Ok(bytes) = fs::read(file)
        && check(&bytes).is_ok()
    {
        return Ok(bytes.into());
    }
    let bytes = at.get_all(path, OBJECT_BYTES_MAX)?;
    check(&bytes)?;
    fs::write(file, &bytes).map_err(|error| BackupError::io(file.display().to_string(), error))?;
    Ok(bytes)
}

fn fetch_cold(at: &Objects, cluster: &str, file: &ColdFile, cold: &ColdStore) -> Result<(), BackupError> {
    match cold.get(&file.path, 0..file.bytes) {
        Ok(bytes) if check_cold(&file.path, file, &bytes).is_ok() => return Ok(()),
        // A file that is cut short cannot be told from a store that is away; writing it again settles both.
        Ok(_) | Err(ColdError::Missing(_) | ColdError::Away { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    let path = place::cold(cluster, &file.path);
    let bytes = at.get_all(&path, file.bytes)?;
    check_cold(&path, file, &bytes)?;
    Ok(cold.put(&file.path, bytes)?)
}

/// Where to build, and as who.
pub struct Building<'a> {
    /// The node's folder.
    pub root: &'a Path,
    /// Its files.
    pub files: Arc<dyn Files>,
    /// Its facts.
    pub meta: &'a Meta,
    /// The node, a new incarnation.
    pub node: &'a Node,
    /// The new cluster.
    pub cluster_id: u128,
    /// Size of a segment of the log.
    pub segment_bytes: u64,
}

/// Makes LSM and log of what was fetched; what is there of an earlier try goes. Blocking. Gives the first entry of the new
/// cluster.
///
/// # Errors
/// [`BackupError`]: to be repeated.
pub fn build(to: &Building<'_>, fetched: &Fetched) -> Result<LogIndex, BackupError> {
    let base = &fetched.base;
    let failed = |error| BackupError::io(to.root.display().to_string(), error);
    for folder in ["lsm", "log"] {
        match fs::remove_dir_all(to.root.join(folder)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
    }
    let membership = base.members.as_deref().map(hex::decode).transpose();
    let membership = membership.map_err(|error| {
        BackupError::damaged(&place::manifest(&base.cluster, &base.name), format!("its members are none: {error}"))
    })?;
    let restored = Applied { index: LogIndex(base.index), term: Term(base.term), membership };
    let position = SnapshotPosition { applied: restored.clone(), chain_hash: fetched.hash };
    let mut writer = snapshot::receive(to.root, &position).map_err(failed)?;
    for (number, piece) in fetched.pieces.iter().enumerate() {
        let bytes = fs::read(piece).map_err(|error| BackupError::io(piece.display().to_string(), error))?;
        writer.write(&check_piece(base, number, &bytes)?).map_err(failed)?;
    }
    writer.finish().map_err(failed)?;
    snapshot::install(to.root).map_err(failed)?;

    let options = LogOptions { dir: to.root.join("log"), cluster_id: to.cluster_id, segment_bytes: to.segment_bytes };
    let (log, _) = Log::open(Arc::clone(&to.files), options)?;
    log.reset_to(base.term, base.index, fetched.hash)?;
    let (mut last, mut head) = (base.index, fetched.hash);
    for (file, path) in &fetched.logs {
        let bytes = fs::read(file).map_err(|error| BackupError::io(file.display().to_string(), error))?;
        let span = archive::read(path, &bytes)?;
        let (wanted, behind) = follow(path, &span, (last, head))?;
        let kept = &wanted[..wanted.partition_point(|record| record.index <= fetched.last.0)];
        log.append(kept, 0)?;
        last = kept.last().map_or(last, |record| record.index);
        head = behind;
    }
    log.sync()?;
    if last != fetched.last.0 {
        return Err(BackupError::Refused(format!("the log ends at entry {last} instead of {}", fetched.last)));
    }
    let anchor = Anchor { index: base.index, hash: fetched.hash };
    log.verify(Some(anchor))?;
    to.meta.save_attested(anchor)?;
    let recovered = force_recover(&log, to.meta, &restored, Hlc(base.time), to.node)?;
    log.close()?;
    Ok(recovered.marked)
}
