//! The door over a keyspace without a log: every entry is applied as it is proposed. For tests and outside suites. Its one
//! table is `twin`, with one row.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use perigee_keyspace::twin::NothingCold;
use perigee_keyspace::{Keyspace, Proposer, Reply, State, SubmitError};
use perigee_runtime::{Clock, SystemClock};
use perigee_telemetry::trace::Parent;
use perigee_types::catalog::RedisUser;
use perigee_types::{Hlc, LogIndex, Oid};
use tokio_util::sync::CancellationToken;

use crate::{Account, DEFAULT, Edit, Facts, Host, RespOptions, RespServer, TableKey};

/// A host of nothing but users.
pub struct TwinHost {
    started: Instant,
    port: u16,
    password: Option<String>,
    stop: CancellationToken,
    users: Mutex<BTreeMap<String, (Oid, RedisUser)>>,
    version: AtomicU64,
}

/// The role of the default user.
const FIRST_ROLE: Oid = Oid(10);

impl TwinHost {
    fn new(port: u16, password: Option<String>, stop: CancellationToken) -> Self {
        let default = RedisUser { nopass: password.is_none(), ..RedisUser::with_rules("~* &* +@all") };
        let users = Mutex::new(BTreeMap::from([(DEFAULT.to_owned(), (FIRST_ROLE, default))]));
        Self { started: Instant::now(), port, password, stop, users, version: AtomicU64::new(1) }
    }

    fn account(&self, name: &str, role: Oid, user: &RedisUser) -> Account {
        Account {
            role,
            name: name.into(),
            tenant: Oid(5),
            superuser: role == FIRST_ROLE,
            login: true,
            expired: false,
            user: user.clone(),
            version: self.users_version(),
        }
    }
}

impl Host for TwinHost {
    fn trusts(&self, _peer: Option<SocketAddr>) -> bool {
        self.password.is_none()
    }

    fn users_version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    fn account(&self, name: &str) -> Option<Account> {
        self.users.lock().get(name).map(|(role, user)| self.account(name, *role, user))
    }

    fn account_of(&self, role: Oid) -> Option<Account> {
        let users = self.users.lock();
        let (name, (role, user)) = users.iter().find(|(_, (known, _))| *known == role)?;
        Some(self.account(name, *role, user))
    }

    fn accounts(&self) -> Vec<Account> {
        self.users.lock().iter().map(|(name, (role, user))| self.account(name, *role, user)).collect()
    }

    fn verify<'a>(&'a self, role: Option<Oid>, password: &'a [u8], _peer: Option<SocketAddr>) -> BoxFuture<'a, bool> {
        let right = self.password.as_ref().is_none_or(|known| known.as_bytes() == password);
        std::future::ready(right && role == Some(FIRST_ROLE)).boxed()
    }

    fn set_user<'a>(&'a self, _by: Oid, name: &'a str, edit: Edit) -> BoxFuture<'a, Result<(), String>> {
        let change = || {
            let mut users = self.users.lock();
            let known = users.get(name).map(|(role, user)| self.account(name, *role, user));
            let version = self.version.load(Ordering::Acquire) + 1;
            let role = known.as_ref().map_or(Oid(u32::try_from(version).unwrap_or(0) + 20_000), |known| known.role);
            users.insert(name.to_owned(), (role, edit(known.as_ref())?));
            self.version.store(version, Ordering::Release);
            Ok(())
        };
        std::future::ready(change()).boxed()
    }

    fn drop_users<'a>(&'a self, _by: Oid, names: &'a [String]) -> BoxFuture<'a, Result<usize, String>> {
        let mut users = self.users.lock();
        let count = names.iter().filter(|name| users.remove(*name).is_some()).count();
        self.version.fetch_add(1, Ordering::AcqRel);
        std::future::ready(Ok(count)).boxed()
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

    fn table_row<'a>(&'a self, _role: Oid, _tenant: Oid, key: &'a [u8]) -> BoxFuture<'a, TableKey> {
        let found = match key {
            b"table:twin:1" => TableKey::Row(Some(vec![(Bytes::from_static(b"id"), Bytes::from_static(b"1"))])),
            b"table:twin:2" => TableKey::Row(None),
            b"table:secret:1" => TableKey::Refused(Reply::error("NOPERM no right to read it")),
            _ => TableKey::None,
        };
        std::future::ready(found).boxed()
    }

    fn sql<'a>(&'a self, _role: Oid, _statement: &'a str, _args: &'a [Bytes]) -> BoxFuture<'a, Reply> {
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
    fn propose(&self, payload: Bytes, _traced: &[Parent]) -> BoxFuture<'static, Result<(), SubmitError>> {
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
    let host = Arc::new(TwinHost::new(port, password, stop));
    let (keyspace, line) = Keyspace::new(State::default(), Box::new(NothingCold), Arc::new(SystemClock::new()));
    let proposer = AtOnce { keyspace: Arc::clone(&keyspace), clock: SystemClock::new(), index: AtomicU64::new(0) };
    tokio::spawn(Arc::clone(&keyspace).run(line, Arc::new(proposer)));
    RespServer::new(keyspace, host, options)
}
