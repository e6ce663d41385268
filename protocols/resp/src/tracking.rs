//! CLIENT TRACKING: who remembers which keys, and who is told that they have changed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use indexmap::IndexSet;
use parking_lot::Mutex;
use perigee_keyspace::Effects;
use perigee_types::Oid;
use rustc_hash::{FxBuildHasher, FxHashMap, FxHashSet};

use crate::client::Client;
use crate::codec::reply;
use crate::shared::Shared;

/// The channel on which RESP2 clients are told.
const CHANNEL: &[u8] = b"__redis__:invalidate";

/// A client that tracks.
#[derive(Clone, Debug)]
struct Tracker {
    client: Arc<Client>,
    redirect: u64,
    noloop: bool,
    bcast: bool,
}

#[derive(Debug, Default)]
struct Tenant {
    /// Who has read a key.
    keys: FxHashMap<Bytes, FxHashSet<u64>>,
    items: usize,
    /// Who wants to hear of all keys with a prefix.
    prefixes: BTreeMap<Bytes, FxHashSet<u64>>,
    trackers: FxHashMap<u64, Tracker>,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct TrackingTable {
    /// Whether `tenants` has any. Who tracks reads keys only behind it, so who changes them later sees it.
    is_any: AtomicBool,
    tenants: Mutex<FxHashMap<Oid, Tenant>>,
}

impl TrackingTable {
    /// A client begins to track, or tracks otherwise.
    pub(crate) fn start(&self, client: &Arc<Client>, redirect: u64, noloop: bool, prefixes: Option<&[Bytes]>) {
        let mut tenants = self.tenants.lock();
        self.is_any.store(true, Ordering::Release);
        let tenant = tenants.entry(client.tenant()).or_default();
        let tracker = Tracker { client: Arc::clone(client), redirect, noloop, bcast: prefixes.is_some() };
        tenant.trackers.insert(client.id, tracker);
        for prefix in prefixes.unwrap_or_default() {
            tenant.prefixes.entry(prefix.clone()).or_default().insert(client.id);
        }
    }

    /// A client tracks no more.
    pub(crate) fn stop(&self, id: u64, tenant: Oid) {
        let mut tenants = self.tenants.lock();
        let Some(found) = tenants.get_mut(&tenant) else { return };
        if found.trackers.remove(&id).is_none() {
            return;
        }
        found.prefixes.retain(|_, clients| {
            clients.remove(&id);
            !clients.is_empty()
        });
        // Keys that it has read are forgotten as they change.
        if found.trackers.is_empty() {
            tenants.remove(&tenant);
            self.is_any.store(!tenants.is_empty(), Ordering::Release);
        }
    }

    /// Remembers that a client is about to read keys.
    pub(crate) fn remember(&self, shared: &Shared, client: &Client, keys: &[Bytes]) {
        let keys_max = shared.config.hot.tracking_keys_max.load(Ordering::Relaxed);
        let mut tenants = self.tenants.lock();
        let Some(tenant) = tenants.get_mut(&client.tenant()) else { return };
        for key in keys {
            let clients = match tenant.keys.get_mut(key) {
                Some(clients) => clients,
                None => tenant.keys.entry(Bytes::copy_from_slice(key)).or_default(),
            };
            tenant.items += usize::from(clients.insert(client.id));
            // One more than may be: somebody is told that a key has changed which has not.
            if keys_max > 0 && tenant.keys.len() > keys_max {
                let Some(gone) = tenant.keys.keys().next().cloned() else { continue };
                tenant.invalidate(shared, &gone, None);
            }
        }
    }

    /// Tells of what was changed, by `writer` if it is known.
    pub(crate) fn changed(&self, shared: &Shared, effects: &Effects, writer: Option<u64>) {
        if !self.is_any.load(Ordering::Acquire) {
            return;
        }
        let mut tenants = self.tenants.lock();
        for db in &effects.flushed {
            if let Some(tenant) = tenants.get_mut(&db.tenant) {
                tenant.forget_all(shared);
            }
        }
        // One command may change a million keys, and everybody waits for this.
        let mut broadcasts: FxHashMap<Oid, IndexSet<&[u8], FxBuildHasher>> = FxHashMap::default();
        for (db, key) in &effects.touched {
            let Some(tenant) = tenants.get_mut(&db.tenant) else { continue };
            tenant.invalidate(shared, key, writer);
            if !tenant.prefixes.is_empty() {
                broadcasts.entry(db.tenant).or_default().insert(&**key);
            }
        }
        for (tenant, keys) in broadcasts {
            if let Some(tenant) = tenants.get(&tenant) {
                tenant.broadcast(shared, &keys, writer);
            }
        }
    }

    /// Behind FLUSHALL: keys that were read and did not exist are forgotten too.
    pub(crate) fn flush(&self, shared: &Shared, tenant: Oid) {
        if let Some(tenant) = self.tenants.lock().get_mut(&tenant).filter(|tenant| !tenant.keys.is_empty()) {
            tenant.forget_all(shared);
        }
    }

    /// Forgets keys beyond `keys_max`, and tells that they have changed.
    pub(crate) fn trim(&self, shared: &Shared, keys_max: usize) {
        for tenant in self.tenants.lock().values_mut() {
            while keys_max > 0 && tenant.keys.len() > keys_max {
                let Some(key) = tenant.keys.keys().next().cloned() else { break };
                tenant.invalidate(shared, &key, None);
            }
        }
    }

    /// Clients, keys, items and prefixes.
    pub(crate) fn totals(&self) -> (usize, usize, usize, usize) {
        self.tenants.lock().values().fold((0, 0, 0, 0), |(clients, keys, items, prefixes), tenant| {
            (
                clients + tenant.trackers.len(),
                keys + tenant.keys.len(),
                items + tenant.items,
                prefixes + tenant.prefixes.len(),
            )
        })
    }
}

impl Tenant {
    fn invalidate(&mut self, shared: &Shared, key: &[u8], writer: Option<u64>) {
        let Some(clients) = self.keys.remove(key) else { return };
        self.items -= clients.len().min(self.items);
        for id in clients {
            let Some(tracker) = self.trackers.get(&id).filter(|tracker| !tracker.bcast) else { continue };
            if !(tracker.noloop && writer == Some(id)) {
                tracker.tell(shared, Some(&[key]));
            }
        }
    }

    fn broadcast(&self, shared: &Shared, keys: &IndexSet<&[u8], FxBuildHasher>, writer: Option<u64>) {
        for (prefix, clients) in &self.prefixes {
            let found: Vec<&[u8]> = keys.iter().copied().filter(|key| key.starts_with(prefix)).collect();
            if found.is_empty() {
                continue;
            }
            for id in clients {
                let Some(tracker) = self.trackers.get(id) else { continue };
                if !(tracker.noloop && writer == Some(*id)) {
                    tracker.tell(shared, Some(&found));
                }
            }
        }
    }

    fn forget_all(&mut self, shared: &Shared) {
        self.keys.clear();
        self.items = 0;
        for tracker in self.trackers.values() {
            tracker.tell(shared, None);
        }
    }
}

impl Tracker {
    /// Sends keys, or that all are to be forgotten.
    fn tell(&self, shared: &Shared, keys: Option<&[&[u8]]>) {
        let target = if self.redirect == 0 {
            Arc::clone(&self.client)
        } else {
            match shared.clients.get(self.redirect).filter(|client| client.killed().is_none()) {
                Some(client) => client,
                None => return self.broken(shared),
            }
        };
        let mut bytes = Vec::new();
        if target.is_resp3() {
            reply::push(&mut bytes, 2, true);
            reply::bulk(&mut bytes, b"invalidate");
        } else if self.redirect != 0 && target.is_pubsub() {
            reply::push(&mut bytes, 3, false);
            reply::bulk(&mut bytes, b"message");
            reply::bulk(&mut bytes, CHANNEL);
        } else {
            return;
        }
        match keys {
            Some(keys) => {
                reply::array(&mut bytes, keys.len());
                for key in keys {
                    reply::bulk(&mut bytes, key);
                }
            }
            None => reply::write(&mut bytes, &perigee_keyspace::Reply::NullArray, target.is_resp3()),
        }
        shared.send(&target, &bytes);
    }

    /// The client that was to be told has gone.
    fn broken(&self, shared: &Shared) {
        if let Some(view) = &mut self.client.view.lock().tracking {
            view.broken = true;
        }
        if self.client.is_resp3() {
            let mut bytes = Vec::new();
            reply::push(&mut bytes, 2, true);
            reply::bulk(&mut bytes, b"tracking-redir-broken");
            reply::integer(&mut bytes, i64::try_from(self.redirect).unwrap_or(i64::MAX));
            shared.send(&self.client, &bytes);
        }
    }
}
