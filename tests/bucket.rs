//! A server of an object store, behind a proxy that breaks requests in the ways that networks and busy stores do: of S3 (moto, as
//! integration/tools puts it down), or of Azure's Blob storage (Azurite, as integration/azure does).
//!
//! The proxy knows enough of HTTP for that: one request for each connection, bodies with a length.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use std::{fs, thread};

use perigee_testkit::http;
use tempfile::TempDir;

const BUCKET: &str = "bucket";
const PATIENCE: Duration = Duration::from_secs(60);
/// The account that Azurite has, whose key everybody knows; signed with that, leave to make containers.
const AZURE_ACCOUNT: &str = "devstoreaccount1";
const AZURE_LEAVE: &str = "sv=2021-08-06&ss=b&srt=c&sp=c&se=2999-12-31T00%3A00%3A00Z&sig=p%2F4x8Lrc7O%2BXE2L0Y%2FWpTSC0EBVgWLvjDOREAook06k%3D";

/// Which kind of store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// Played by moto.
    S3,
    /// Played by Azurite, which `PERIGEE_AZURITE` says where it is.
    Azure,
}

/// How a request is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// 500, without anything done.
    InternalError,
    /// 503 with the service's code to come more slowly.
    SlowDown,
    /// Nothing, until who has asked goes away.
    NoAnswer,
    /// The connection goes in the middle of the request.
    CutRequest,
    /// All is done, and the connection goes before the answer.
    LostAnswer,
    /// All is done, and the connection goes in the middle of the answer.
    CutAnswer,
}

/// All of them.
pub const FAULTS: [Fault; 6] =
    [Fault::InternalError, Fault::SlowDown, Fault::NoAnswer, Fault::CutRequest, Fault::LostAnswer, Fault::CutAnswer];

/// What the proxy does, and has done.
#[derive(Default)]
struct Plan {
    /// Each so-manieth request gets a fault; 0 for none.
    every: AtomicUsize,
    requests: AtomicUsize,
    faults: AtomicUsize,
    /// Nothing is answered: connections are closed at once.
    away: AtomicBool,
    /// The next requests for targets that contain this get this.
    next: Mutex<Vec<(String, Fault)>>,
    /// Which fault met which request.
    met: Mutex<Vec<(Fault, String)>>,
}

/// The server with its proxy.
pub struct Bucket {
    service: Service,
    child: Child,
    folder: TempDir,
    address: SocketAddr,
    plan: Arc<Plan>,
}

impl Bucket {
    /// Starts one that is empty.
    ///
    /// # Panics
    /// When what plays the service is not installed (`integration/tools moto`, `integration/azure/run`) or does not start.
    #[must_use]
    pub fn start(service: Service) -> Self {
        let folder = TempDir::with_prefix("perigee-bucket-").unwrap();
        let log = fs::File::create(folder.path().join("log")).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = listener.local_addr().unwrap();
        drop(listener);
        let mut command = service.command(server.port(), folder.path());
        command.current_dir(folder.path()).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let child = command.spawn().unwrap_or_else(|error| panic!("{service:?}: {error}"));
        let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, plan) = (proxy.local_addr().unwrap(), Arc::<Plan>::default());
        let mut bucket = Self { service, child, folder, address, plan: Arc::clone(&plan) };
        bucket.make(server);
        // They end with the test's process.
        thread::spawn(move || {
            for stream in proxy.incoming().flatten() {
                let plan = Arc::clone(&plan);
                thread::spawn(move || drop(carry(stream, server, service, &plan)));
            }
        });
        bucket
    }

    fn make(&mut self, server: SocketAddr) {
        let started = Instant::now();
        let target = match self.service {
            Service::S3 => format!("/{BUCKET}"),
            Service::Azure => format!("/{AZURE_ACCOUNT}/{BUCKET}?restype=container&{AZURE_LEAVE}"),
        };
        let made = |answer: http::Answer| matches!(answer.status, 200 | 201);
        while !http::request(server, "PUT", &target, &[], b"").is_ok_and(made) {
            let ended = self.child.try_wait().unwrap().is_some();
            let log = || fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            let service = self.service;
            assert!(!ended && started.elapsed() < PATIENCE, "{service:?} is not there: {}", log());
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// A folder of the bucket.
    #[must_use]
    pub fn url(&self, folder: &str) -> String {
        match self.service {
            Service::S3 => format!("s3://{BUCKET}/{folder}"),
            Service::Azure => format!("az://{BUCKET}/{folder}"),
        }
    }

    /// What a process needs to know to get there.
    #[must_use]
    pub fn environment(&self) -> Vec<(String, String)> {
        let endpoint = format!("http://{}", self.address);
        // Within the last of them a busy machine answers, and it is not so long that waiting for no answer takes all day.
        let pairs = match self.service {
            Service::S3 => vec![
                ("AWS_ENDPOINT", endpoint.as_str()),
                ("AWS_ALLOW_HTTP", "true"),
                ("AWS_REGION", "us-east-1"),
                ("AWS_ACCESS_KEY_ID", "test"),
                ("AWS_SECRET_ACCESS_KEY", "test"),
                ("AWS_TIMEOUT", "4s"),
            ],
            Service::Azure => vec![
                ("AZURE_STORAGE_USE_EMULATOR", "true"),
                ("AZURITE_BLOB_STORAGE_URL", endpoint.as_str()),
                ("AZURE_TIMEOUT", "4s"),
            ],
        };
        pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    /// What the target of a request has that uploads a part of a long file.
    #[must_use]
    pub fn part(&self) -> &'static str {
        match self.service {
            Service::S3 => "partNumber=",
            Service::Azure => "comp=block&",
        }
    }

    /// Breaks each so-manieth request, in all ways one after the other; 0 breaks none.
    pub fn break_every(&self, every: usize) {
        self.plan.every.store(every, Ordering::SeqCst);
    }

    /// Breaks one request whose target (path and query) contains `part`.
    pub fn break_next(&self, part: &str, fault: Fault) {
        self.plan.next.lock().unwrap().push((part.to_owned(), fault));
    }

    /// Answers nothing any more, or again.
    pub fn set_away(&self, away: bool) {
        self.plan.away.store(away, Ordering::SeqCst);
    }

    /// The faults that there were, each with the method and the target that it met.
    #[must_use]
    pub fn met(&self) -> Vec<(Fault, String)> {
        self.plan.met.lock().unwrap().clone()
    }
}

impl Drop for Bucket {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Service {
    fn command(self, port: u16, folder: &Path) -> Command {
        let port = port.to_string();
        match self {
            Self::S3 => {
                let mut command = crate::python();
                command.args(["-m", "moto.server", "-H", "127.0.0.1", "-p", &port]);
                command
            }
            Self::Azure => {
                let mut command = Command::new("node");
                command.arg(std::env::var_os("PERIGEE_AZURITE").expect("integration/azure/run says where Azurite is"));
                command.args(["--silent", "--disableTelemetry", "--skipApiVersionCheck"]);
                command.args(["--blobHost", "127.0.0.1", "--blobPort", &port]).arg("--location").arg(folder);
                command
            }
        }
    }

    /// Its code of an error that asks to come more slowly.
    fn busy(self) -> &'static str {
        match self {
            Self::S3 => "SlowDown",
            Self::Azure => "ServerBusy",
        }
    }
}

impl Plan {
    fn fault(&self, line: &str) -> Option<Fault> {
        let mut next = self.next.lock().unwrap();
        let directed = next.iter().position(|(part, _)| line.contains(part.as_str())).map(|at| next.remove(at).1);
        let number = self.requests.fetch_add(1, Ordering::SeqCst) + 1;
        let every = self.every.load(Ordering::SeqCst);
        let turn = || {
            let turn = self.faults.fetch_add(1, Ordering::SeqCst);
            match FAULTS[turn % FAULTS.len()] {
                // It costs who asks all of its patience: once in a while will do.
                Fault::NoAnswer if !(turn / FAULTS.len()).is_multiple_of(4) => Fault::CutRequest,
                fault => fault,
            }
        };
        let fault = directed.or_else(|| (every > 0 && number.is_multiple_of(every)).then(turn))?;
        self.met.lock().unwrap().push((fault, line.to_owned()));
        Some(fault)
    }
}

/// One request and its answer.
fn carry(mut client: TcpStream, server: SocketAddr, service: Service, plan: &Plan) -> io::Result<()> {
    if plan.away.load(Ordering::SeqCst) {
        return client.shutdown(Shutdown::Both);
    }
    let Some((head, mut body, length)) = read_head(&mut client)? else { return Ok(()) };
    let line = head.lines().next().unwrap_or_default().to_owned();
    let fault = plan.fault(&line);
    let wanted = if fault == Some(Fault::CutRequest) { length / 2 } else { length };
    while body.len() < wanted {
        let mut buffer = vec![0; (wanted - body.len()).min(1 << 16)];
        match client.read(&mut buffer)? {
            0 => return Ok(()),
            count => body.extend_from_slice(&buffer[..count]),
        }
    }
    match fault {
        Some(Fault::CutRequest) => return client.shutdown(Shutdown::Both),
        Some(Fault::InternalError) => return refuse(&mut client, "500 Internal Server Error", "InternalError"),
        Some(Fault::SlowDown) => return refuse(&mut client, "503 Slow Down", service.busy()),
        Some(Fault::NoAnswer) => return client.read(&mut [0]).map(drop),
        _ => {}
    }
    let mut to = TcpStream::connect(server)?;
    let kept = head.lines().filter(|line| !line.to_ascii_lowercase().starts_with("connection:") && !line.is_empty());
    let head: String = kept.map(|line| format!("{line}\r\n")).collect();
    to.write_all(format!("{head}Connection: close\r\n\r\n").as_bytes())?;
    to.write_all(&body)?;
    let mut answer = Vec::new();
    to.read_to_end(&mut answer)?;
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").map_or(answer.len(), |at| at + 4);
    match fault {
        Some(Fault::LostAnswer) => {}
        // In the middle of the body; of an answer without one, in the middle of its head.
        Some(Fault::CutAnswer) if end == answer.len() => client.write_all(&answer[..end / 2])?,
        Some(Fault::CutAnswer) => client.write_all(&answer[..end + (answer.len() - end) / 2])?,
        _ => client.write_all(&answer)?,
    }
    client.shutdown(Shutdown::Both)
}

/// The head of a request, what of its body came with it, and the length of its body.
fn read_head(client: &mut TcpStream) -> io::Result<Option<(String, Vec<u8>, usize)>> {
    let (mut read, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        if let Some(at) = read.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&read[..at]).into_owned();
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
            });
            return Ok(Some((head, read.split_off(at + 4), length.unwrap_or(0))));
        }
        match client.read(&mut buffer)? {
            0 => return Ok(None),
            count => read.extend_from_slice(&buffer[..count]),
        }
    }
}

fn refuse(client: &mut TcpStream, status: &str, code: &str) -> io::Result<()> {
    let body = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>a test</Message></Error>");
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/xml\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    client.write_all(head.as_bytes())?;
    client.write_all(body.as_bytes())?;
    client.shutdown(Shutdown::Both)
}
