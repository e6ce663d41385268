//! A node that is told to do the same thing in one life after the other, and is killed a step further on in each: at every call
//! that makes a file, syncs, renames or removes.
//!
//! `PERIGEE_CRASH_POINTS=all` takes every step; otherwise some are left out, others in each run.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use perigee_testkit::{Client, Server, ServerOptions};
use perigee_tests::backups::PATIENCE;
use rand::Rng as _;

const KILL_AT: &str = "PERIGEE_FAULTS_KILL_AT";

/// A node, and the file that arms its fault.
pub(crate) struct Steps {
    pub(crate) server: Server,
    armed: PathBuf,
    /// A part of the paths that count.
    part: &'static str,
}

/// The steps to be killed at: all, or each `some`-th.
pub(crate) fn points(some: usize) -> impl Iterator<Item = usize> {
    let every = if std::env::var("PERIGEE_CRASH_POINTS").as_deref() == Ok("all") { 1 } else { some };
    let first = rand::rng().random_range(1..=every);
    (first..).step_by(every).inspect(|point| println!("killed at step {point}"))
}

impl Steps {
    /// A node that is killed at calls for paths below `folder` that contain `part`.
    pub(crate) fn new(options: ServerOptions, folder: &Path, part: &'static str) -> Self {
        let folder = folder.canonicalize().unwrap();
        let armed = folder.join("armed");
        let options = options.env("PERIGEE_FAULTS_DIR", folder.to_str().unwrap());
        let options = options.env("PERIGEE_FAULTS_WHILE", armed.to_str().unwrap()).with_faults();
        Self { server: options.start().unwrap(), armed, part }
    }

    /// The next life, which will end at `point` once it is armed.
    pub(crate) fn restart(&mut self, point: usize) {
        self.server.kill();
        let environment = &mut self.server.options_mut().environment;
        environment.retain(|(name, _)| name != KILL_AT);
        environment.push((KILL_AT.to_owned(), format!("{point}:{}", self.part)));
        self.server.restart().unwrap();
    }

    /// From here on steps count.
    pub(crate) fn arm(&self) {
        fs::write(&self.armed, "").unwrap();
    }

    /// No step counts any more. Says whether the node was killed; `broken`: a connection to it has ended.
    pub(crate) fn disarm(&mut self, broken: bool) -> bool {
        fs::remove_file(&self.armed).unwrap();
        // Connections end before the process is seen to have ended.
        let patience = if broken { PATIENCE } else { Duration::from_millis(100) };
        let ended = self.server.wait_exit(patience).is_ok();
        assert!(ended || !broken, "a connection has ended, and the node has not:\n{}", self.server.log());
        ended
    }

    /// Runs statements until the node is gone. Says whether it was killed.
    pub(crate) async fn run_armed(&mut self, client: &Client, statements: &[String]) -> bool {
        self.arm();
        let mut broken = false;
        for sql in statements {
            match client.batch_execute(sql).await {
                Ok(()) => {}
                Err(error) if error.as_db_error().is_none() => {
                    broken = true;
                    break;
                }
                Err(error) => panic!("{sql}: {error:?}"),
            }
        }
        tokio::task::block_in_place(|| self.disarm(broken))
    }
}
