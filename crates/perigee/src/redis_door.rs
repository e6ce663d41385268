//! What the Redis door asks of the node.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use perigee_engine::{Authentication, ConnectRequest, Engine};
use perigee_keyspace::Reply;
use perigee_resp::{Durability, Facts, Host, Identity};
use perigee_security::scram::ScramVerifier;
use perigee_types::text::{OutputSettings, format};
use perigee_types::{Oid, SqlError, SqlType, Value};
use tokio::sync::Notify;

/// The database whose keys a connection sees.
const DATABASE: &str = "postgres";

/// The node behind the Redis door.
pub(crate) struct RedisHost {
    engine: Arc<Engine>,
    superuser: String,
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
        config: &perigee_config::Config,
        memory_total: u64,
        port: u16,
        shutdown: Arc<Notify>,
    ) -> Self {
        let run = engine.started_micros().unsigned_abs();
        Self {
            engine,
            superuser: config.security.superuser.clone(),
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

    fn identity(&self, user: &str) -> Option<Identity> {
        let catalog = self.engine.store().catalog();
        let role = catalog.role(user).filter(|role| role.login)?;
        let tenant = catalog.database(DATABASE)?.tenant;
        Some(Identity { user: user.into(), tenant: Oid(tenant.0), superuser: role.superuser })
    }

    /// The role of a user: `default` is Redis's name for the first one, which clients send without being told.
    fn role_of<'a>(&'a self, user: &'a str) -> &'a str {
        if user == "default" { &self.superuser } else { user }
    }

    async fn run(&self, identity: &Identity, statement: &str, args: &[Bytes]) -> Reply {
        let request = ConnectRequest {
            user: self.role_of(&identity.user).to_owned(),
            database: DATABASE.to_owned(),
            settings: vec![("application_name".to_owned(), "redis".to_owned())],
            ..ConnectRequest::default()
        };
        let Ok(args) = args.iter().map(|arg| std::str::from_utf8(arg)).collect::<Result<Vec<_>, _>>() else {
            return Reply::error("ERR arguments of a statement must be UTF-8");
        };
        match self.engine.run_once(request, statement, &args).await {
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

impl Host for RedisHost {
    fn default_identity(&self, peer: Option<SocketAddr>) -> Option<Identity> {
        match self.engine.authentication(&self.superuser, peer) {
            Ok(Authentication::Trust) => self.identity(&self.superuser),
            _ => None,
        }
    }

    fn authenticate<'a>(
        &'a self,
        user: &'a str,
        password: &'a [u8],
        peer: Option<SocketAddr>,
    ) -> BoxFuture<'a, Option<Identity>> {
        async move {
            let user = self.role_of(user);
            match self.engine.authentication(user, peer).ok()? {
                Authentication::Trust => self.identity(user),
                Authentication::Scram(verifier) => {
                    let password = std::str::from_utf8(password).ok()?.to_owned();
                    // Thousands of rounds of a hash: not on a thread of the network.
                    let matches = tokio::task::spawn_blocking(move || {
                        verifier.parse::<ScramVerifier>().is_ok_and(|verifier| verifier.matches(&password))
                    });
                    if matches.await.unwrap_or(false) { self.identity(user) } else { None }
                }
            }
        }
        .boxed()
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

    fn shutdown(&self) -> Result<(), String> {
        self.shutdown.notify_one();
        Ok(())
    }

    fn sql<'a>(&'a self, identity: &'a Identity, statement: &'a str, args: &'a [Bytes]) -> BoxFuture<'a, Reply> {
        self.run(identity, statement, args).boxed()
    }
}
