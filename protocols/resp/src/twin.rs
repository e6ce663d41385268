//! The door over a keyspace without a log: every entry is applied as it is proposed. For tests and outside suites.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use perigee_keyspace::twin::NothingCold;
use perigee_keyspace::{Keyspace, Proposer, Reply, State, SubmitError};
use perigee_runtime::{Clock, SystemClock};
use perigee_types::{Hlc, LogIndex, Oid};
use tokio_util::sync::CancellationToken;

use crate::{Facts, Host, Identity, RespOptions, RespServer};

/// A host of nothing.
pub struct TwinHost {
    started: Instant,
    port: u16,
    password: Option<String>,
    stop: CancellationToken,
}

impl TwinHost {
    fn identity(&self) -> Identity {
        Identity { user: "default".into(), tenant: Oid(5), superuser: true }
    }
}

impl Host for TwinHost {
    fn default_identity(&self, _peer: Option<SocketAddr>) -> Option<Identity> {
        self.password.is_none().then(|| self.identity())
    }

    fn authenticate<'a>(
        &'a self,
        user: &'a str,
        password: &'a [u8],
        _peer: Option<SocketAddr>,
    ) -> BoxFuture<'a, Option<Identity>> {
        let right = user == "default" && self.password.as_ref().is_some_and(|known| known.as_bytes() == password);
        async move { right.then(|| self.identity()) }.boxed()
    }

    fn facts(&self) -> Facts {
        Facts {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime: self.started.elapsed(),
            run_id: "0123456789abcdef0123456789abcdef01234567".to_owned(),
            port: self.port,
            memory_rss: 64 << 20,
            memory_total: 8 << 30,
            ..Facts::default()
        }
    }

    fn shutdown(&self) -> Result<(), String> {
        self.stop.cancel();
        Ok(())
    }

    fn sql<'a>(&'a self, _identity: &'a Identity, _statement: &'a str, _args: &'a [Bytes]) -> BoxFuture<'a, Reply> {
        async { Reply::error("ERR there are no tables here") }.boxed()
    }
}

/// Applies what is proposed.
struct AtOnce {
    keyspace: Arc<Keyspace>,
    clock: SystemClock,
    index: AtomicU64,
}

impl Proposer for AtOnce {
    fn propose(&self, payload: Bytes) -> BoxFuture<'static, Result<(), SubmitError>> {
        let index = self.index.fetch_add(1, Ordering::Relaxed) + 1;
        let time = Hlc::from_micros(self.clock.now_micros());
        let applied = self.keyspace.apply(LogIndex(index), time, &payload);
        self.keyspace.publish();
        async move {
            applied.map(drop).map_err(|fault| {
                tracing::error!(error = %fault, "an entry could not be applied");
                SubmitError::Unknown
            })
        }
        .boxed()
    }

    fn check_room(&self, _bytes: usize) -> Result<(), String> {
        Ok(())
    }

    fn relieved(&self) -> BoxFuture<'static, ()> {
        async {}.boxed()
    }
}

/// A door, and its keyspace running. With a password, clients have to say it.
///
/// # Errors
/// See [`RespServer::new`].
pub fn door(
    port: u16,
    password: Option<String>,
    options: RespOptions,
    stop: CancellationToken,
) -> Result<Arc<RespServer>, String> {
    let host = Arc::new(TwinHost { started: Instant::now(), port, password, stop });
    let (keyspace, line) = Keyspace::new(State::default(), Box::new(NothingCold), Arc::new(SystemClock::new()));
    let proposer = AtOnce { keyspace: Arc::clone(&keyspace), clock: SystemClock::new(), index: AtomicU64::new(0) };
    tokio::spawn(Arc::clone(&keyspace).run(line, Arc::new(proposer)));
    RespServer::new(keyspace, host, options)
}
