//! What whole-server tests share. The tests themselves are the targets of this crate:
//!
//! - `server`: a node as its users meet it
//! - `slt`: SQL, as sqllogictest files and statement by statement beside PostgreSQL
//! - `redis`: the Redis door
//! - `crash`: kills, power loss, failing disks, damage
//! - `cluster`: several nodes of one cluster: who leads, who follows, who comes back

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]

pub mod admin;
pub mod backups;
pub mod bank;
pub mod bucket;
pub mod expectations;
pub mod grpc;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use perigee_testkit::{Client, Server, ServerOptions};

/// Python with the packages that integration/tools has put down.
#[must_use]
pub fn python() -> Command {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let work = std::env::var_os("PERIGEE_WORK").map_or_else(|| root.join(".work"), PathBuf::from);
    Command::new(work.join("venv/bin/python"))
}

/// A script of this crate in it.
#[must_use]
pub fn script(path: &str) -> Command {
    let mut command = python();
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join(path));
    command
}

/// A node with a modest memory budget.
#[must_use]
pub fn server() -> Server {
    options().start().unwrap()
}

/// Options for a node with a modest memory budget.
#[must_use]
pub fn options() -> ServerOptions {
    ServerOptions::default().flag(&["--memory", "512MB"])
}

/// Asks until the answer is this one.
///
/// # Panics
/// When that takes too long.
pub async fn wait_for(client: &Client, question: &str, answer: &str) {
    let begun = Instant::now();
    loop {
        let value = client.value(question).await.unwrap();
        if value == answer {
            return;
        }
        assert!(begun.elapsed() < backups::PATIENCE, "{question}: {value}, not {answer}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
