//! What the connections of a door share.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use perigee_keyspace::{Effects, EventClass, Flags, Keyspace, Listener};
use perigee_types::Oid;
use tokio::sync::Notify;

use crate::acl::{AclLog, User};
use crate::client::{Client, Clients};
use crate::command::Entry;
use crate::config::Config;
use crate::host::Host;
use crate::monitor::Monitors;
use crate::pubsub::Hub;
use crate::session::Killed;
use crate::slowlog::SlowLog;
use crate::stats::Stats;
use crate::tracking::TrackingTable;

/// What others may send to a client that does not read, where `client-output-buffer-limit` says that nothing bounds it.
const PUSHED_BYTES_MAX: usize = 64 << 20;
/// The share of the server's memory that clients' buffers may take where `maxmemory-clients` does not say it.
const CLIENTS_SHARE: u64 = 4;

/// CLIENT PAUSE.
#[derive(Clone, Copy, Debug)]
struct Pause {
    until: Instant,
    all: bool,
}

/// See the module.
pub(crate) struct Shared {
    pub(crate) keyspace: Arc<Keyspace>,
    pub(crate) host: Arc<dyn Host>,
    pub(crate) clients: Clients,
    pub(crate) config: Config,
    pub(crate) acl_log: AclLog,
    /// The version of the users that connections were looked through for.
    pub(crate) users_version: AtomicU64,
    pub(crate) hub: Hub,
    pub(crate) tracking: TrackingTable,
    pub(crate) monitors: Monitors,
    pub(crate) slowlog: SlowLog,
    pub(crate) latency: crate::latency::Latency,
    pub(crate) stats: Stats,
    /// Whether the door says that it is a cluster of one shard.
    pub(crate) cluster_mode: bool,
    /// Bytes that the server may hold; zero where nobody said.
    memory_total: u64,
    pause: Mutex<Option<Pause>>,
    /// Whether there may be one.
    may_pause: AtomicBool,
    unpaused: Notify,
    /// Bytes of the keyspace, as of the last look.
    memory: AtomicU64,
    /// The most of them.
    pub(crate) memory_peak: AtomicU64,
}

impl Shared {
    pub(crate) fn new(keyspace: Arc<Keyspace>, host: Arc<dyn Host>, cluster_mode: bool) -> Self {
        Self {
            memory_total: host.facts().memory_total,
            keyspace,
            host,
            clients: Clients::default(),
            config: Config::new(),
            acl_log: AclLog::default(),
            users_version: AtomicU64::new(u64::MAX),
            hub: Hub::default(),
            tracking: TrackingTable::default(),
            monitors: Monitors::default(),
            slowlog: SlowLog::default(),
            latency: crate::latency::Latency::default(),
            stats: Stats::new(crate::command::count_all()),
            cluster_mode,
            pause: Mutex::default(),
            may_pause: AtomicBool::new(false),
            unpaused: Notify::new(),
            memory: AtomicU64::new(0),
            memory_peak: AtomicU64::new(0),
        }
    }

    /// Who a connection is before it says so, and whether that is enough.
    pub(crate) fn stranger(&self, peer: Option<SocketAddr>) -> (bool, Arc<User>) {
        let user = self.default_user();
        (user.on && user.nopass && self.host.trusts(peer), Arc::new(user))
    }

    /// Sends bytes to a client; one that does not read is ended.
    pub(crate) fn send(&self, client: &Client, bytes: &[u8]) {
        let waiting = client.send(|out| out.extend_from_slice(bytes));
        let limit = if client.is_pubsub() {
            *self.config.hot.pubsub_limit.read()
        } else {
            *self.config.hot.normal_limit.read()
        };
        let most = if limit.hard > 0 { limit.hard } else { PUSHED_BYTES_MAX };
        if waiting > most {
            tracing::info!(client = client.id, waiting, "closed: its output buffer is over the limit");
            client.kill(Killed::Now);
        }
    }

    /// Holds commands back until then: all, or those that write.
    pub(crate) fn pause(&self, time: Duration, all: bool) {
        let now = Instant::now();
        let until = now.checked_add(time).unwrap_or_else(|| now + Duration::from_secs(1 << 30));
        let mut pause = self.pause.lock();
        let before = pause.filter(|pause| pause.until > now);
        *pause = Some(match before {
            Some(before) => Pause { until: until.max(before.until), all: all || before.all },
            None => Pause { until, all },
        });
        self.may_pause.store(true, Ordering::Release);
    }

    /// Whether a call may write, or tell other nodes something.
    fn may_write(&self, tenant: Oid, entry: &Entry, args: &[Bytes]) -> bool {
        let named = args.get(1).map(|name| &**name).unwrap_or_default();
        match entry.spec.name {
            "publish" | "spublish" | "pfcount" => true,
            // They are logged, for their place in the line, and write no key.
            "eval_ro" | "evalsha_ro" | "fcall_ro" | "script|load" => false,
            "eval" => {
                let first = named.split(|byte| *byte == b'\n').next().unwrap_or_default();
                !(first.starts_with(b"#!") && first.windows(9).any(|word| word == b"no-writes"))
            }
            "evalsha" => !self.keyspace.with_state(|state| state.scripts.script_never_writes(tenant, named)),
            "fcall" => !self.keyspace.with_state(|state| state.scripts.function_never_writes(tenant, named)),
            _ => entry.spec.is_write() || entry.spec.flags.intersects(Flags::WRITE | Flags::MAY_REPLICATE),
        }
    }

    pub(crate) fn unpause(&self) {
        {
            let mut pause = self.pause.lock();
            *pause = None;
            self.may_pause.store(false, Ordering::Release);
        }
        self.unpaused.notify_waiters();
    }

    /// What a command has to wait for.
    pub(crate) fn paused_for(
        &self,
        tenant: Oid,
        entry: &Entry,
        args: &[Bytes],
    ) -> Option<impl Future<Output = ()> + Send + 'static> {
        if !self.may_pause.load(Ordering::Acquire) {
            return None;
        }
        let pause = (*self.pause.lock())?;
        if Instant::now() >= pause.until {
            return None;
        }
        let holds = (pause.all && !matches!(entry.spec.name, "client|unpause" | "client|pause" | "exec"))
            || self.may_write(tenant, entry, args);
        if !holds {
            return None;
        }
        // Looked at again often enough for an UNPAUSE.
        let until = pause.until.min(Instant::now() + Duration::from_millis(5));
        Some(async move { tokio::time::sleep_until(until.into()).await })
    }

    /// Whether writes that need memory are refused.
    pub(crate) fn is_out_of_memory(&self) -> bool {
        let max = self.config.hot.memory_max.load(Ordering::Relaxed);
        max > 0
            && !self.config.hot.evicts.load(Ordering::Relaxed)
            && self.keyspace.with_state(|state| state.memory()) + crate::info::MEMORY_BASE > max
    }

    /// Whether writes are refused because too few replicas have them.
    pub(crate) fn lacks_replicas(&self) -> bool {
        let min = self.config.hot.replicas_min.load(Ordering::Relaxed);
        min > 0 && self.host.facts().replicas < min
    }

    /// What is done every tenth of a second.
    pub(crate) fn tick(&self) {
        let memory = self.keyspace.with_state(|state| state.memory()) as u64;
        self.memory.store(memory, Ordering::Relaxed);
        self.memory_peak.fetch_max(memory, Ordering::Relaxed);
        self.settle_users(None);
        self.tracking.trim(self, self.config.hot.tracking_keys_max.load(Ordering::Relaxed));
        let timeout_ms = u64::from(self.config.hot.timeout_s.load(Ordering::Relaxed)) * 1_000;
        let mut held = 0_u64;
        let clients = self.clients.all();
        for client in &clients {
            self.look_after(client, timeout_ms);
            held += client.memory() as u64;
        }
        let most = self.clients_bytes_max();
        if held > most {
            self.evict_clients(clients, held - most);
        }
    }

    /// What the buffers of all clients may hold (`maxmemory-clients`).
    pub(crate) fn clients_bytes_max(&self) -> u64 {
        let share = |total: u64, percent: u64| total.saturating_mul(percent) / 100;
        let set = self.config.get_by_name("maxmemory-clients");
        let known = match set.strip_suffix('%') {
            Some(percent) => {
                let max = self.config.hot.memory_max.load(Ordering::Relaxed) as u64;
                share(max, percent.parse().unwrap_or(0))
            }
            None => set.parse().unwrap_or(0),
        };
        match (known, self.memory_total / CLIENTS_SHARE) {
            (0, 0) => u64::MAX,
            (0, share) => share,
            (known, _) => known,
        }
    }

    /// Ends those who hold the most, until so many bytes are free.
    fn evict_clients(&self, clients: Vec<Arc<Client>>, bytes: u64) {
        let may_go = |client: &Arc<Client>| client.killed().is_none() && !client.view.lock().no_evict;
        let mut sizes: Vec<(usize, Arc<Client>)> =
            clients.into_iter().filter(may_go).map(|client| (client.memory(), client)).collect();
        sizes.sort_unstable_by_key(|(size, client)| (std::cmp::Reverse(*size), client.id));
        let mut freed = 0;
        for (size, client) in sizes {
            if freed >= bytes || size == 0 {
                return;
            }
            tracing::warn!(client = client.id, size, "closed: the buffers of clients are over maxmemory-clients");
            freed += size as u64;
            client.kill(Killed::Now);
            self.stats.evicted_clients.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Adds up what went over a connection.
    pub(crate) fn add_up(&self, client: &Client) {
        let (read, sent) = (client.read_bytes.swap(0, Ordering::Relaxed), client.sent_bytes.swap(0, Ordering::Relaxed));
        self.stats.read_bytes.fetch_add(read, Ordering::Relaxed);
        self.stats.sent_bytes.fetch_add(sent, Ordering::Relaxed);
    }

    fn look_after(&self, client: &Client, timeout_ms: u64) {
        /// A client that takes nothing of what waits for it for this long is ended.
        const WRITE_STALL_MS: u64 = 120_000;
        self.add_up(client);
        let now = client.age_ms();
        let waiting = client.waiting_bytes();
        let pubsub = client.is_pubsub();
        let limit = if pubsub { *self.config.hot.pubsub_limit.read() } else { *self.config.hot.normal_limit.read() };
        if limit.hard > 0 && waiting > limit.hard {
            return client.kill(Killed::Now);
        }
        if limit.soft > 0 && waiting > limit.soft {
            match client.over_since_ms.load(Ordering::Relaxed) {
                0 => client.over_since_ms.store(now.max(1), Ordering::Relaxed),
                since if now.saturating_sub(since) > limit.soft_seconds * 1_000 => client.kill(Killed::Now),
                _ => {}
            }
        } else {
            client.over_since_ms.store(0, Ordering::Relaxed);
        }
        if waiting == 0 {
            client.written_ms.store(now, Ordering::Relaxed);
        } else if now.saturating_sub(client.written_ms.load(Ordering::Relaxed)) > WRITE_STALL_MS {
            tracing::info!(client = client.id, "closed: it does not read");
            client.kill(Killed::Now);
        }
        let idle = now.saturating_sub(client.active_ms.load(Ordering::Relaxed));
        if timeout_ms > 0 && idle > timeout_ms && !pubsub {
            let view = client.view.lock();
            if !view.blocked && !view.monitor {
                drop(view);
                client.kill(Killed::Now);
            }
        }
    }

    /// Publishes keyspace events.
    fn notify(&self, effects: &Effects) {
        let wanted = self.config.hot.events();
        for notification in &effects.notifications {
            if notification.class.intersects(EventClass::EXPIRED) {
                self.stats.expired_total.fetch_add(1, Ordering::Relaxed);
            }
            if notification.class.intersects(EventClass::EVICTED) {
                self.stats.evicted_total.fetch_add(1, Ordering::Relaxed);
            }
            let tenant = notification.db.tenant;
            if !wanted.intersects(notification.class) || !self.hub.has_subscribers(tenant) {
                continue;
            }
            let db = notification.db.number;
            if wanted.contains(EventClass::KEYSPACE) {
                let mut channel = format!("__keyspace@{db}__:").into_bytes();
                channel.extend_from_slice(&notification.key);
                self.hub.publish(self, tenant, &channel, notification.event.as_bytes(), false);
            }
            if wanted.contains(EventClass::KEYEVENT) {
                let channel = format!("__keyevent@{db}__:{}", notification.event);
                self.hub.publish(self, tenant, channel.as_bytes(), &notification.key, false);
            }
        }
    }
}

impl Listener for Shared {
    fn events(&self) -> EventClass {
        // INFO counts keys that were removed by themselves.
        EventClass::EXPIRED | EventClass::EVICTED | self.config.hot.events()
    }

    fn effects(&self, effects: &Effects, client: Option<u64>) {
        effects.settings.iter().for_each(|(name, value)| self.config.warm(name, value));
        self.notify(effects);
        for (tenant, channel, message, sharded) in &effects.published {
            self.hub.publish(self, *tenant, channel, message, *sharded);
        }
        // Before the changes: a script may have changed what it had read.
        if let Some(client) = client.filter(|_| !effects.is_without_calls()).and_then(|id| self.clients.get(id)) {
            self.script_calls(effects, &client);
        }
        self.tracking.changed(self, effects, client);
    }
}

/// What an async command of the door gives.
pub(crate) type Answer<'a> =
    BoxFuture<'a, Result<perigee_keyspace::Result<perigee_keyspace::Reply>, crate::session::Ended>>;
