//! What the Redis door asks of the node.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use perigee_engine::{Authentication, Engine, RedisUserError, WholeResult};
use perigee_keyspace::Reply;
use perigee_resp::{Account, DEFAULT, Durability, Edit, Facts, ForeignCall, ForeignMessage, Host, TableKey};
use perigee_runtime::{Clock, SystemClock};
use perigee_security::scram::ScramVerifier;
use perigee_types::catalog::{BOOTSTRAP_ROLE, Catalog, Object, Role};
use perigee_types::text::{OutputSettings, format};
use perigee_types::{Oid, SqlError, SqlState, SqlType, TenantId, Value};
use tokio::sync::{Notify, Semaphore};

use crate::gateway::Gateway;

/// The database whose keys a connection sees.
const DATABASE: &str = "postgres";
/// Passwords that are checked at a time, whoever guesses.
static CHECKS: Semaphore = Semaphore::const_new(4);

/// The node behind the Redis door.
pub(crate) struct RedisHost {
    engine: Arc<Engine>,
    gateway: Gateway,
    durability: Durability,
    port: u16,
    run_id: String,
    started: Instant,
    memory_total: u64,
    shutdown: Arc<Notify>,
}

impl RedisHost {
    /// `shutdown` is notified when a client wants the node to stop.
    pub(crate) fn new(
        engine: Arc<Engine>,
        gateway: Gateway,
        config: &perigee_config::Config,
        memory_total: u64,
        port: u16,
        shutdown: Arc<Notify>,
    ) -> Self {
        let run = engine.started_micros().unsigned_abs();
        Self {
            engine,
            gateway,
            durability: match config.log.durability {
                perigee_config::Durability::Fsync => Durability::Fsync,
                perigee_config::Durability::Interval => Durability::Interval,
            },
            port,
            run_id: format!("{run:040x}"),
            started: Instant::now(),
            memory_total,
            shutdown,
        }
    }

    /// The role of a user's name: `default` is Redis's name for the first one, which clients send without being told.
    fn role<'a>(catalog: &'a Catalog, name: &str) -> Option<&'a Arc<Role>> {
        match name {
            DEFAULT => catalog.role_of(BOOTSTRAP_ROLE),
            name => catalog.role(name),
        }
    }

    fn account_in(&self, catalog: &Catalog, role: &Role) -> Account {
        let is_first = role.oid == BOOTSTRAP_ROLE;
        let mut user = catalog.redis_user(role);
        if is_first && role.redis.is_none() && self.trusts(None) {
            // As the server says of itself: it does not ask.
            user.nopass = true;
        }
        let tenant = catalog.database(DATABASE).map_or(0, |database| database.tenant.0);
        let now = i64::try_from(SystemClock::new().now_micros()).unwrap_or(i64::MAX);
        Account {
            role: role.oid,
            name: if is_first { DEFAULT.into() } else { role.name.as_str().into() },
            tenant: Oid(tenant),
            superuser: role.superuser,
            login: role.login,
            expired: role.valid_until.is_some_and(|until| until < now),
            user,
            version: catalog.version.0,
        }
    }

    /// Reads a row by `table:{name}:{values of its primary key}`, as the user's role.
    async fn row(&self, role: Oid, tenant: Oid, key: &[u8]) -> TableKey {
        let Some(names) = std::str::from_utf8(key).ok().and_then(|key| key.strip_prefix("table:")) else {
            return TableKey::None;
        };
        let catalog = self.engine.store().catalog();
        let Some((name, values)) = names.split_once(':') else { return TableKey::None };
        let (schema, name) = name.split_once('.').unwrap_or(("public", name));
        let tenant = TenantId(tenant.0);
        let schema = catalog.schema(tenant, schema).cloned();
        let found = schema.as_ref().and_then(|schema| Some((schema, catalog.relation(schema.oid, name)?)));
        let Some((schema, Object::Table(table))) = found else { return TableKey::None };
        let index = table.primary_key.and_then(|index| catalog.index(index).cloned());
        let Some(columns) = index.map(|index| index.columns.clone()) else { return TableKey::None };
        // The last value takes what is left: it may have colons.
        let values: Vec<Bytes> =
            values.splitn(columns.len(), ':').map(|value| Bytes::copy_from_slice(value.as_bytes())).collect();
        let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
        let column = |number: &u16| table.columns.iter().find(|column| column.number == *number);
        let conditions: Vec<String> = columns
            .iter()
            .filter_map(column)
            .zip(1..)
            .map(|(column, at)| format!("{} = ${at}", quoted(&column.name)))
            .collect();
        if values.len() != columns.len() || conditions.len() != columns.len() {
            return TableKey::None;
        }
        let from = format!("{}.{}", quoted(&schema.name), quoted(&table.name));
        let statement = format!("SELECT * FROM {from} WHERE {}", conditions.join(" AND "));
        match self.once(role, &statement, &values).await {
            Ok(result) => TableKey::Row(result.rows.first().map(|row| {
                let cells = row.iter().zip(&result.columns).filter(|(value, _)| !value.is_null());
                let text = |text: String| Bytes::from(text.into_bytes());
                cells
                    .map(|(value, (name, ty))| {
                        (text(name.clone()), text(format(value, ty, &OutputSettings::default())))
                    })
                    .collect()
            })),
            Err(error) => TableKey::Refused(refused(&error)),
        }
    }

    async fn once(&self, role: Oid, statement: &str, args: &[Bytes]) -> Result<WholeResult, SqlError> {
        let settings = vec![("application_name".to_owned(), "redis".to_owned())];
        let utf8 = |arg| std::str::from_utf8(arg);
        let args =
            args.iter().map(|arg| utf8(arg)).collect::<Result<Vec<_>, _>>().map_err(|_| {
                SqlError::new(SqlState::CharacterNotInRepertoire, "arguments of a statement must be UTF-8")
            })?;
        self.engine.run_once(role, settings, statement, &args).await
    }

    async fn run(&self, role: Oid, statement: &str, args: &[Bytes]) -> Reply {
        match self.once(role, statement, args).await {
            Ok(result) if result.columns.is_empty() => Reply::Status(result.tag.into()),
            Ok(result) => {
                let names = result.columns.iter().map(|(name, _)| Reply::bulk(name)).collect();
                let row = |row: &perigee_types::Row| {
                    Reply::Array(row.iter().zip(&result.columns).map(|(value, (_, ty))| cell(value, ty)).collect())
                };
                let mut rows = vec![Reply::Array(names)];
                rows.extend(result.rows.iter().map(row));
                Reply::Array(rows)
            }
            Err(error) => refused(&error),
        }
    }
}

/// A value as a reply.
fn cell(value: &Value, ty: &SqlType) -> Reply {
    match value {
        Value::Null => Reply::Null,
        Value::Bool(value) => Reply::Boolean(*value),
        Value::Int2(value) => Reply::Integer(i64::from(*value)),
        Value::Int4(value) => Reply::Integer(i64::from(*value)),
        Value::Int8(value) => Reply::Integer(*value),
        Value::Float8(value) => Reply::Double(*value),
        value => Reply::bulk(format(value, ty, &OutputSettings::default())),
    }
}

/// An SQL error as Redis's clients read errors: one line, its SQLSTATE in front of the text.
fn refused(error: &SqlError) -> Reply {
    let text = error.message().replace(['\r', '\n'], " ");
    Reply::error(format!("ERR SQLSTATE {} {text}", error.state().code()))
}

/// Why a user was not changed, as one line with Redis's prefix.
fn unchanged(error: &RedisUserError) -> String {
    match error {
        RedisUserError::Refused(text) => text.clone(),
        RedisUserError::Sql(error) => {
            let prefix = match error.state() {
                SqlState::InsufficientPrivilege => "NOPERM",
                SqlState::SerializationFailure => "TRYAGAIN",
                _ => "ERR",
            };
            format!("{prefix} {}", error.message().replace(['\r', '\n'], " "))
        }
    }
}

impl Host for RedisHost {
    fn trusts(&self, peer: Option<SocketAddr>) -> bool {
        self.engine.trusts(peer)
    }

    fn users_version(&self) -> u64 {
        self.engine.store().catalog_version()
    }

    fn account(&self, name: &str) -> Option<Account> {
        let catalog = self.engine.store().catalog();
        let role = Self::role(&catalog, name).filter(|role| role.is_redis_user())?;
        Some(self.account_in(&catalog, role))
    }

    fn account_of(&self, role: Oid) -> Option<Account> {
        let catalog = self.engine.store().catalog();
        let role = catalog.role_of(role).filter(|role| role.is_redis_user())?;
        Some(self.account_in(&catalog, role))
    }

    fn accounts(&self) -> Vec<Account> {
        let catalog = self.engine.store().catalog();
        let roles = catalog.objects().filter_map(|object| match object {
            Object::Role(role) if role.is_redis_user() => Some(role),
            _ => None,
        });
        // A role that is called as Redis calls the first one cannot be named here.
        let is_named = |role: &&Arc<Role>| role.oid == BOOTSTRAP_ROLE || role.name != DEFAULT;
        roles.filter(is_named).map(|role| self.account_in(&catalog, role)).collect()
    }

    fn verify<'a>(&'a self, role: Option<Oid>, password: &'a [u8], peer: Option<SocketAddr>) -> BoxFuture<'a, bool> {
        async move {
            let catalog = self.engine.store().catalog();
            let role = role.and_then(|role| catalog.role_of(role));
            let verifier = match self.engine.authentication(role.map_or("", |role| &role.name), peer) {
                Ok(Authentication::Scram(verifier)) => verifier,
                // Nobody is asked for a password; who has one and says another is wrong all the same.
                Ok(Authentication::Trust) => match role.map(|role| &role.password) {
                    Some(Some(verifier)) => verifier.clone(),
                    Some(None) => return true,
                    None => return false,
                },
                Err(_) => return false,
            };
            let Ok(password) = std::str::from_utf8(password).map(str::to_owned) else { return false };
            let Ok(_turn) = CHECKS.acquire().await else { return false };
            // Thousands of rounds of a hash: not on a thread of the network.
            let matches = tokio::task::spawn_blocking(move || {
                verifier.parse::<ScramVerifier>().is_ok_and(|verifier| verifier.matches(&password))
            });
            matches.await.unwrap_or(false) && role.is_some()
        }
        .boxed()
    }

    fn set_user<'a>(&'a self, by: Oid, name: &'a str, edit: Edit) -> BoxFuture<'a, Result<(), String>> {
        async move {
            let catalog = self.engine.store().catalog();
            // The first superuser's name is what SQL calls it.
            let role = Self::role(&catalog, name).map_or_else(|| name.to_owned(), |role| role.name.clone());
            let edit =
                |catalog: &Catalog, role: Option<&Role>| edit(role.map(|role| self.account_in(catalog, role)).as_ref());
            self.engine.set_redis_user(by, &role, edit).await.map_err(|error| unchanged(&error))
        }
        .boxed()
    }

    fn drop_users<'a>(&'a self, by: Oid, names: &'a [String]) -> BoxFuture<'a, Result<usize, String>> {
        async move { self.engine.drop_redis_users(by, names).await.map_err(|error| unchanged(&error)) }.boxed()
    }

    fn facts(&self) -> Facts {
        let store = self.engine.store().statistics();
        Facts {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime: self.started.elapsed(),
            run_id: self.run_id.clone(),
            port: self.port,
            memory_rss: crate::status::resident_bytes().unwrap_or(0),
            memory_total: self.memory_total,
            applied_index: store.applied.0,
            checkpoint_ms: i64::try_from(store.checkpoint_micros / 1_000).unwrap_or(i64::MAX),
            ..Facts::default()
        }
    }

    fn durability(&self) -> Durability {
        self.durability
    }

    fn current(&self) -> Option<BoxFuture<'static, Result<(), String>>> {
        self.gateway.current()
    }

    fn elsewhere(&self, call: ForeignCall) -> Option<BoxFuture<'static, Result<Bytes, Option<String>>>> {
        self.gateway.elsewhere(&call)
    }

    fn tell_others(&self, message: ForeignMessage) {
        self.gateway.tell_others(message);
    }

    fn shutdown(&self) -> Result<(), String> {
        self.shutdown.notify_one();
        Ok(())
    }

    fn table_row<'a>(&'a self, role: Oid, tenant: Oid, key: &'a [u8]) -> BoxFuture<'a, TableKey> {
        self.row(role, tenant, key).boxed()
    }

    fn sql<'a>(&'a self, role: Oid, statement: &'a str, args: &'a [Bytes]) -> BoxFuture<'a, Reply> {
        self.run(role, statement, args).boxed()
    }
}
