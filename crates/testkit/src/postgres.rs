//! Debian's PostgreSQL as a process of the test: an empty cluster in a folder of its own, on a free loopback port.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::TestkitError;
use crate::session::Session;

const PATIENCE: Duration = Duration::from_secs(120);
/// The version that differences are known for.
const PROGRAMS: &str = "/usr/lib/postgresql/15/bin";

/// A running PostgreSQL 15 whose superuser `postgres` needs no password. Its collation is `C`.
#[derive(Debug)]
pub struct Postgres {
    folder: TempDir,
    child: Child,
    address: SocketAddr,
}

impl Postgres {
    /// Starts one.
    ///
    /// # Errors
    /// [`TestkitError`] when it is not installed or does not start, with what it has said.
    pub fn start() -> Result<Self, TestkitError> {
        let folder = TempDir::with_prefix("perigee-postgres-").map_err(TestkitError::io("a temporary folder"))?;
        let owner = owner()?;
        if let Some((user, group)) = owner {
            chown(folder.path(), Some(user), Some(group)).map_err(TestkitError::io("giving postgres its folder"))?;
        }
        let data = folder.path().join("data");
        let mut initdb = program("initdb", folder.path(), owner)?;
        initdb.args(["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "-N", "--no-instructions", "-D"]);
        let status = initdb.arg(&data).status().map_err(TestkitError::io("starting initdb"))?;
        if !status.success() {
            return Err(failed("initdb has failed", folder.path()));
        }
        let listener = TcpListener::bind("127.0.0.1:0").map_err(TestkitError::io("a free port"))?;
        let address = listener.local_addr().map_err(TestkitError::io("a free port"))?;
        drop(listener);
        let mut server = program("postgres", folder.path(), owner)?;
        server.arg("-D").arg(&data).args(["-p", &address.port().to_string(), "-k"]).arg(folder.path());
        for setting in ["listen_addresses=127.0.0.1", "fsync=off", "shared_buffers=32MB", "autovacuum=off"] {
            server.args(["-c", setting]);
        }
        let child = server.spawn().map_err(TestkitError::io("starting postgres"))?;
        let mut postgres = Self { folder, child, address };
        postgres.wait_ready()?;
        Ok(postgres)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    fn wait_ready(&mut self) -> Result<(), TestkitError> {
        let started = Instant::now();
        while Session::connect(self.address, "postgres", &[]).is_err() {
            let ended = self.child.try_wait().map_err(TestkitError::io("waiting for postgres"))?;
            if ended.is_some() || started.elapsed() > PATIENCE {
                return Err(failed("postgres is not ready", self.folder.path()));
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // The postmaster ends its children only when asked, not when killed.
        drop(Command::new("kill").arg("-QUIT").arg(self.child.id().to_string()).status());
        drop(self.child.wait());
    }
}

/// PostgreSQL refuses to run as root; Debian's package makes a user for it.
fn owner() -> Result<Option<(u32, u32)>, TestkitError> {
    let own = fs::metadata("/proc/self").map_err(TestkitError::io("/proc/self"))?;
    if std::os::unix::fs::MetadataExt::uid(&own) != 0 {
        return Ok(None);
    }
    let users = fs::read_to_string("/etc/passwd").map_err(TestkitError::io("/etc/passwd"))?;
    let user = users.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|user| user[0] == "postgres");
    let ids = user.and_then(|user| Some((user.get(2)?.parse().ok()?, user.get(3)?.parse().ok()?)));
    let none = || TestkitError::io("/etc/passwd")(std::io::Error::other("there is no user postgres"));
    ids.map(Some).ok_or_else(none)
}

fn program(name: &str, folder: &Path, owner: Option<(u32, u32)>) -> Result<Command, TestkitError> {
    let path = PathBuf::from(PROGRAMS).join(name);
    if !path.exists() {
        let missing = std::io::Error::other("PostgreSQL 15 is not installed: integration/tools postgres15");
        return Err(TestkitError::io(path.display().to_string())(missing));
    }
    let log = fs::OpenOptions::new().create(true).append(true).open(folder.join("log"));
    let log = log.map_err(TestkitError::io("the log of postgres"))?;
    let output = log.try_clone().map_err(TestkitError::io("the log of postgres"))?;
    let mut command = Command::new(path);
    command.current_dir(folder).stdin(Stdio::null()).stdout(output).stderr(log);
    command.env_remove("LANG").env("LC_ALL", "C").env("TZ", "UTC");
    if let Some((user, group)) = owner {
        command.uid(user).gid(group);
    }
    Ok(command)
}

fn failed(reason: &str, folder: &Path) -> TestkitError {
    let log = fs::read(folder.join("log")).unwrap_or_default();
    TestkitError::Server { reason: reason.to_owned(), log: String::from_utf8_lossy(&log).into_owned() }
}
