//! Subscriptions of this node, and who gets a message. Tenants do not hear each other.

use std::sync::Arc;

use bytes::Bytes;
use indexmap::IndexMap;
use parking_lot::RwLock;
use perigee_types::Oid;
use rustc_hash::{FxBuildHasher, FxHashMap};

use crate::client::Client;
use crate::codec::reply;
use crate::shared::Shared;
use perigee_keyspace::glob;

type Subscribers = IndexMap<u64, Arc<Client>, FxBuildHasher>;

/// What is subscribed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Channel,
    Pattern,
    Shard,
}

#[derive(Debug, Default)]
struct Tenant {
    channels: FxHashMap<Bytes, Subscribers>,
    patterns: IndexMap<Bytes, Subscribers, FxBuildHasher>,
    shards: FxHashMap<Bytes, Subscribers>,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Hub {
    tenants: RwLock<FxHashMap<Oid, Tenant>>,
}

impl Hub {
    pub(crate) fn subscribe(&self, client: &Arc<Client>, kind: Kind, name: &Bytes) {
        let mut tenants = self.tenants.write();
        let tenant = tenants.entry(client.tenant()).or_default();
        let subscribers = match kind {
            Kind::Channel => tenant.channels.entry(name.clone()).or_default(),
            Kind::Pattern => tenant.patterns.entry(name.clone()).or_default(),
            Kind::Shard => tenant.shards.entry(name.clone()).or_default(),
        };
        subscribers.insert(client.id, Arc::clone(client));
    }

    pub(crate) fn unsubscribe(&self, client: &Client, kind: Kind, name: &Bytes) {
        let mut tenants = self.tenants.write();
        let Some(tenant) = tenants.get_mut(&client.tenant()) else { return };
        let is_empty = |subscribers: &mut Subscribers| {
            subscribers.shift_remove(&client.id);
            subscribers.is_empty()
        };
        match kind {
            Kind::Channel => {
                if tenant.channels.get_mut(name).is_some_and(is_empty) {
                    tenant.channels.remove(name);
                }
            }
            Kind::Pattern => {
                if tenant.patterns.get_mut(name).is_some_and(is_empty) {
                    tenant.patterns.shift_remove(name);
                }
            }
            Kind::Shard => {
                if tenant.shards.get_mut(name).is_some_and(is_empty) {
                    tenant.shards.remove(name);
                }
            }
        }
        if tenant.channels.is_empty() && tenant.patterns.is_empty() && tenant.shards.is_empty() {
            tenants.remove(&client.tenant());
        }
    }

    /// Whether anybody of a tenant listens to channels or patterns.
    pub(crate) fn has_subscribers(&self, tenant: Oid) -> bool {
        self.tenants
            .read()
            .get(&tenant)
            .is_some_and(|tenant| !tenant.channels.is_empty() || !tenant.patterns.is_empty())
    }

    /// Sends a message; says how many clients get it.
    pub(crate) fn publish(&self, shared: &Shared, tenant: Oid, channel: &[u8], message: &[u8], sharded: bool) -> usize {
        let tenants = self.tenants.read();
        let Some(tenant) = tenants.get(&tenant) else { return 0 };
        let mut count = 0;
        let (found, word): (_, &[u8]) = if sharded {
            (tenant.shards.get(channel), b"smessage")
        } else {
            (tenant.channels.get(channel), b"message")
        };
        if let Some(subscribers) = found {
            let parts = [word, channel, message];
            count += deliver(shared, subscribers, &parts);
        }
        if !sharded {
            for (pattern, subscribers) in &tenant.patterns {
                if glob::matches_case(pattern, channel, false) {
                    count += deliver(shared, subscribers, &[b"pmessage", pattern, channel, message]);
                }
            }
        }
        count
    }

    /// Channels with subscribers, that match a pattern.
    pub(crate) fn channels(&self, tenant: Oid, sharded: bool, pattern: Option<&[u8]>) -> Vec<Bytes> {
        let tenants = self.tenants.read();
        let Some(tenant) = tenants.get(&tenant) else { return Vec::new() };
        let channels = if sharded { &tenant.shards } else { &tenant.channels };
        channels
            .keys()
            .filter(|channel| pattern.is_none_or(|pattern| glob::matches_case(pattern, channel, false)))
            .cloned()
            .collect()
    }

    /// Subscribers of a channel, without those of patterns.
    pub(crate) fn count(&self, tenant: Oid, sharded: bool, channel: &[u8]) -> usize {
        let tenants = self.tenants.read();
        tenants.get(&tenant).map_or(0, |tenant| {
            let channels = if sharded { &tenant.shards } else { &tenant.channels };
            channels.get(channel).map_or(0, IndexMap::len)
        })
    }

    /// What a client listens to, and whether it is a pattern.
    pub(crate) fn names_of(&self, client: &Client) -> Vec<(Bytes, bool)> {
        let tenants = self.tenants.read();
        let Some(tenant) = tenants.get(&client.tenant()) else { return Vec::new() };
        let has = |subscribers: &Subscribers| subscribers.contains_key(&client.id);
        let channels = tenant.channels.iter().chain(&tenant.shards).filter(|(_, subscribers)| has(subscribers));
        let patterns = tenant.patterns.iter().filter(|(_, subscribers)| has(subscribers));
        channels.map(|(name, _)| (name.clone(), false)).chain(patterns.map(|(name, _)| (name.clone(), true))).collect()
    }

    /// Patterns of a tenant.
    pub(crate) fn pattern_count(&self, tenant: Oid) -> usize {
        self.tenants.read().get(&tenant).map_or(0, |tenant| tenant.patterns.len())
    }

    /// Channels, patterns and sharded channels of all tenants.
    pub(crate) fn totals(&self) -> (usize, usize, usize) {
        self.tenants.read().values().fold((0, 0, 0), |(channels, patterns, shards), tenant| {
            (channels + tenant.channels.len(), patterns + tenant.patterns.len(), shards + tenant.shards.len())
        })
    }
}

/// Sends the same push to many; it is written once for each protocol.
fn deliver(shared: &Shared, subscribers: &Subscribers, parts: &[&[u8]]) -> usize {
    let mut encoded: [Option<Vec<u8>>; 2] = [None, None];
    for client in subscribers.values() {
        let resp3 = client.is_resp3();
        let bytes = encoded[usize::from(resp3)].get_or_insert_with(|| push_of(parts, resp3));
        shared.send(client, bytes);
    }
    subscribers.len()
}

/// A push of strings.
pub(crate) fn push_of(parts: &[&[u8]], resp3: bool) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(parts.iter().map(|part| part.len() + 16).sum::<usize>() + 8);
    reply::push(&mut bytes, parts.len(), resp3);
    for part in parts {
        reply::bulk(&mut bytes, part);
    }
    bytes
}
