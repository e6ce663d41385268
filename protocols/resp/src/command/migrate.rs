//! MIGRATE, which this server does not do: it has no connections to other servers of Redis

use perigee_keyspace::{Begin, Category, Error, Find, Flags, Group, KeyFlags, KeySpec, Spec};

use super::{Door, DoorRun};

const KEY: KeyFlags = KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::DELETE);

pub(super) static COMMANDS: &[Door] = &[Door {
    spec: Spec {
        name: "migrate",
        arity: -6,
        flags: Flags::WRITE,
        category: Category::KEYSPACE.union(Category::DANGEROUS),
        keys: &[
            KeySpec::one(3, KEY),
            KeySpec {
                flags: KEY.union(KeyFlags::INCOMPLETE),
                begin: Begin::Keyword("KEYS", -2),
                find: Find::Range { last: -1, step: 1, limit: 0 },
            },
        ],
        group: Group::Generic,
        since: "2.6.0",
        summary: "Cannot be done: DUMP here and RESTORE there move a key",
        ..Spec::DEFAULT
    },
    run: Some(DoorRun::Now(|_, _| {
        Err(Error::reply("ERR MIGRATE is not supported: use DUMP here and RESTORE on the other server"))
    })),
}];
