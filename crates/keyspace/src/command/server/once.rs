//! PERIGEE.ONCE key command [argument ...]
//!
//! A command that a client may send again when it has not heard the reply: it runs once for its idempotency key, and who
//! says the key again is given the first reply. Key and reply are an object of a database that SELECT does not reach,
//! written in the entry of the command's own effects; it ends after `idempotency-key-ttl` seconds and is swept, written
//! to checkpoints and loaded as any key is.

use bytes::Bytes;
use perigee_types::row::{get_varint, put_varint};
use xxhash_rust::xxh3::Xxh3Default;

use crate::growth::Growth;
use crate::object::{Object, Str};
use crate::spec::{Begin, Category, Find, Flags, Group, KeyFlags, KeySpec, Run, Spec};
use crate::state::{DbId, IDEMPOTENCY_DB, Settings};
use crate::{Error, Ran, Reply, Result, Writer, run_command};

/// PERIGEE.ONCE
pub(super) static ONCE: Spec = Spec {
    name: "perigee.once",
    arity: -3,
    flags: Flags::WRITE.union(Flags::DENYOOM).union(Flags::NOSCRIPT).union(Flags::MOVABLEKEYS),
    category: Category::empty(),
    keys: &[KeySpec { flags: KeyFlags::RW, begin: Begin::Unknown, find: Find::Unknown }],
    // It may run a script: what doors do for those, as to say what the user may do, holds for it too.
    group: Group::Scripting,
    since: "7.4.0",
    summary: "Runs a command once for an idempotency key, however often it is sent",
    grows: Growth::Inner(2),
    run: Run::Write(once),
    ..Spec::DEFAULT
};

/// Bytes of an idempotency key.
pub const KEY_BYTES_MAX: usize = 512;
/// Bytes of a reply that is kept.
pub const REPLY_BYTES_MAX: usize = 64 << 10;
/// Seconds that a key is kept, unless `idempotency-key-ttl` says otherwise.
const TTL_S: i64 = 86_400;

/// The door that a key came through.
const REDIS: u8 = 0;
/// The REST door.
pub const REST: u8 = 1;
/// The gRPC door.
pub const GRPC: u8 = 2;
const VERSION: u8 = 1;

/// What is kept of a command that has run.
///
/// As bytes: version u8 = 1 | door u8 | digest u128, big endian | database varint | created, milliseconds since 1970 UTC,
/// varint | the reply, if it is not too large: see [`Reply::encode`].
#[derive(Clone, Debug, PartialEq)]
pub struct Once {
    /// The door, as a number: 0 for Redis, 1 for REST, 2 for gRPC.
    pub door: u8,
    /// Tells commands from others, with the database that they ran in.
    pub digest: u128,
    /// The database that was selected.
    pub database: u32,
    /// Milliseconds since 1970 UTC.
    pub created_ms: i64,
    /// The first reply; `None` where it was too large.
    pub reply: Option<Reply>,
}

impl Once {
    /// For how long keys are kept, milliseconds.
    pub(crate) fn ttl_ms(settings: &Settings) -> i64 {
        settings.number("idempotency-key-ttl", TTL_S).max(1).saturating_mul(1_000)
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION, self.door];
        out.extend_from_slice(&self.digest.to_be_bytes());
        put_varint(u64::from(self.database), &mut out);
        put_varint(self.created_ms.max(0).unsigned_abs(), &mut out);
        if let Some(reply) = &self.reply {
            let before = out.len();
            reply.encode(&mut out);
            if out.len() - before > REPLY_BYTES_MAX {
                out.truncate(before);
            }
        }
        out
    }

    /// What [`Once`] was written as; `None` for anything else.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let ([VERSION, door], rest) = bytes.split_first_chunk()? else { return None };
        let (digest, mut rest) = rest.split_first_chunk()?;
        let database = u32::try_from(get_varint(&mut rest).ok()?).ok()?;
        let created_ms = i64::try_from(get_varint(&mut rest).ok()?).ok()?;
        let reply = match rest {
            [] => None,
            mut rest => Some(Reply::decode(&mut rest).filter(|_| rest.is_empty())?),
        };
        Some(Self { door: *door, digest: u128::from_be_bytes(*digest), database, created_ms, reply })
    }
}

/// The command within a call, if it is one that may stand there.
///
/// # Errors
/// What the client is told.
fn inner(words: &[Bytes]) -> Result<&'static Spec> {
    let unknown = || {
        let name = words.first().map(|name| String::from_utf8_lossy(name).into_owned()).unwrap_or_default();
        Error::reply(format!("ERR PERIGEE.ONCE cannot run '{name}': it takes a command on keys"))
    };
    let spec = words.first().and_then(|name| super::super::find(name)).ok_or_else(unknown)?;
    let spec = spec.resolve(words).ok_or_else(unknown)?;
    let is_on_keys = matches!(spec.run, Run::Read(_) | Run::Write(_)) && !spec.flags.contains(Flags::ADMIN);
    if !is_on_keys || matches!(spec.name, "select" | "perigee.once") {
        return Err(unknown());
    }
    if !spec.takes(words.len()) {
        return Err(crate::error::wrong_arity(spec.name));
    }
    Ok(spec)
}

fn digest_of(database: u32, words: &[Bytes]) -> u128 {
    let mut hasher = Xxh3Default::new();
    hasher.update(&database.to_be_bytes());
    for word in words {
        hasher.update(&(word.len() as u64).to_be_bytes());
        hasher.update(word);
    }
    hasher.digest128()
}

fn once(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    let (key, words) = (&args[1], &args[2..]);
    if key.is_empty() || key.len() > KEY_BYTES_MAX {
        return Err(Error::reply(format!("ERR an idempotency key has 1 to {KEY_BYTES_MAX} bytes")));
    }
    let spec = inner(words)?;
    let database = writer.context.db.number;
    let digest = digest_of(database, words);
    let known = writer.in_db(IDEMPOTENCY_DB, |writer| writer.get::<Str>(key).map(|found| found.map(Str::to_bytes)))?;
    if let Some(known) = known {
        let known = Once::decode(&known);
        return match known.filter(|known| known.door == REDIS && known.digest == digest) {
            Some(Once { reply: Some(reply), .. }) => Ok(reply),
            Some(_) => Err(Error::reply("ERR the command has run, and its reply was too large to be kept")),
            None => Err(Error::reply("ERR the idempotency key was said with another command")),
        };
    }
    let Some(load) = writer.load else {
        return Err(Error::Storage(crate::StorageFault::Entry("PERIGEE.ONCE ran where no command may")));
    };
    // As within a transaction: a reply that comes later could not be kept.
    let must_not_wait = std::mem::replace(&mut writer.context.must_not_wait, true);
    let ran = run_command(writer, load, spec, words);
    writer.context.must_not_wait = must_not_wait;
    let reply = match ran {
        Ok(Ran::Reply(reply)) => reply,
        Ok(Ran::Block(block)) => block.otherwise,
        Err(fault) => return Err(Error::Storage(fault)),
    };
    let ttl_ms = Once::ttl_ms(&writer.state().settings);
    let now = writer.now();
    let record = Once { door: REDIS, digest, database, created_ms: now, reply: Some(reply.clone()) };
    let value = Str::new(&record.encode()).into_value();
    writer.in_db(IDEMPOTENCY_DB, |writer| {
        let put = writer.put(key, value, Some(now.saturating_add(ttl_ms)));
        let db = DbId { number: IDEMPOTENCY_DB, ..writer.context.db };
        writer.state.settle(db, key);
        put
    })?;
    Ok(reply)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::twin::Twin;

    #[test]
    fn a_command_runs_once_for_its_key() {
        Twin::new().check(
            "PERIGEE.ONCE a INCR n => 1
             PERIGEE.ONCE a INCR n => 1
             GET n => \"1\"
             PERIGEE.ONCE b INCR n => 2
             PERIGEE.ONCE a INCR n => 1
             PERIGEE.ONCE a INCR m => (error) ERR the idempotency key was said with another command
             PERIGEE.ONCE c RPUSH l x y => 2
             PERIGEE.ONCE d LPOP l 2 => [\"x\", \"y\"]
             PERIGEE.ONCE d LPOP l 2 => [\"x\", \"y\"]
             PERIGEE.ONCE e BLPOP l 0 => nil
             EXISTS l => 0",
        );
    }

    #[test]
    fn the_first_reply_is_that_of_an_error_too() {
        Twin::new().check(
            "SET s x
             PERIGEE.ONCE a INCR s => (error) ERR value is not an integer or out of range
             SET s 1
             PERIGEE.ONCE a INCR s => (error) ERR value is not an integer or out of range
             GET s => \"1\"",
        );
    }

    #[test]
    fn what_is_no_command_on_keys_is_refused_and_not_kept() {
        Twin::new().check(
            "PERIGEE.ONCE a NOSUCH => (error) ERR PERIGEE.ONCE cannot run 'NOSUCH': it takes a command on keys
             PERIGEE.ONCE a SELECT 1 => (error) ERR PERIGEE.ONCE cannot run 'SELECT': it takes a command on keys
             PERIGEE.ONCE a PERIGEE.ONCE b INCR n => (error) ERR PERIGEE.ONCE cannot run 'PERIGEE.ONCE': it takes a command on keys
             PERIGEE.ONCE a CONFIG SET x 1 => (error) ERR PERIGEE.ONCE cannot run 'CONFIG': it takes a command on keys
             PERIGEE.ONCE a INCR => (error) ERR wrong number of arguments for 'incr' command
             PERIGEE.ONCE \"\" INCR n => (error) ERR an idempotency key has 1 to 512 bytes
             PERIGEE.ONCE a INCR n => 1",
        );
    }

    #[test]
    fn keys_stand_apart_from_all_others_and_end() {
        let mut twin = Twin::new();
        twin.check(
            "PERIGEE.ONCE a SET k v => OK
             DBSIZE => 1
             KEYS * => [\"k\"]
             FLUSHALL
             PERIGEE.ONCE a SET k v => OK
             EXISTS k => 0
             CONFIG SET idempotency-key-ttl 10
             PERIGEE.ONCE short INCR n => 1",
        );
        // Nobody is told of them.
        twin.line("PERIGEE.ONCE quiet SET q v");
        assert!(twin.effects.notifications.iter().all(|told| told.db.number == 0), "{:?}", twin.effects);
        assert!(twin.effects.touched.iter().all(|(db, _)| db.number == 0), "{:?}", twin.effects);
        twin.context.now += 10_001;
        twin.check("PERIGEE.ONCE short INCR n => 2");
        twin.context.now += 86_400_000;
        twin.check("PERIGEE.ONCE a SET k w => OK\nGET k => \"w\"");
    }

    #[test]
    fn a_command_in_another_database_is_another_command() {
        let mut twin = Twin::new();
        twin.check("PERIGEE.ONCE a INCR n => 1");
        twin.context.db.number = 3;
        twin.check("PERIGEE.ONCE a INCR n => (error) ERR the idempotency key was said with another command");
    }

    #[test]
    fn large_replies_are_not_kept() {
        let mut twin = Twin::new();
        let large = "x".repeat(REPLY_BYTES_MAX + 1);
        twin.run(&["SET", "k", &large]);
        assert!(twin.line("PERIGEE.ONCE a GETDEL k").len() > REPLY_BYTES_MAX);
        twin.check(
            "PERIGEE.ONCE a GETDEL k => (error) ERR the command has run, and its reply was too large to be kept",
        );
    }

    #[test]
    fn the_keys_of_the_command_are_its_keys() {
        let words = |line: &str| line.split(' ').map(|word| Bytes::from(word.to_owned())).collect::<Vec<_>>();
        let keys = |line: &str| ONCE.keys_of(&words(line)).iter().map(|(at, _)| *at).collect::<Vec<_>>();
        assert_eq!(keys("PERIGEE.ONCE i MSET a 1 b 2"), [3, 5]);
        assert_eq!(keys("PERIGEE.ONCE i EVAL x 2 a b c"), [5, 6]);
        assert_eq!(keys("PERIGEE.ONCE i NOSUCH a"), [0; 0]);
        assert_eq!(keys("PERIGEE.ONCE i"), [0; 0]);
    }

    fn replies() -> impl Strategy<Value = Reply> {
        let bytes = || prop::collection::vec(any::<u8>(), 0..8).prop_map(Bytes::from);
        let leaf = prop_oneof![
            "[a-z ]{0,8}".prop_map(|text| Reply::Status(text.into())),
            "[a-z ]{0,8}".prop_map(|text| Reply::Error(text.into())),
            any::<i64>().prop_map(Reply::Integer),
            bytes().prop_map(Reply::Bulk),
            Just(Reply::Null),
            Just(Reply::NullArray),
            (-1e9..1e9).prop_map(Reply::Double),
            any::<bool>().prop_map(Reply::Boolean),
            "[0-9]{1,8}".prop_map(Reply::BigNumber),
            bytes().prop_map(|bytes| Reply::Verbatim("txt", bytes)),
        ];
        leaf.prop_recursive(3, 20, 4, |inner| {
            let list = || prop::collection::vec(inner.clone(), 0..4);
            let pairs = || prop::collection::vec((inner.clone(), inner.clone()), 0..3);
            prop_oneof![
                list().prop_map(Reply::Array),
                list().prop_map(Reply::Set),
                list().prop_map(Reply::Push),
                pairs().prop_map(Reply::Map),
                pairs().prop_map(Reply::Pairs),
                (pairs(), inner.clone()).prop_map(|(pairs, reply)| Reply::Attribute(pairs, Box::new(reply))),
            ]
        })
    }

    proptest! {
        #[test]
        fn replies_come_back(reply in replies(), digest: u128) {
            let known = Once { door: REDIS, digest, database: 3, created_ms: 5, reply: Some(reply) };
            prop_assert_eq!(Once::decode(&known.encode()), Some(known));
        }

        #[test]
        fn garbage_is_refused(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = Once::decode(&bytes);
            let _ = Once::decode(&[&[VERSION, 0][..], &[0; 16], &[0, 0], &bytes].concat());
        }
    }
}
