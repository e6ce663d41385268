//! Nodes whose log is archived in a folder, and what operators do with it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use perigee_testkit::{Client, Server, ServerOptions, binary};

/// How long something may take that has no reason to: machines of tests are slow and busy.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// What `perigee` prints, and its exit code.
#[must_use]
pub fn perigee(arguments: &[&str]) -> (String, i32) {
    let output = Command::new(binary::perigee().unwrap()).args(arguments).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (String::from_utf8_lossy(&text).into_owned(), output.status.code().unwrap_or(-1))
}

/// What `perigee` prints when all goes well.
///
/// # Panics
/// When it does not.
#[must_use]
pub fn good(arguments: &[&str]) -> String {
    let (text, code) = perigee(arguments);
    assert_eq!(code, 0, "{arguments:?}: {text}");
    text
}

/// A folder as the URL of a store.
#[must_use]
pub fn url(folder: &Path) -> String {
    format!("file://{}", folder.display())
}

/// A node whose log is archived in a folder.
#[must_use]
pub fn archived(backups: &Path, options: ServerOptions) -> Server {
    archived_every(backups, options, "50ms")
}

/// The same, that looks so often whether there is something to archive.
#[must_use]
pub fn archived_every(backups: &Path, options: ServerOptions, interval: &str) -> Server {
    options.env("PERIGEE_BACKUP__URL", url(backups)).env("PERIGEE_BACKUP__INTERVAL", interval).start().unwrap()
}

/// `perigee restore` out of a folder into another.
#[must_use]
pub fn restore(backups: &Path, to: &Path, more: &[&str]) -> (String, i32) {
    let (url, to) = (url(backups), to.display().to_string());
    perigee(&[&["restore", "--url", &url, "--data-dir", &to], more].concat())
}

/// All files below a folder, in order.
#[must_use]
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let below = |entry: fs::DirEntry| match entry.path() {
        path if path.is_dir() => files(&path),
        path => vec![path],
    };
    let mut found: Vec<PathBuf> = entries.filter_map(Result::ok).flat_map(below).collect();
    found.sort();
    found
}

/// Files with cold rows below a folder: not what is made of them for others.
#[must_use]
pub fn cold_files(folder: &Path) -> Vec<PathBuf> {
    let exported = |path: &Path| path.components().any(|part| part.as_os_str() == "iceberg");
    files(folder).into_iter().filter(|path| !exported(path)).collect()
}

/// Files of a folder with this extension.
#[must_use]
pub fn files_of(folder: &Path, extension: &str) -> Vec<PathBuf> {
    files(folder).into_iter().filter(|path| path.extension().is_some_and(|found| found == extension)).collect()
}

/// The objects of the archive, by their entries.
#[must_use]
pub fn logs(backups: &Path) -> Vec<PathBuf> {
    files_of(backups, "log")
}

/// How many base backups are there.
#[must_use]
pub fn bases(backups: &Path) -> usize {
    files(backups).iter().filter(|path| path.ends_with("manifest")).count()
}

/// Runs statements one by one, each a transaction of its own.
///
/// # Panics
/// When one fails.
pub async fn each(client: &Client, sql: &str) {
    for statement in sql.split(';') {
        client.batch_execute(statement).await.unwrap_or_else(|error| panic!("{statement}: {error:?}"));
    }
}

/// Waits until the archive holds an entry.
///
/// # Panics
/// When it takes too long.
pub async fn wait_archived(backups: &Path, server: &Server, wanted: u64) {
    let started = Instant::now();
    loop {
        let archived = metric(server, "perigee_backup_archived_index");
        if archived >= wanted && !files(backups).is_empty() {
            return;
        }
        assert!(started.elapsed() < PATIENCE, "archived up to {archived}, wanted {wanted}:\n{}", server.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until the node has made its first base backup.
///
/// # Panics
/// When it takes too long.
pub async fn wait_base(backups: &Path, server: &Server) {
    let started = Instant::now();
    while bases(backups) == 0 {
        assert!(started.elapsed() < PATIENCE, "no backup is made:\n{}", server.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A number that the node tells of itself; 0 where it does not, or is gone.
#[must_use]
pub fn metric(server: &Server, name: &str) -> u64 {
    let Ok((_, text)) = perigee_testkit::http::get(server.ops(), "/metrics") else { return 0 };
    let line = text.lines().find(|line| line.starts_with(name) && line[name.len()..].starts_with(' '));
    line.and_then(|line| line.rsplit_once(' ')).and_then(|(_, value)| value.parse::<f64>().ok()).unwrap_or(0.0) as u64
}

/// The last entry that is applied.
#[must_use]
pub fn last(server: &Server) -> u64 {
    metric(server, "perigee_log_applied_index")
}

/// How many rows table `t` has, and what its column `v` comes to.
pub async fn sum(server: &Server) -> String {
    server.client().await.unwrap().value("SELECT count(*) || ' ' || coalesce(sum(v), 0) FROM t").await.unwrap()
}
