//! A node as a process.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rand::Rng as _;
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use tempfile::TempDir;

use crate::{Client, TestkitError, binary, http};

/// How long a node may take to become ready, and to stop. Generous: machines of tests are slow and busy.
const PATIENCE: Duration = Duration::from_secs(120);
const LOG_SHOWN_BYTES: usize = 8 << 10;
/// What a node may have of memory of its own, the stacks of its threads counted whole.
const MEMORY_MAX_BYTES: u64 = 12 << 30;

/// How a server is to be started.
#[derive(Clone, Debug, Default)]
pub struct ServerOptions {
    /// Flags behind those for addresses and folder.
    pub flags: Vec<String>,
    /// Environment variables.
    pub environment: Vec<(String, String)>,
    /// The data directory; a temporary one when not given.
    pub data_dir: Option<PathBuf>,
    /// Files and sockets that the process may have open; as many as the tests when not given.
    pub open_files_max: Option<u32>,
    /// Preloads the fault library.
    pub faults: bool,
    /// Opens the Redis door.
    pub redis: bool,
    /// Opens the REST door.
    pub rest: bool,
    /// Opens the gRPC door.
    pub grpc: bool,
}

impl ServerOptions {
    /// Adds a flag, or a flag and its value.
    #[must_use]
    pub fn flag(mut self, parts: &[&str]) -> Self {
        self.flags.extend(parts.iter().map(|part| (*part).to_owned()));
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.push((name.to_owned(), value.into()));
        self
    }

    /// Preloads the fault library, which listens to `PERIGEE_FAULTS_*`; its folder is the data directory unless told otherwise.
    #[must_use]
    pub fn with_faults(mut self) -> Self {
        self.faults = true;
        self
    }

    /// Opens the Redis door, at [`Server::redis`].
    #[must_use]
    pub fn with_redis(mut self) -> Self {
        self.redis = true;
        self
    }

    /// Opens the REST door, at [`Server::rest`].
    #[must_use]
    pub fn with_rest(mut self) -> Self {
        self.rest = true;
        self
    }

    /// Opens the gRPC door, at [`Server::grpc`].
    #[must_use]
    pub fn with_grpc(mut self) -> Self {
        self.grpc = true;
        self
    }

    /// Lets it have so many files and sockets open, at most.
    #[must_use]
    pub fn with_open_files(mut self, most: u32) -> Self {
        self.open_files_max = Some(most);
        self
    }

    /// Uses this data directory, and leaves it there.
    #[must_use]
    pub fn on(mut self, data_dir: &Path) -> Self {
        self.data_dir = Some(data_dir.to_owned());
        self
    }

    /// Starts it and waits until it is ready.
    ///
    /// # Errors
    /// [`TestkitError`], with the server's log.
    pub fn start(self) -> Result<Server, TestkitError> {
        Server::with(self)
    }
}

/// How a server ended.
#[derive(Clone, Debug)]
pub struct Exit {
    /// Its exit status.
    pub status: ExitStatus,
    /// All of its log.
    pub log: String,
}

/// A running, or stopped, node.
pub struct Server {
    options: ServerOptions,
    folder: TempDir,
    child: Option<Child>,
    pg: SocketAddr,
    ops: SocketAddr,
    redis: SocketAddr,
    rest: SocketAddr,
    grpc: SocketAddr,
}

impl Server {
    /// A node with defaults on an empty data directory.
    ///
    /// # Errors
    /// [`TestkitError`], with the server's log.
    pub fn start() -> Result<Self, TestkitError> {
        Self::with(ServerOptions::default())
    }

    fn with(options: ServerOptions) -> Result<Self, TestkitError> {
        let mut server = Self::prepare(options)?;
        // Ports are free until someone else is quicker.
        for attempt in 0.. {
            match server.restart() {
                Err(TestkitError::Server { log, .. }) if attempt < 5 && log.contains("cannot listen on") => {
                    [server.pg, server.ops, server.redis, server.rest, server.grpc] = doors()?;
                }
                other => return other.map(|()| server),
            }
        }
        unreachable!("the loop returns")
    }

    /// A server that is not started yet; see [`Server::restart`].
    ///
    /// # Errors
    /// When there is no folder or no port for it.
    pub fn prepare(options: ServerOptions) -> Result<Self, TestkitError> {
        let folder = TempDir::with_prefix("perigee-test-").map_err(TestkitError::io("a temporary folder"))?;
        let [pg, ops, redis, rest, grpc] = doors()?;
        Ok(Self { options, folder, child: None, pg, ops, redis, rest, grpc })
    }

    /// Starts the process again on the same data and the same ports, and waits until it is ready.
    ///
    /// # Errors
    /// [`TestkitError`], with the server's log.
    pub fn restart(&mut self) -> Result<(), TestkitError> {
        self.spawn()?;
        self.wait_ready()
    }

    /// Starts the process without waiting for it.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn spawn(&mut self) -> Result<(), TestkitError> {
        self.kill();
        let log = OpenOptions::new().create(true).append(true).open(self.log_path());
        let log = log.map_err(TestkitError::io("the server's log"))?;
        let output = log.try_clone().map_err(TestkitError::io("the server's log"))?;
        let mut command = match self.options.open_files_max {
            None => Command::new(binary::perigee()?),
            // Before it starts: it reads its limit at once.
            Some(most) => {
                let mut shell = Command::new("sh");
                shell.args(["-c", &format!("ulimit -n {most} && exec \"$0\" \"$@\"")]).arg(binary::perigee()?);
                shell
            }
        };
        command.arg("node").arg("--data-dir").arg(self.data_dir());
        command.args(["--pg-address", &self.pg.to_string(), "--ops-address", &self.ops.to_string()]);
        let door = |open: bool, at: SocketAddr| if open { at.to_string() } else { "off".to_owned() };
        command.args(["--redis-address", &door(self.options.redis, self.redis)]);
        command.args(["--rest-address", &door(self.options.rest, self.rest)]);
        if !self.options.flags.iter().any(|flag| flag == "--grpc-address") {
            command.args(["--grpc-address", &door(self.options.grpc, self.grpc)]);
        }
        command.args(&self.options.flags);
        // Settings of whoever runs the tests are not the test's.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("PERIGEE_") {
                command.env_remove(name);
            }
        }
        command.envs(self.options.environment.iter().map(|(name, value)| (name, value)));
        if self.options.faults {
            command.env("LD_PRELOAD", binary::faults()?);
            if !self.options.environment.iter().any(|(name, _)| name == "PERIGEE_FAULTS_DIR") {
                command.env("PERIGEE_FAULTS_DIR", canonical(&self.data_dir())?);
            }
        }
        command.stdin(Stdio::null()).stdout(output).stderr(log);
        let child = self.child.insert(command.spawn().map_err(TestkitError::io("starting perigee"))?);
        // A node that takes all the memory there is would stop the machine rather than its test.
        let most = Rlimit { current: Some(MEMORY_MAX_BYTES), maximum: Some(MEMORY_MAX_BYTES) };
        prlimit(Some(Pid::from_child(child)), Resource::Data, most)
            .map_err(|error| TestkitError::io("a limit of memory")(error.into()))?;
        Ok(())
    }

    /// Waits until `/ready` answers 200.
    ///
    /// # Errors
    /// [`TestkitError::Server`] when the process ends or takes too long.
    pub fn wait_ready(&mut self) -> Result<(), TestkitError> {
        let started = Instant::now();
        loop {
            if matches!(http::get(self.ops, "/ready"), Ok((200, _))) {
                return Ok(());
            }
            if let Some(status) = self.poll() {
                return Err(self.failed(format!("the server ended with {status}")));
            }
            if started.elapsed() > PATIENCE {
                return Err(self.failed(format!("the server is not ready after {PATIENCE:?}")));
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Where PostgreSQL's protocol is spoken.
    #[must_use]
    pub fn pg(&self) -> SocketAddr {
        self.pg
    }

    /// Where REST is, if it is open.
    #[must_use]
    pub fn rest(&self) -> SocketAddr {
        self.rest
    }

    /// Where gRPC is, if it is open.
    #[must_use]
    pub fn grpc(&self) -> SocketAddr {
        self.grpc
    }

    /// Where health and metrics are.
    #[must_use]
    pub fn ops(&self) -> SocketAddr {
        self.ops
    }

    /// Where Redis's protocol is spoken, when that was asked for.
    #[must_use]
    pub fn redis(&self) -> SocketAddr {
        self.redis
    }

    /// The data directory.
    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        self.options.data_dir.clone().unwrap_or_else(|| self.folder.path().join("data"))
    }

    /// A folder for the test, removed with the server.
    #[must_use]
    pub fn scratch(&self) -> &Path {
        self.folder.path()
    }

    /// How it is started.
    #[must_use]
    pub fn options(&self) -> &ServerOptions {
        &self.options
    }

    /// How it will be started the next time.
    pub fn options_mut(&mut self) -> &mut ServerOptions {
        &mut self.options
    }

    /// The process's id, while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Everything that it has written, over all of its starts.
    #[must_use]
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.log_path()).unwrap_or_default()).into_owned()
    }

    /// A session.
    ///
    /// # Errors
    /// What the server says.
    pub async fn client(&self) -> Result<Client, TestkitError> {
        Client::connect(self.pg).await
    }

    /// The exit status, if the process has ended by itself.
    pub fn poll(&mut self) -> Option<ExitStatus> {
        self.child.as_mut().and_then(|child| child.try_wait().ok().flatten())
    }

    /// Waits for the process to end by itself.
    ///
    /// # Errors
    /// [`TestkitError::Server`] when it does not.
    pub fn wait_exit(&mut self, patience: Duration) -> Result<Exit, TestkitError> {
        let started = Instant::now();
        loop {
            if let Some(status) = self.poll() {
                self.child = None;
                return Ok(Exit { status, log: self.log() });
            }
            if started.elapsed() > patience {
                return Err(self.failed(format!("the server has not ended after {patience:?}")));
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Sends a signal: `TERM`, `INT`, `STOP`, `CONT`.
    ///
    /// # Errors
    /// When there is no process.
    pub fn signal(&self, name: &str) -> Result<(), TestkitError> {
        let none = || TestkitError::io("a signal")(io::Error::other("the server does not run"));
        let pid = self.pid().ok_or_else(none)?;
        let sent = Command::new("kill").arg(format!("-{name}")).arg(pid.to_string()).status();
        match sent.map_err(TestkitError::io("kill"))?.success() {
            true => Ok(()),
            false => Err(none()),
        }
    }

    /// Asks it to stop, as a supervisor does, and waits for its end.
    ///
    /// # Errors
    /// [`TestkitError::Server`] when it does not end.
    pub fn stop(&mut self) -> Result<Exit, TestkitError> {
        self.signal("TERM")?;
        self.wait_exit(PATIENCE)
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself.
            drop(child.kill());
            drop(child.wait());
        }
    }

    /// Resident memory of the process in bytes.
    #[must_use]
    pub fn resident_bytes(&self) -> Option<u64> {
        let text = fs::read_to_string(format!("/proc/{}/status", self.pid()?)).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kb| kb << 10)
    }

    fn log_path(&self) -> PathBuf {
        self.folder.path().join("server.log")
    }

    fn failed(&self, reason: String) -> TestkitError {
        let log = self.log();
        let mut start = log.len().saturating_sub(LOG_SHOWN_BYTES);
        while !log.is_char_boundary(start) {
            start += 1;
        }
        TestkitError::Server { reason, log: log[start..].to_owned() }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        if thread::panicking() {
            eprintln!("--- end of the log of the server ---\n{}", self.failed(String::new()));
            eprintln!("the server's data is kept in {}", self.folder.path().display());
            self.folder.disable_cleanup(true);
        }
    }
}

/// The folder without links in it; made where there is none, empty as it is then.
fn canonical(dir: &Path) -> Result<PathBuf, TestkitError> {
    let made = fs::create_dir_all(dir).and_then(|()| dir.canonicalize());
    made.map_err(TestkitError::io(dir.display().to_string()))
}

/// An address for each door.
fn doors() -> Result<[SocketAddr; 5], TestkitError> {
    let found = free_addresses(5)?;
    Ok(std::array::from_fn(|door| found[door]))
}

/// Ports that the system gives to nobody who only connects: a server that is started again finds its own still free.
const PORTS: Range<u16> = 12_000..32_000;

/// Ports that were given to a test of this process: it may not listen there yet, or listen there again.
static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());

/// Loopback addresses that nobody listens on.
pub(crate) fn free_addresses(count: usize) -> Result<Vec<SocketAddr>, TestkitError> {
    // All at once, so that they differ.
    let mut listeners = Vec::with_capacity(count);
    let mut tries = 0;
    while listeners.len() < count {
        let address = SocketAddr::from(([127, 0, 0, 1], rand::rng().random_range(PORTS)));
        match TcpListener::bind(address) {
            Ok(listener) => {
                if GIVEN.lock().unwrap_or_else(PoisonError::into_inner).insert(address.port()) {
                    listeners.push((address, listener));
                }
            }
            Err(error) if tries > 1_000 => return Err(TestkitError::io("a free port")(error)),
            Err(_) => tries += 1,
        }
    }
    Ok(listeners.into_iter().map(|(address, _)| address).collect())
}

/// Copies a folder with all that is in it.
///
/// # Errors
/// What the system says.
pub fn copy_folder(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target)?;
        }
    }
    File::open(to)?.sync_all()
}
