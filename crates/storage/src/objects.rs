//! An object store, for callers that may block: cold files and backups go there.
//!
//! Requests run on threads of their own: storage has none that wait for a network. One that fails is made again, a few times
//! and for a bounded time ([`RETRIES_MAX`], [`RETRY_TIMEOUT`]); [`traffic`] counts both.

use std::fmt;
use std::fs::File;
use std::ops::Range;
use std::path::{Path as FilePath, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, UNIX_EPOCH};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::client::{
    ClientConfigKey, HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
    ReqwestConnector,
};
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{ClientOptions, Error, ObjectStore, ObjectStoreExt, ObjectStoreScheme, PutPayload, RetryConfig};
use thiserror::Error as ThisError;
use tokio::runtime::{Handle, Runtime, RuntimeFlavor};
use url::Url;

/// How long one request may take, where the environment does not say (`AWS_TIMEOUT`): below [`RETRY_TIMEOUT`], so that one
/// that is not answered is made again.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a connection may take to be made, where the environment does not say.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a request is tried again: a store that is away shall not hold a statement for minutes.
const RETRY_TIMEOUT: Duration = Duration::from_secs(20);
const RETRIES_MAX: usize = 6;
/// Requests whose answer breaks off in its middle and that the store's client does not make again.
const BROKEN_TRIES_MAX: usize = 3;
const BROKEN_PAUSE: Duration = Duration::from_millis(200);
/// A longer file is written and read in parts of this size, each a request of its own: what breaks off costs one of them. S3
/// wants at least 5 MiB.
const PART_BYTES: usize = 8 << 20;
/// Parts of one file that are on their way at a time.
const PARTS_AT_ONCE: usize = 4;
const THREADS: usize = 2;
/// Behind the name of a file of a local store that is not whole yet.
const PARTIAL: char = '#';

/// An object store.
pub struct Objects {
    store: Arc<dyn ObjectStore>,
    location: String,
    /// The folder, of a local store.
    folder: Option<PathBuf>,
    /// `None` only while dropping.
    threads: Option<Runtime>,
    handle: Handle,
}

/// What can go wrong with a store.
#[derive(Clone, Debug, ThisError)]
pub enum ObjectError {
    /// It does not answer, or refuses.
    #[error("the object store at {location} cannot be used: {reason}")]
    Away {
        /// Where it is.
        location: String,
        /// What it said.
        reason: String,
    },
    /// An object is not there.
    #[error("object {0} is missing")]
    Missing(String),
    /// An object is longer than anything that was written there.
    #[error("object {path} has {bytes} bytes, which is too many")]
    TooLong {
        /// Which object.
        path: String,
        /// Its length.
        bytes: u64,
    },
}

/// What this process has asked of stores over HTTP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Requests, those that were made again among them.
    pub requests: u64,
    /// Requests that came to nothing: no answer, or one that says to ask again.
    pub failures: u64,
}

static REQUESTS: AtomicU64 = AtomicU64::new(0);
static FAILURES: AtomicU64 = AtomicU64::new(0);

/// What this process has asked of stores over HTTP since it began.
#[must_use]
pub fn traffic() -> Traffic {
    Traffic { requests: REQUESTS.load(Ordering::Relaxed), failures: FAILURES.load(Ordering::Relaxed) }
}

/// Makes clients that count.
#[derive(Debug)]
struct Counting;

#[derive(Debug)]
struct CountingClient(HttpClient);

impl HttpConnector for Counting {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(CountingClient(ReqwestConnector::default().connect(options)?)))
    }
}

#[async_trait]
impl HttpService for CountingClient {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        REQUESTS.fetch_add(1, Ordering::Relaxed);
        let answer = self.0.execute(request).await;
        let asks_again = |status: u16| status >= 500 || status == 429 || status == 408;
        if answer.as_ref().map_or(true, |answer| asks_again(answer.status().as_u16())) {
            FAILURES.fetch_add(1, Ordering::Relaxed);
        }
        answer
    }
}

/// A file in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its path.
    pub path: String,
    /// Its length in bytes.
    pub bytes: u64,
    /// When it was written, in microseconds since the Unix epoch, by the store's clock.
    pub modified_micros: i64,
}

impl fmt::Debug for Objects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Objects").field("location", &self.location).finish_non_exhaustive()
    }
}

impl Drop for Objects {
    fn drop(&mut self) {
        // The last holder may be a task, where waiting for threads is not allowed.
        if let Some(threads) = self.threads.take() {
            threads.shutdown_background();
        }
    }
}

impl Objects {
    /// A store in a folder, which is made where it is missing.
    ///
    /// # Errors
    /// [`ObjectError::Away`]
    pub fn in_folder(folder: &FilePath) -> Result<Arc<Self>, ObjectError> {
        let location = folder.display().to_string();
        let away = |reason: String| ObjectError::Away { location: location.clone(), reason };
        std::fs::create_dir_all(folder).map_err(|error| away(error.to_string()))?;
        let store = LocalFileSystem::new_with_prefix(folder).map_err(|error| away(error.to_string()))?;
        Self::over(Arc::new(store), location.clone(), Some(folder.to_owned()))
    }

    /// A store at a URL: `file:///folder`, `s3://bucket/path`, `az://container/path`, `gs://bucket/path`. Credentials and
    /// all else that the kind of store knows come from the environment, or from the platform's identity; so do bounds of time
    /// (`AWS_TIMEOUT`, `AZURE_CONNECT_TIMEOUT`, …).
    ///
    /// # Errors
    /// [`ObjectError::Away`] where the URL or the environment does not make one.
    pub fn at_url(url: &str) -> Result<Arc<Self>, ObjectError> {
        let away = |reason: String| ObjectError::Away { location: url.to_owned(), reason };
        let parsed = Url::parse(url).map_err(|error| away(error.to_string()))?;
        let (scheme, path) = ObjectStoreScheme::parse(&parsed).map_err(|error| away(error.to_string()))?;
        let retry = RetryConfig { max_retries: RETRIES_MAX, retry_timeout: RETRY_TIMEOUT, ..RetryConfig::default() };
        let built = match scheme {
            ObjectStoreScheme::Local => {
                let folder = parsed.to_file_path().map_err(|()| away("it is no path of a folder".to_owned()))?;
                return Self::in_folder(&folder);
            }
            ObjectStoreScheme::AmazonS3 => {
                let builder = AmazonS3Builder::from_env().with_url(url).with_retry(retry);
                let builder = builder.with_client_options(client_options("AWS_")).with_http_connector(Counting);
                builder.build().map(|store| Arc::new(store) as Arc<dyn ObjectStore>)
            }
            ObjectStoreScheme::MicrosoftAzure => {
                let builder = MicrosoftAzureBuilder::from_env().with_url(url).with_retry(retry);
                let builder = builder.with_client_options(client_options("AZURE_")).with_http_connector(Counting);
                builder.build().map(|store| Arc::new(store) as Arc<dyn ObjectStore>)
            }
            ObjectStoreScheme::GoogleCloudStorage => {
                let builder = GoogleCloudStorageBuilder::from_env().with_url(url).with_retry(retry);
                let builder = builder.with_client_options(client_options("GOOGLE_")).with_http_connector(Counting);
                builder.build().map(|store| Arc::new(store) as Arc<dyn ObjectStore>)
            }
            _ => return Err(away("it is none of file://, s3://, az:// and gs://".to_owned())),
        };
        let store = built.map_err(|error| away(error.to_string()))?;
        let store: Arc<dyn ObjectStore> =
            if path.as_ref().is_empty() { store } else { Arc::new(PrefixStore::new(store, path)) };
        Self::over(store, url.to_owned(), None)
    }

    fn over(store: Arc<dyn ObjectStore>, location: String, folder: Option<PathBuf>) -> Result<Arc<Self>, ObjectError> {
        let threads = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("objects")
            .enable_all()
            .build()
            .map_err(|error| ObjectError::Away { location: location.clone(), reason: error.to_string() })?;
        Ok(Arc::new(Self { store, location, folder, handle: threads.handle().clone(), threads: Some(threads) }))
    }

    /// The store itself, for who reads whole files.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn ObjectStore> {
        &self.store
    }

    /// Where it is, for people.
    #[must_use]
    pub fn location(&self) -> &str {
        &self.location
    }

    /// A file of it as a URL.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        match &self.folder {
            Some(folder) => {
                let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.clone());
                format!("file://{}", folder.join(path).display())
            }
            None => format!("{}/{path}", self.location.trim_end_matches('/')),
        }
    }

    /// The folder, of a local store.
    #[must_use]
    pub fn folder(&self) -> Option<&FilePath> {
        self.folder.as_deref()
    }

    /// Whether only this machine can read it.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.folder.is_some()
    }

    /// Writes a file that is not there yet. When this returns it is as durable as the store makes anything. Blocking.
    ///
    /// # Errors
    /// [`ObjectError::Away`]
    pub fn put(&self, path: &str, bytes: Bytes) -> Result<(), ObjectError> {
        let (store, at) = (Arc::clone(&self.store), Path::from(path));
        let whole = self.is_local() || bytes.len() <= PART_BYTES;
        let written = self.wait(async move {
            match whole {
                true => store.put(&at, PutPayload::from(bytes)).await.map(drop),
                false => put_parts(store.as_ref(), &at, &bytes).await,
            }
        })?;
        // Nothing was to be found: whatever the store says, it is the store's trouble.
        written.map_err(|error| self.away(&error))?;
        match &self.folder {
            Some(folder) => sync(folder, path).map_err(|error| ObjectError::Away {
                location: self.location.clone(),
                reason: format!("{path} cannot be synced: {error}"),
            }),
            None => Ok(()),
        }
    }

    /// Reads part of a file. Blocking.
    ///
    /// # Errors
    /// [`ObjectError::Missing`], [`ObjectError::Away`]
    pub fn get(&self, path: &str, range: Range<u64>) -> Result<Bytes, ObjectError> {
        let (store, at) = (Arc::clone(&self.store), Path::from(path));
        self.wait(async move { store.get_range(&at, range).await })?.map_err(|error| self.failed(path, &error))
    }

    /// Reads all of a file, which has at most `bytes_max`. Blocking.
    ///
    /// # Errors
    /// [`ObjectError::Missing`], [`ObjectError::TooLong`], [`ObjectError::Away`]
    pub fn get_all(&self, path: &str, bytes_max: u64) -> Result<Bytes, ObjectError> {
        let (store, at, local) = (Arc::clone(&self.store), Path::from(path), self.is_local());
        let read = self.wait(async move {
            let found = store.get(&at).await?;
            let bytes = found.meta.size;
            if bytes > bytes_max {
                return Ok(Err(bytes));
            }
            if local || bytes <= PART_BYTES as u64 {
                return found.bytes().await.map(Ok);
            }
            drop(found);
            get_parts(store.as_ref(), &at, bytes).await.map(Ok)
        })?;
        let read = read.map_err(|error| self.failed(path, &error))?;
        read.map_err(|bytes| ObjectError::TooLong { path: path.to_owned(), bytes })
    }

    /// Removes a file; one that is not there is removed already. Blocking.
    ///
    /// # Errors
    /// [`ObjectError::Away`]
    pub fn delete(&self, path: &str) -> Result<(), ObjectError> {
        let (store, at) = (Arc::clone(&self.store), Path::from(path));
        let ask = move || {
            let (store, at) = (Arc::clone(&store), at.clone());
            async move { store.delete(&at).await }
        };
        match self.wait(again(ask, has_broken_off))? {
            Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.failed(path, &error)),
        }
    }

    /// All files under a path. Blocking.
    ///
    /// # Errors
    /// [`ObjectError::Away`]
    pub fn list(&self, under: &str) -> Result<Vec<Found>, ObjectError> {
        let (store, at) = (Arc::clone(&self.store), Path::from(under));
        let ask = move || {
            let (store, at) = (Arc::clone(&store), at.clone());
            async move { store.list(Some(&at)).try_collect::<Vec<_>>().await }
        };
        let found = self.wait(again(ask, has_broken_off))?;
        let found = found.map_err(|error| self.failed(under, &error))?;
        Ok(found
            .into_iter()
            .map(|meta| Found {
                path: meta.location.to_string(),
                bytes: meta.size,
                modified_micros: meta.last_modified.timestamp_micros(),
            })
            .collect())
    }

    /// The folders right below the root. Blocking.
    ///
    /// # Errors
    /// [`ObjectError::Away`]
    pub fn folders(&self) -> Result<Vec<String>, ObjectError> {
        let store = Arc::clone(&self.store);
        let ask = move || {
            let store = Arc::clone(&store);
            async move { store.list_with_delimiter(None).await }
        };
        let found = self.wait(again(ask, has_broken_off))?;
        let found = found.map_err(|error| self.failed("", &error))?;
        Ok(found.common_prefixes.iter().map(ToString::to_string).collect())
    }

    /// Removes what uploads into a folder have left that did not end, unless one may still go on by `uploading`, which is told
    /// the path that the file would have. Other stores keep parts of such uploads where nothing lists them, and have rules of
    /// their own to remove them. Blocking. Gives what was removed.
    ///
    /// # Errors
    /// [`ObjectError::Away`]
    pub fn remove_partial(&self, under: &str, uploading: impl Fn(&Found) -> bool) -> Result<Vec<Found>, ObjectError> {
        let Some(folder) = &self.folder else { return Ok(Vec::new()) };
        let mut removed = Vec::new();
        let mut open = vec![folder.join(under)];
        while let Some(at) = open.pop() {
            let away = |error: std::io::Error| ObjectError::Away {
                location: at.display().to_string(),
                reason: error.to_string(),
            };
            let entries = match std::fs::read_dir(&at) {
                Ok(entries) => entries,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => return Err(away(error)),
            };
            for entry in entries {
                let path = entry.map_err(away)?.path();
                if path.is_dir() {
                    open.push(path);
                    continue;
                }
                // While a file is written its name has a number behind it.
                let name = path.strip_prefix(folder).ok().and_then(FilePath::to_str);
                let Some((name, _)) = name.and_then(|name| name.split_once(PARTIAL)) else { continue };
                let facts = match path.metadata() {
                    // It has come to its end meanwhile.
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                    facts => facts.map_err(away)?,
                };
                let modified = facts.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
                let modified_micros = modified.and_then(|at| i64::try_from(at.as_micros()).ok()).unwrap_or_default();
                let found = Found { path: name.to_owned(), bytes: facts.len(), modified_micros };
                if !uploading(&found) {
                    std::fs::remove_file(&path).map_err(away)?;
                    removed.push(found);
                }
            }
        }
        Ok(removed)
    }

    fn wait<T: Send + 'static>(&self, request: impl Future<Output = T> + Send + 'static) -> Result<T, ObjectError> {
        let (sender, receiver) = mpsc::sync_channel(1);
        self.handle.spawn(async move {
            // Who asked waits below.
            let _ = sender.send(request.await);
        });
        let wait = || receiver.recv();
        let answer = match Handle::try_current() {
            Ok(handle) if handle.runtime_flavor() == RuntimeFlavor::MultiThread => tokio::task::block_in_place(wait),
            _ => wait(),
        };
        answer.map_err(|_| ObjectError::Away { location: self.location.clone(), reason: "it is closed".to_owned() })
    }

    fn failed(&self, path: &str, error: &Error) -> ObjectError {
        match error {
            Error::NotFound { .. } => ObjectError::Missing(path.to_owned()),
            error => self.away(error),
        }
    }

    fn away(&self, error: &Error) -> ObjectError {
        ObjectError::Away { location: self.location.clone(), reason: error.to_string() }
    }
}

/// How to connect: what variables of the environment with this prefix say, and our bounds where they say nothing.
fn client_options(prefix: &str) -> ClientOptions {
    let mut options = ClientOptions::default().with_timeout(REQUEST_TIMEOUT).with_connect_timeout(CONNECT_TIMEOUT);
    for (name, value) in std::env::vars_os() {
        let key = name.to_str().and_then(|name| name.strip_prefix(prefix)).map(str::to_ascii_lowercase);
        if let (Some(Ok(key)), Some(value)) = (key.map(|key| key.parse::<ClientConfigKey>()), value.to_str()) {
            options = options.with_config(key, value);
        }
    }
    options
}

/// Writes a long file, part by part; it is there when all are. What goes wrong with one part costs that part. An upload that
/// is not known any more has come to its end without our being told, or not: then all is written again.
async fn put_parts(store: &dyn ObjectStore, at: &Path, bytes: &Bytes) -> Result<(), Error> {
    let may_help = |error: &Error| has_broken_off(error) || matches!(error, Error::NotFound { .. });
    again(move || put_parts_once(store, at, bytes), may_help).await
}

async fn put_parts_once(store: &dyn ObjectStore, at: &Path, bytes: &Bytes) -> Result<(), Error> {
    let mut upload = store.put_multipart(at).await?;
    let parts = (0..bytes.len()).step_by(PART_BYTES);
    let parts: Vec<_> = parts.map(|from| bytes.slice(from..bytes.len().min(from + PART_BYTES))).collect();
    let parts: Vec<_> = parts.into_iter().map(|part| upload.put_part(PutPayload::from(part))).collect();
    let sent = futures::stream::iter(parts).buffer_unordered(PARTS_AT_ONCE).try_collect::<Vec<()>>().await;
    let ended = match sent {
        Ok(_) => upload.complete().await.map(drop),
        Err(error) => Err(error),
    };
    if ended.is_err()
        && let Err(error) = upload.abort().await
    {
        tracing::warn!(%error, path = %at, "parts of an upload that did not end may stay in the store");
    }
    ended
}

/// Reads a long file, part by part.
async fn get_parts(store: &dyn ObjectStore, at: &Path, bytes: u64) -> Result<Bytes, Error> {
    let part = |from: u64| store.get_range(at, from..bytes.min(from + PART_BYTES as u64));
    let parts: Vec<_> = (0..bytes).step_by(PART_BYTES).map(part).collect();
    let parts: Vec<Bytes> = futures::stream::iter(parts).buffered(PARTS_AT_ONCE).try_collect().await?;
    Ok(parts.concat().into())
}

/// Asks again where that `may_help`: the store's client does so itself until the head of an answer is there, and for the
/// content of files.
async fn again<T, R: Future<Output = Result<T, Error>>>(
    ask: impl Fn() -> R,
    may_help: impl Fn(&Error) -> bool,
) -> Result<T, Error> {
    let mut tries = 1;
    loop {
        match ask().await {
            Err(error) if tries < BROKEN_TRIES_MAX && may_help(&error) => {
                tracing::info!(%error, tries, "a request to the object store is made again");
                tries += 1;
                tokio::time::sleep(BROKEN_PAUSE).await;
            }
            other => return other,
        }
    }
}

/// Whether an answer ended in its middle.
fn has_broken_off(error: &Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(this) = cause {
        if let Some(error) = this.downcast_ref::<HttpError>() {
            return !matches!(error.kind(), HttpErrorKind::Connect | HttpErrorKind::Timeout);
        }
        cause = this.source();
    }
    false
}

/// Makes a file of a folder, and the folders above it, survive a power loss.
fn sync(folder: &FilePath, path: &str) -> std::io::Result<()> {
    let file = folder.join(path);
    File::open(&file)?.sync_all()?;
    for above in file.ancestors().skip(1) {
        File::open(above)?.sync_all()?;
        if above == folder {
            break;
        }
    }
    Ok(())
}
