//! SUBSCRIBE and its relatives, PUBLISH, PUBSUB

use bytes::Bytes;
use indexmap::IndexSet;
use perigee_keyspace::{Flags, Group, KeyFlags, KeySpec, Reply, Result, Spec};

use super::{Door, DoorRun, LOADING_STALE, NOSCRIPT_LOADING_STALE, help};
use crate::codec::reply;
use crate::elsewhere::ForeignMessage;
use crate::pubsub::Kind;
use crate::session::Session;

const SUBSCRIBE: Flags = NOSCRIPT_LOADING_STALE.union(Flags::PUBSUB);
const PUBLISH: Flags = LOADING_STALE.union(Flags::PUBSUB).union(Flags::FAST);
const LOOK: Flags = LOADING_STALE.union(Flags::PUBSUB);

const fn spec(name: &'static str, arity: i8, flags: Flags, since: &'static str, summary: &'static str) -> Spec {
    Spec { name, arity, flags, group: Group::PubSub, since, summary, ..Spec::DEFAULT }
}

const fn sharded(name: &'static str, arity: i8, flags: Flags, last: i8, summary: &'static str) -> Spec {
    let keys: &'static [KeySpec] = if last == 0 {
        const { &[KeySpec::one(1, KeyFlags::NOT_KEY)] }
    } else {
        const { &[KeySpec::range(1, -1, 1, KeyFlags::NOT_KEY)] }
    };
    Spec { keys, ..spec(name, arity, flags, "7.0.0", summary) }
}

const fn door(spec: Spec, run: fn(&mut Session, &[Bytes]) -> Result<Reply>) -> Door {
    Door { spec, run: Some(DoorRun::Now(run)) }
}

pub(super) static COMMANDS: &[Door] = &[
    door(spec("subscribe", -2, SUBSCRIBE, "2.0.0", "Listens to channels"), |session, args| {
        subscribe(session, Kind::Channel, &args[1..])
    }),
    door(spec("psubscribe", -2, SUBSCRIBE, "2.0.0", "Listens to all channels that match patterns"), |session, args| {
        subscribe(session, Kind::Pattern, &args[1..])
    }),
    door(sharded("ssubscribe", -2, SUBSCRIBE, -1, "Listens to sharded channels"), |session, args| {
        subscribe(session, Kind::Shard, &args[1..])
    }),
    door(spec("unsubscribe", -1, SUBSCRIBE, "2.0.0", "Listens to channels no more"), |session, args| {
        unsubscribe(session, Kind::Channel, &args[1..])
    }),
    door(spec("punsubscribe", -1, SUBSCRIBE, "2.0.0", "Listens to patterns no more"), |session, args| {
        unsubscribe(session, Kind::Pattern, &args[1..])
    }),
    door(sharded("sunsubscribe", -1, SUBSCRIBE, -1, "Listens to sharded channels no more"), |session, args| {
        unsubscribe(session, Kind::Shard, &args[1..])
    }),
    door(spec("publish", 3, PUBLISH, "2.0.0", "Sends a message to a channel"), |session, args| {
        publish(session, args, false)
    }),
    door(sharded("spublish", 3, PUBLISH, 0, "Sends a message to a sharded channel"), |session, args| {
        publish(session, args, true)
    }),
    Door { spec: spec("pubsub", -2, Flags::empty(), "2.8.0", "Channels and who listens to them"), run: None },
    door(spec("pubsub|channels", -2, LOOK, "2.8.0", "Channels with listeners"), |session, args| {
        channels(session, args, false)
    }),
    door(spec("pubsub|shardchannels", -2, LOOK, "7.0.0", "Sharded channels with listeners"), |session, args| {
        channels(session, args, true)
    }),
    door(spec("pubsub|numsub", -2, LOOK, "2.8.0", "How many listen to channels"), |session, args| {
        numsub(session, args, false)
    }),
    door(spec("pubsub|shardnumsub", -2, LOOK, "7.0.0", "How many listen to sharded channels"), |session, args| {
        numsub(session, args, true)
    }),
    door(spec("pubsub|numpat", 2, LOOK, "2.8.0", "How many patterns are listened to"), |session, _| {
        Ok(Reply::count(session.shared.hub.pattern_count(session.client.tenant())))
    }),
    door(spec("pubsub|help", 2, LOADING_STALE, "6.2.0", "What PUBSUB can do"), |_, _| {
        Ok(help(
            "PUBSUB",
            &[
                "CHANNELS [<pattern>]",
                "    Channels with listeners.",
                "NUMPAT",
                "    Patterns with listeners.",
                "NUMSUB [<channel> ...]",
                "    Listeners of channels.",
                "SHARDCHANNELS [<pattern>]",
                "    Sharded channels with listeners.",
                "SHARDNUMSUB [<shardchannel> ...]",
                "    Listeners of sharded channels.",
            ],
        ))
    }),
];

fn names(session: &mut Session, kind: Kind) -> &mut IndexSet<Bytes> {
    match kind {
        Kind::Channel => &mut session.channels,
        Kind::Pattern => &mut session.patterns,
        Kind::Shard => &mut session.shards,
    }
}

/// What the client is told to have: sharded channels count apart.
fn count(session: &Session, kind: Kind) -> usize {
    match kind {
        Kind::Channel | Kind::Pattern => session.channels.len() + session.patterns.len(),
        Kind::Shard => session.shards.len(),
    }
}

/// Tells the client of one subscription, whatever CLIENT REPLY said.
fn confirm(session: &mut Session, word: &str, name: Option<&Bytes>, count: usize) {
    let name = Reply::bulk_or_null(name.cloned());
    let push = Reply::Push(vec![Reply::bulk(word), name, Reply::count(count)]);
    reply::write(&mut session.wire.output, &push, session.resp3);
}

fn subscribe(session: &mut Session, kind: Kind, wanted: &[Bytes]) -> Result<Reply> {
    for name in wanted {
        let name = Bytes::copy_from_slice(name);
        if names(session, kind).insert(name.clone()) {
            let shared = std::sync::Arc::clone(&session.shared);
            shared.hub.subscribe(&session.client, kind, &name);
        }
        let word = match kind {
            Kind::Channel => "subscribe",
            Kind::Pattern => "psubscribe",
            Kind::Shard => "ssubscribe",
        };
        let count = count(session, kind);
        confirm(session, word, Some(&name), count);
    }
    session.show();
    Ok(Reply::Nothing)
}

fn unsubscribe(session: &mut Session, kind: Kind, wanted: &[Bytes]) -> Result<Reply> {
    let word = match kind {
        Kind::Channel => "unsubscribe",
        Kind::Pattern => "punsubscribe",
        Kind::Shard => "sunsubscribe",
    };
    let wanted: Vec<Bytes> =
        if wanted.is_empty() { names(session, kind).iter().cloned().collect() } else { wanted.to_vec() };
    if wanted.is_empty() {
        let count = count(session, kind);
        confirm(session, word, None, count);
    }
    for name in wanted {
        if names(session, kind).shift_remove(&name) {
            session.shared.hub.unsubscribe(&session.client, kind, &name);
        }
        let count = count(session, kind);
        confirm(session, word, Some(&name), count);
    }
    session.show();
    Ok(Reply::Nothing)
}

/// Takes all subscriptions of a connection back, in silence.
pub(crate) fn unsubscribe_all(session: &mut Session) {
    for kind in [Kind::Channel, Kind::Pattern, Kind::Shard] {
        for name in std::mem::take(names(session, kind)) {
            session.shared.hub.unsubscribe(&session.client, kind, &name);
        }
    }
}

fn publish(session: &mut Session, args: &[Bytes], sharded: bool) -> Result<Reply> {
    let shared = &session.shared;
    let (tenant, channel, message) = (session.client.tenant(), args[1].clone(), args[2].clone());
    let count = shared.hub.publish(shared, tenant, &channel, &message, sharded);
    shared.host.tell_others(ForeignMessage { tenant, sharded, channel, message });
    Ok(Reply::count(count))
}

fn channels(session: &mut Session, args: &[Bytes], sharded: bool) -> Result<Reply> {
    if args.len() > 3 {
        return Err(super::wrong_sub("PUBSUB", &args[1]));
    }
    let pattern = args.get(2).map(|pattern| &**pattern);
    let found = session.shared.hub.channels(session.client.tenant(), sharded, pattern);
    Ok(Reply::Array(found.into_iter().map(Reply::Bulk).collect()))
}

fn numsub(session: &mut Session, args: &[Bytes], sharded: bool) -> Result<Reply> {
    let tenant = session.client.tenant();
    let hub = &session.shared.hub;
    let pairs = args[2..]
        .iter()
        .flat_map(|channel| [Reply::Bulk(channel.clone()), Reply::count(hub.count(tenant, sharded, channel))]);
    Ok(Reply::Array(pairs.collect()))
}
