//! Debian's Redis as a process of the test: empty, without persistence unless asked for, on a free loopback port.

use std::fs::{self, File};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::TestkitError;
use crate::resp::{Connection, Value};

const PATIENCE: Duration = Duration::from_secs(60);

/// A running `redis-server`.
#[derive(Debug)]
pub struct Redis {
    folder: TempDir,
    child: Child,
    address: SocketAddr,
}

impl Redis {
    /// Starts one.
    ///
    /// # Errors
    /// [`TestkitError`] when it is not installed or does not start, with what it has said.
    pub fn start() -> Result<Self, TestkitError> {
        let folder = TempDir::with_prefix("perigee-redis-").map_err(TestkitError::io("a temporary folder"))?;
        let listener = TcpListener::bind("127.0.0.1:0").map_err(TestkitError::io("a free port"))?;
        let address = listener.local_addr().map_err(TestkitError::io("a free port"))?;
        drop(listener);
        let log = File::create(folder.path().join("log")).map_err(TestkitError::io("the log of redis-server"))?;
        let output = log.try_clone().map_err(TestkitError::io("the log of redis-server"))?;
        let mut command = Command::new("redis-server");
        command.args(["--port", &address.port().to_string(), "--bind", "127.0.0.1", "--save", "", "--dir"]);
        command.arg(folder.path()).args(["--enable-debug-command", "local"]);
        command.stdin(Stdio::null()).stdout(output).stderr(log);
        let child = command.spawn().map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                let missing =
                    io::Error::other("Debian's package redis-server is not installed: integration/tools redis");
                TestkitError::io("redis-server")(missing)
            }
            _ => TestkitError::io("redis-server")(error),
        })?;
        let mut redis = Self { folder, child, address };
        redis.wait_ready()?;
        Ok(redis)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    fn wait_ready(&mut self) -> Result<(), TestkitError> {
        let started = Instant::now();
        let pong = Value::Status("PONG".to_owned());
        let answers = |address| Connection::open(address, PATIENCE).is_ok_and(|mut to| to.line("PING") == pong);
        while !answers(self.address) {
            let ended = self.child.try_wait().map_err(TestkitError::io("waiting for redis-server"))?;
            if ended.is_some() || started.elapsed() > PATIENCE {
                let log = fs::read(self.folder.path().join("log")).unwrap_or_default();
                let log = String::from_utf8_lossy(&log).into_owned();
                return Err(TestkitError::Server { reason: "redis-server is not ready".to_owned(), log });
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
