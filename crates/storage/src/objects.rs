//! An object store, for callers that may block: cold files and backups go there.
//!
//! Requests run on threads of their own: storage has none that wait for a network.

use std::fmt;
use std::fs::File;
use std::ops::Range;
use std::path::{Path as FilePath, PathBuf};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{ClientOptions, Error, ObjectStore, ObjectStoreExt, ObjectStoreScheme, PutPayload, RetryConfig};
use thiserror::Error as ThisError;
use tokio::runtime::{Handle, Runtime, RuntimeFlavor};
use url::Url;

/// How long one request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a request is tried again: a store that is away shall not hold a statement for minutes.
const RETRY_TIMEOUT: Duration = Duration::from_secs(20);
const RETRIES_MAX: usize = 6;
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
    /// all else that the kind of store knows come from the environment, or from the platform's identity.
    ///
    /// # Errors
    /// [`ObjectError::Away`] where the URL or the environment does not make one.
    pub fn at_url(url: &str) -> Result<Arc<Self>, ObjectError> {
        let away = |reason: String| ObjectError::Away { location: url.to_owned(), reason };
        let parsed = Url::parse(url).map_err(|error| away(error.to_string()))?;
        let (scheme, path) = ObjectStoreScheme::parse(&parsed).map_err(|error| away(error.to_string()))?;
        let retry = RetryConfig { max_retries: RETRIES_MAX, retry_timeout: RETRY_TIMEOUT, ..RetryConfig::default() };
        let client = ClientOptions::default().with_timeout(REQUEST_TIMEOUT).with_connect_timeout(CONNECT_TIMEOUT);
        let built = match scheme {
            ObjectStoreScheme::Local => {
                let folder = parsed.to_file_path().map_err(|()| away("it is no path of a folder".to_owned()))?;
                return Self::in_folder(&folder);
            }
            ObjectStoreScheme::AmazonS3 => {
                let client = if allows_http("AWS_ALLOW_HTTP") { client.with_allow_http(true) } else { client };
                let builder = AmazonS3Builder::from_env().with_url(url).with_retry(retry).with_client_options(client);
                builder.build().map(|store| Arc::new(store) as Arc<dyn ObjectStore>)
            }
            ObjectStoreScheme::MicrosoftAzure => {
                let client = if allows_http("AZURE_ALLOW_HTTP") { client.with_allow_http(true) } else { client };
                let builder =
                    MicrosoftAzureBuilder::from_env().with_url(url).with_retry(retry).with_client_options(client);
                builder.build().map(|store| Arc::new(store) as Arc<dyn ObjectStore>)
            }
            ObjectStoreScheme::GoogleCloudStorage => {
                let builder =
                    GoogleCloudStorageBuilder::from_env().with_url(url).with_retry(retry).with_client_options(client);
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
        self.wait(async move { store.put(&at, PutPayload::from(bytes)).await })?
            .map_err(|error| self.failed(path, &error))?;
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
    /// [`ObjectError::Missing`], [`ObjectError::Away`]
    pub fn get_all(&self, path: &str, bytes_max: u64) -> Result<Bytes, ObjectError> {
        let (store, at, location) = (Arc::clone(&self.store), Path::from(path), self.location.clone());
        let read = self.wait(async move {
            let found = store.get(&at).await?;
            if found.meta.size > bytes_max {
                return Ok(Err(found.meta.size));
            }
            found.bytes().await.map(Ok)
        })?;
        let read = read.map_err(|error| self.failed(path, &error))?;
        read.map_err(|bytes| ObjectError::Away { location, reason: format!("{path} has {bytes} bytes") })
    }

    /// Removes a file; one that is not there is removed already. Blocking.
    ///
    /// # Errors
    /// [`ObjectError::Away`]
    pub fn delete(&self, path: &str) -> Result<(), ObjectError> {
        let (store, at) = (Arc::clone(&self.store), Path::from(path));
        match self.wait(async move { store.delete(&at).await })? {
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
        let found = self.wait(async move { store.list(Some(&at)).try_collect::<Vec<_>>().await })?;
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
        let found = self.wait(async move { store.list_with_delimiter(None).await })?;
        let found = found.map_err(|error| self.failed("", &error))?;
        Ok(found.common_prefixes.iter().map(ToString::to_string).collect())
    }

    /// Removes what uploads into a folder have left that did not end, unless `uploading` says that one still goes on. Other
    /// stores do so by themselves. Blocking. Gives how many.
    ///
    /// # Errors
    /// [`ObjectError::Away`]
    pub fn remove_partial(&self, under: &str, uploading: impl Fn(&str) -> bool) -> Result<usize, ObjectError> {
        let Some(folder) = &self.folder else { return Ok(0) };
        let mut removed = 0;
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
                let partial = name.and_then(|name| name.split_once(PARTIAL)).map(|(name, _)| name);
                if partial.is_some_and(|name| !uploading(name)) {
                    std::fs::remove_file(&path).map_err(away)?;
                    removed += 1;
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
            error => ObjectError::Away { location: self.location.clone(), reason: error.to_string() },
        }
    }
}

fn allows_http(variable: &str) -> bool {
    std::env::var(variable).is_ok_and(|value| value == "true" || value == "1")
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
