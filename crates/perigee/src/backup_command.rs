//! `perigee backup` and `perigee restore`. Making a backup is the node's work; the rest needs the object store alone.

use std::fs;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use perigee_backup::plan::{Target, choose_cluster, plan};
use perigee_backup::restore::{self, Building};
use perigee_backup::{BackupError, prune, verify};
use perigee_config::Config;
use perigee_consensus::Node;
use perigee_log::{Meta, NodeIdentity};
use perigee_runtime::{Files, SystemFiles};
use perigee_storage::objects::{ObjectError, Objects};
use perigee_types::Hlc;
use perigee_types::text::{OutputSettings, datetime_in, datetime_out};

use crate::admin_command;
use crate::assembly::cold_store;
use crate::cli::{BackupCommand, BackupPlace, NodePlace, RestoreArguments};
use crate::config_command;
use crate::data_dir::DataDir;
use crate::failure::Failure;

/// The fact in `meta` that says that a restore into the folder has not ended.
const RESTORING: &str = "restoring";
/// The folder for what is fetched.
const STAGING: &str = "restore";
/// What a restore keeps in memory of cold files: it only writes them.
const CACHE_BYTES: u64 = 1 << 20;

/// `perigee backup …`
pub(crate) fn run(command: &BackupCommand) -> Result<(), Failure> {
    match command {
        BackupCommand::Create { node, url } => create(node, url.as_deref()),
        BackupCommand::List(place) => list(place),
        BackupCommand::Verify(place) => check(place),
        BackupCommand::Prune { place, keep, grace } => remove(place, *keep, grace),
    }
}

fn create(node: &NodePlace, url: Option<&str>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::fatal(format!("cannot start threads: {error}")))?;
    let made = runtime.block_on(async {
        let mut admin = admin_command::connect(node).await?;
        admin.backup(url).await.map_err(admin_command::failure)
    })?;
    println!("backup {} of cluster {}", made.name, made.cluster);
    println!("  up to entry {}, {} bytes, {} cold files", made.index, made.bytes, made.cold_files);
    Ok(())
}

fn open(place: &BackupPlace) -> Result<(Arc<Objects>, String), Failure> {
    let at = Objects::at_url(&place.url).map_err(Failure::fatal)?;
    let cluster = choose_cluster(&at, place.cluster.as_deref()).map_err(failure)?;
    Ok((at, cluster))
}

fn list(place: &BackupPlace) -> Result<(), Failure> {
    let (at, cluster) = open(place)?;
    let report = verify::verify(&at, &cluster, false).map_err(failure)?;
    print(&cluster, &report);
    faults(&report)
}

fn check(place: &BackupPlace) -> Result<(), Failure> {
    let (at, cluster) = open(place)?;
    let report = verify::verify(&at, &cluster, true).map_err(failure)?;
    print(&cluster, &report);
    faults(&report)?;
    println!("all is well: {} bytes read", report.bytes);
    Ok(())
}

fn print(cluster: &str, report: &verify::Report) {
    println!("cluster {cluster}");
    for base in &report.bases {
        let (last, time) = report.reach(base);
        println!("  {} made {}, {} bytes", base.name, text_of(base.created_micros), base.bytes());
        println!(
            "    entry {} of {}, with the log to entry {last} of {}",
            base.index,
            text_of_entry(Hlc(base.time)),
            text_of_entry(time)
        );
    }
    for pair in report.runs.windows(2) {
        println!("  the archive lacks entries {} to {}", pair[0].last + 1, pair[1].first - 1);
    }
    if report.unfinished > 0 {
        println!("  {} objects of backups that were not finished", report.unfinished);
    }
    println!("  {} cold files", report.cold_files);
}

fn faults(report: &verify::Report) -> Result<(), Failure> {
    match report.faults.as_slice() {
        [] => Ok(()),
        faults => Err(Failure::Damaged(format!("{} faults:\n  {}", faults.len(), faults.join("\n  ")))),
    }
}

fn remove(place: &BackupPlace, keep: usize, grace: &str) -> Result<(), Failure> {
    let grace: perigee_config::Span = grace.parse().map_err(Failure::Refused)?;
    let (at, cluster) = open(place)?;
    let grace = i64::try_from(grace.duration().as_micros()).unwrap_or(i64::MAX);
    let pruned = prune::prune(&at, &cluster, keep, now_micros(), grace).map_err(failure)?;
    println!("{} backups removed, {} objects in all, {} bytes", pruned.bases, pruned.objects, pruned.bytes);
    Ok(())
}

/// `perigee restore`
pub(crate) fn restore(arguments: &RestoreArguments) -> Result<(), Failure> {
    let target = match (&arguments.to_time, arguments.to_index) {
        (Some(text), _) => Target::Time(time_of(text)?),
        (None, Some(index)) => Target::Index(index),
        (None, None) => Target::End,
    };
    let config = config_command::load(&arguments.settings)?;
    let (at, cluster) = open(&arguments.place)?;
    let planned = plan(&at, &cluster, arguments.backup.as_deref(), target).map_err(failure)?;
    let files: Arc<dyn Files> = Arc::new(SystemFiles);
    let dir = DataDir::open(&*files, &config.node.data_dir(), arguments.force)?;
    let meta = Meta::open(Arc::clone(&files), &dir.meta())?;
    if !is_unfinished(&meta)? && (meta.identity().is_some() || !dir.is_new().map_err(Failure::fatal)?) {
        return Err(Failure::DataDir(format!(
            "{} has data of a node: give an empty folder, or --force to lose what is there",
            dir.root().display()
        )));
    }
    meta.save_fact(RESTORING, &[1])?;
    let (identity, node) = identity(&config, &meta)?;
    let cold = cold_store(config.cold.url.as_deref(), &dir.cold(), identity.cluster_id, CACHE_BYTES)?;
    let staging = dir.root().join(STAGING);
    let fetched = restore::fetch(&at, &planned, &staging, &cold).map_err(failure)?;
    let building = Building {
        root: dir.root(),
        files,
        meta: &meta,
        node: &node,
        cluster_id: identity.cluster_id,
        segment_bytes: config.log.segment_size.bytes(),
    };
    restore::build(&building, &fetched).map_err(failure)?;
    sync_folder(&dir)?;
    fs::remove_dir_all(&staging).map_err(Failure::fatal)?;
    // Last: until here the same command goes on.
    meta.save_fact(RESTORING, &[0])?;

    println!("restored to {} from backup {}", dir.root().display(), planned.base.name);
    println!("  up to entry {} of {}", fetched.last, text_of_entry(fetched.time));
    match fetched.next_time {
        Some(next) => println!("  the next one, which is left out, is of {}", text_of_entry(next)),
        None if target != Target::End => println!("  the archive ends there"),
        None => {}
    }
    println!("  {} cold files; the new cluster is {:032x}", fetched.cold_files, identity.cluster_id);
    Ok(())
}

/// Who the restored node is: the same over all tries, because its cold files stand under its cluster's id.
fn identity(config: &Config, meta: &Meta) -> Result<(NodeIdentity, Node), Failure> {
    let node = |incarnation| Node { name: config.node.id.clone(), incarnation, address: String::new() };
    // A node that has no cluster yet has no files anywhere.
    if let Some(identity) = meta.identity().filter(|identity| identity.cluster_id != 0) {
        let node = node(identity.incarnation);
        if node.id() == identity.node_id {
            return Ok((identity, node));
        }
        return Err(Failure::DataDir(format!(
            "the restore that was begun here is of a node of another name than \"{}\"",
            config.node.id
        )));
    }
    let (incarnation, cluster_id) = (perigee_log::random_id(), perigee_log::random_id());
    let node = node(incarnation);
    let identity = NodeIdentity { node_id: node.id(), incarnation, cluster_id };
    meta.set_identity(identity)?;
    Ok((identity, node))
}

fn is_unfinished(meta: &Meta) -> Result<bool, Failure> {
    Ok(meta.fact(RESTORING)?.is_some_and(|fact| fact == [1]))
}

/// Refuses a folder that a restore has not finished.
///
/// # Errors
/// [`Failure::DataDir`]
pub(crate) fn check_finished(meta: &Meta, dir: &DataDir) -> Result<(), Failure> {
    if !is_unfinished(meta)? {
        return Ok(());
    }
    Err(Failure::DataDir(format!(
        "{} holds a restore that has not ended: run `perigee restore` again, it goes on where it stopped",
        dir.root().display()
    )))
}

fn sync_folder(dir: &DataDir) -> Result<(), Failure> {
    fs::File::open(dir.root()).and_then(|folder| folder.sync_all()).map_err(Failure::fatal)
}

fn failure(error: BackupError) -> Failure {
    match error {
        BackupError::Damaged { .. } | BackupError::Store(ObjectError::Missing(_)) => {
            Failure::Damaged(format!("{error}; nothing was restored from it"))
        }
        BackupError::Refused(text) => Failure::Refused(text),
        BackupError::Log(error) => error.into(),
        error => Failure::fatal(error),
    }
}

fn time_of(text: &str) -> Result<u64, Failure> {
    let refused =
        |what: &str| Failure::Refused(format!("--to-time {text:?} {what}: give 2026-01-31T12:00:00Z or the like"));
    let micros =
        datetime_in::parse_timestamptz(text, &OutputSettings::default()).map_err(|error| refused(error.message()))?;
    u64::try_from(micros).map_err(|_| refused("is before 1970"))
}

/// A time for people.
pub(crate) fn text_of(micros: i64) -> String {
    let mut out = Vec::new();
    datetime_out::format_timestamptz(&mut out, micros, &OutputSettings::default());
    String::from_utf8_lossy(&out).into_owned()
}

fn text_of_entry(time: Hlc) -> String {
    text_of(i64::try_from(time.micros()).unwrap_or(i64::MAX))
}

fn now_micros() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}
