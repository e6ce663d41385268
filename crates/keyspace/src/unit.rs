//! What is logged: commands of one connection that are applied one after the other.

use std::sync::Arc;

use bitflags::bitflags;
use bytes::Bytes;
use perigee_telemetry::trace::Parent;
use perigee_types::Oid;
use perigee_types::row::{get_bytes, get_varint, put_bytes, put_varint};

use crate::db::Position;
use crate::effects::Observed;
use crate::spec::{Flags, Spec};
use crate::state::DbId;
use crate::{Permit, Reply};

/// A command with its arguments, the name first.
#[derive(Clone, Debug)]
pub struct Command {
    /// What is known of it.
    pub spec: &'static Spec,
    /// Its arguments as the client sent them; the first is its name.
    pub args: Vec<Bytes>,
}

impl Command {
    /// Whether it stands in the log: it writes, or it may wait.
    #[must_use]
    pub fn is_logged(&self) -> bool {
        self.spec.is_write() || self.spec.flags.contains(Flags::BLOCKING)
    }
}

bitflags! {
    /// What the node refused when the unit came. Only scripts have to be told: other commands do not come so far.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Refuse: u8 {
        /// Commands that need memory.
        const MEMORY = 1;
        /// Writes: too few replicas.
        const REPLICAS = 1 << 1;
    }
}

/// Commands that are applied without another one between them.
///
/// As bytes: tenant | database | flags | client | the permit, if flagged | watches: count, then each database number, key, index, n
/// | commands: count, then each: arguments: count, then each length and bytes. Numbers are varints.
#[derive(Clone, Debug, Default)]
pub struct Unit {
    /// The database that is selected.
    pub db: DbId,
    /// Whether it is a MULTI/EXEC: all or nothing by `watches`, and no command waits.
    pub transaction: bool,
    /// Whether the client speaks RESP3: it changes what some commands that wait say.
    pub resp3: bool,
    /// The connection.
    pub client: u64,
    /// Keys with the versions that the client has seen; nothing runs when one differs.
    pub watches: Vec<(DbId, Bytes, Position)>,
    /// What scripts are refused.
    pub refuse: Refuse,
    /// What scripts may do; everything where it is `None`.
    pub permit: Option<Arc<Permit>>,
    /// What of its scripts the door of this node wants to know; not logged.
    pub observed: Observed,
    /// The step of a trace that it is a part of; not logged.
    pub traced: Option<Parent>,
    /// The commands. Those that only read are not logged.
    pub commands: Vec<Command>,
    /// Where their replies go, with the memory that it has; not logged.
    pub replies: Vec<Reply>,
}

const TRANSACTION: u64 = 1;
const RESP3: u64 = 2;
const NO_MEMORY: u64 = 4;
const NO_REPLICAS: u64 = 8;
const PERMIT: u64 = 16;

impl Unit {
    /// Whether there is something to log. Submit what has nothing as a read.
    #[must_use]
    pub fn writes(&self) -> bool {
        self.commands.iter().any(Command::is_logged)
    }

    /// Bytes of all arguments, about.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.commands.iter().map(|command| command.args.iter().map(|argument| argument.len() + 4).sum::<usize>()).sum()
    }

    /// Writes what has to be logged.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_varint(u64::from(self.db.tenant.0), out);
        put_varint(u64::from(self.db.number), out);
        let flags = [
            (self.transaction, TRANSACTION),
            (self.resp3, RESP3),
            (self.refuse.contains(Refuse::MEMORY), NO_MEMORY),
            (self.refuse.contains(Refuse::REPLICAS), NO_REPLICAS),
            (self.permit.is_some(), PERMIT),
        ];
        put_varint(flags.into_iter().filter(|(set, _)| *set).map(|(_, flag)| flag).sum(), out);
        put_varint(self.client, out);
        if let Some(permit) = &self.permit {
            permit.encode(out);
        }
        put_varint(self.watches.len() as u64, out);
        for (db, key, version) in &self.watches {
            put_varint(u64::from(db.number), out);
            put_bytes(key, out);
            put_varint(version.index, out);
            put_varint(u64::from(version.n), out);
        }
        let logged = || self.commands.iter().filter(|command| command.is_logged());
        put_varint(logged().count() as u64, out);
        for command in logged() {
            put_varint(command.args.len() as u64, out);
            for argument in &command.args {
                put_bytes(argument, out);
            }
        }
    }

    /// Reads what [`Unit::encode`] wrote; `None` for anything else. Arguments share `bytes`.
    #[must_use]
    pub fn decode(bytes: &mut &[u8]) -> Option<Unit> {
        let tenant = Oid(u32::try_from(get_varint(bytes).ok()?).ok()?);
        let number = u32::try_from(get_varint(bytes).ok()?).ok()?;
        let flags = get_varint(bytes).ok()?;
        let client = get_varint(bytes).ok()?;
        let permit = if flags & PERMIT != 0 { Some(Arc::new(Permit::decode(bytes)?)) } else { None };
        let mut refuse = Refuse::empty();
        refuse.set(Refuse::MEMORY, flags & NO_MEMORY != 0);
        refuse.set(Refuse::REPLICAS, flags & NO_REPLICAS != 0);
        let mut watches = Vec::new();
        for _ in 0..get_varint(bytes).ok()? {
            let db = DbId { tenant, number: u32::try_from(get_varint(bytes).ok()?).ok()? };
            let key = Bytes::copy_from_slice(get_bytes(bytes).ok()?);
            let index = get_varint(bytes).ok()?;
            watches.push((db, key, Position { index, n: u32::try_from(get_varint(bytes).ok()?).ok()? }));
        }
        let mut commands = Vec::new();
        for _ in 0..get_varint(bytes).ok()? {
            let count = usize::try_from(get_varint(bytes).ok()?).ok()?;
            let mut args = Vec::with_capacity(count.min(64));
            for _ in 0..count {
                args.push(Bytes::copy_from_slice(get_bytes(bytes).ok()?));
            }
            let spec = crate::command::find(args.first()?)?.resolve(&args)?;
            commands.push(Command { spec, args });
        }
        Some(Unit {
            db: DbId { tenant, number },
            transaction: flags & TRANSACTION != 0,
            resp3: flags & RESP3 != 0,
            client,
            watches,
            refuse,
            permit,
            observed: Observed::empty(),
            traced: None,
            commands,
            replies: Vec::new(),
        })
    }
}
