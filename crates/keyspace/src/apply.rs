//! Entries of the log, applied.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use perigee_types::{Hlc, LogIndex};
use tokio::sync::oneshot;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::db::{Db, Due, Position};
use crate::effects::Observed;
use crate::error::{Block, Error};
use crate::payload::{self, GONE, Header, Item, PART, SWEEP, TRANSACTION, UNITS, WHOLE};
use crate::room::{REPLIES_BYTES_MAX, too_many_replies};
use crate::run::{Ran, run_command};
use crate::service::{Answer, Answered, Finished, Keyspace, LocalWaiter, SubmitError, Submitted};
use crate::small::Name;
use crate::spec::Group;
use crate::state::{DbId, State};
use crate::unit::{Command, Unit};
use crate::waiters::Waiter;
use crate::{Context, Effects, EventClass, Reply, StorageFault, Writer};

impl Keyspace {
    /// Applies an entry and gives a digest of what it did. Its clients are answered at [`Keyspace::publish`].
    ///
    /// # Errors
    /// [`StorageFault`]: the node stops.
    pub fn apply(&self, index: LogIndex, time: Hlc, payload: &[u8]) -> Result<u64, StorageFault> {
        const BROKEN: StorageFault = StorageFault::Entry("it is not one of the keyspace");
        let mut fields = payload;
        let header = Header::decode(&mut fields).ok_or(BROKEN)?;
        let now = i64::try_from(time.micros() / 1_000).unwrap_or(i64::MAX);
        let own = header.origin == self.origin;
        let mut guard = self.state.write();
        let state = &mut *guard;
        let uptime = self.uptime();
        state.uptime.store(uptime, Ordering::Relaxed);
        let result = match header.kind {
            PART => {
                let at = payload::take_at(&mut fields).ok_or(BROKEN)?;
                let name = (header.origin, header.number);
                let before = state.parts.get(&name).map_or(0, Vec::len);
                if before == at {
                    state.parts.entry(name).or_default().extend_from_slice(fields);
                } else {
                    // A new leader has dropped those before it, on every node alike.
                    state.parts.remove(&name);
                }
                return Ok(header.number);
            }
            GONE => {
                state.parts.remove(&(header.origin, header.number));
                Ok(0)
            }
            SWEEP => {
                let due = payload::take_due(&mut fields).ok_or(BROKEN)?;
                let run = EntryRun {
                    keyspace: self,
                    state,
                    index: index.0,
                    now,
                    origin: header.origin,
                    own,
                    seed: 0,
                    uptime,
                    n: 0,
                    logged: 0,
                    effects: self.effects(),
                };
                run.sweep(Due { until: due.until.min(now), ..due })
            }
            UNITS | WHOLE => {
                let whole = match header.kind {
                    WHOLE => match (state.parts.remove(&(header.origin, header.number)), payload::take_at(&mut fields))
                    {
                        (Some(whole), Some(bytes)) if whole.len() == bytes => Some(whole),
                        // A new leader has dropped its parts, on every node alike: it has no effect.
                        _ => {
                            self.refuse_own(own, header.number);
                            return Ok(header.number);
                        }
                    },
                    _ => None,
                };
                let fields = whole.as_deref().unwrap_or(fields);
                let waiting = if own { self.on_their_way.lock().remove(&header.number) } else { None };
                let (seed, submitted) = match waiting {
                    // Its reads run as well, and nothing needs to be decoded.
                    Some(waiting) => (payload::take_u64(&mut &*fields).ok_or(BROKEN)?, waiting),
                    None => {
                        let (seed, items) = payload::decode_units(fields).ok_or(BROKEN)?;
                        (seed, items.into_iter().map(|item| Submitted { item, answer: None }).collect())
                    }
                };
                let mut run = EntryRun {
                    keyspace: self,
                    state,
                    index: index.0,
                    now,
                    origin: header.origin,
                    own,
                    seed,
                    uptime,
                    n: 0,
                    logged: 0,
                    effects: self.effects(),
                };
                run.all(submitted).map(|()| u64::from(run.n))
            }
            _ => Err(BROKEN),
        };
        let result = result.map(|changes| digest_of(&guard, changes));
        guard.luas.end();
        self.applied(&guard, now);
        result
    }

    /// Applies what a transaction of SQL does to keys and gives a digest of it. `None`: a key that it depends on has
    /// changed, and nothing was done.
    ///
    /// # Errors
    /// [`StorageFault`]: the node stops.
    pub fn apply_transaction(&self, index: LogIndex, time: Hlc, payload: &[u8]) -> Result<Option<u64>, StorageFault> {
        const BROKEN: StorageFault = StorageFault::Entry("it is no transaction of the keyspace");
        let mut fields = payload;
        let header = Header::decode(&mut fields).filter(|header| header.kind == TRANSACTION).ok_or(BROKEN)?;
        let (seed, items) = payload::decode_units(fields).ok_or(BROKEN)?;
        let now = i64::try_from(time.micros() / 1_000).unwrap_or(i64::MAX);
        let mut guard = self.state.write();
        let uptime = self.uptime();
        guard.uptime.store(uptime, Ordering::Relaxed);
        let mut run = EntryRun {
            keyspace: self,
            state: &mut guard,
            index: index.0,
            now,
            origin: header.origin,
            own: header.origin == self.origin,
            seed,
            uptime,
            n: 0,
            logged: 0,
            effects: self.effects(),
        };
        let done = run.transaction(&items)?;
        let changes = u64::from(run.n);
        let digest = done.then(|| digest_of(&guard, changes));
        guard.luas.end();
        self.applied(&guard, now);
        Ok(digest)
    }

    fn applied(&self, state: &State, now: i64) {
        self.passing.saw(u64::try_from(now).unwrap_or(0).saturating_mul(1_000), &*self.clock);
        self.account(state);
    }

    /// A leader was elected: what earlier leaders left unfinished goes.
    pub fn new_term(&self) {
        let mut state = self.state.write();
        state.parts.clear();
        state.waiters.clear();
        for (_, waiter) in self.local_waiters.lock().drain() {
            self.finished.lock().push(Finished::Waiter(waiter.served, Err(SubmitError::Unknown)));
        }
    }

    /// Tells the clients of an entry of this process that it had no effect.
    fn refuse_own(&self, own: bool, number: u64) {
        let waiting = if own { self.on_their_way.lock().remove(&number) } else { None };
        let refused = || SubmitError::Refused("TRYAGAIN the leader has changed; nothing was written".to_owned());
        for answer in waiting.into_iter().flatten().filter_map(|submitted| submitted.answer) {
            self.finished.lock().push(Finished::Unit(answer, Err(refused())));
        }
    }

    /// How far a sweep would go that ends about `count` keys or all that is due, whichever is less, and whether more may be
    /// due behind it; `None` when nothing is due.
    pub(crate) fn due(&self, count: usize) -> Option<(Due, bool)> {
        let now = self.now_ms();
        let state = self.state.read();
        let cold = |db: &Db| match self.load.due_until(db, now, count) {
            Ok(until) => until,
            Err(fault) => {
                tracing::error!(%fault, "keys that are over cannot be found");
                None
            }
        };
        let first = state
            .dbs
            .values()
            .flat_map(|db| [db.due(now, count), if db.has_cold_keys() { cold(db) } else { None }])
            .flatten()
            .min()?;
        Some((first, first < Due { until: now, hash: u64::MAX }))
    }

    /// Room for what an entry does beside its replies.
    fn effects(&self) -> Effects {
        let wanted = self.listener.read().as_ref().map_or(EventClass::empty(), |listener| listener.events());
        Effects { unwanted: !wanted, ..Effects::default() }
    }

    fn tell(&self, effects: &Effects, client: Option<u64>) {
        if effects.is_empty() {
            return;
        }
        if let Some(listener) = &*self.listener.read() {
            listener.effects(effects, client);
        }
    }
}

fn digest_of(state: &State, changes: u64) -> u64 {
    (changes << 32) ^ state.dbs.values().map(|db| db.live).sum::<u64>()
}

/// One entry while it is applied.
struct EntryRun<'a> {
    keyspace: &'a Keyspace,
    state: &'a mut State,
    index: u64,
    now: i64,
    origin: u64,
    own: bool,
    seed: u64,
    /// Seconds since the node started.
    uptime: u32,
    /// Changes so far.
    n: u32,
    /// Logged commands so far: each has random numbers of its own, whatever reads stand between them here.
    logged: u64,
    /// Of the unit that runs; empty between two of them.
    effects: Effects,
}

impl EntryRun<'_> {
    fn all(&mut self, submitted: Vec<Submitted>) -> Result<(), StorageFault> {
        self.keyspace.finished.lock().reserve(submitted.len());
        for Submitted { item, answer } in submitted {
            match item {
                Item::Unit(mut unit) => {
                    let replies = std::mem::take(&mut unit.replies);
                    let result = self.unit(&unit, replies)?;
                    if let Some(answer) = answer {
                        let answered = Answered { answer: result, commands: unit.commands };
                        self.keyspace.finished.lock().push(Finished::Unit(answer, Ok(answered)));
                    }
                }
                Item::Unblock(at) => {
                    self.state.waiters.remove(at);
                    if let Some(waiter) = self.keyspace.local_waiters.lock().remove(&at) {
                        let finished = Finished::Waiter(waiter.served, Ok(waiter.otherwise));
                        self.keyspace.finished.lock().push(finished);
                    }
                }
            }
        }
        Ok(())
    }

    /// Ends what is due, and the waits for it.
    fn sweep(mut self, due: Due) -> Result<u64, StorageFault> {
        let mut effects = std::mem::take(&mut self.effects);
        for db in self.state.db_ids() {
            let position = Position { index: self.index, n: self.n };
            let mut writer = Writer::new(self.state, Context::new(db, due.until), &mut effects, position, 0);
            match writer.sweep(self.keyspace.load.as_ref(), due) {
                Ok(()) => self.n += writer.changes,
                Err(Error::Storage(fault)) => return Err(fault),
                Err(_) => return Err(StorageFault::Entry("a sweep met a key that it could not load")),
            }
        }
        self.serve(&mut effects, None)?;
        Ok(u64::from(self.n))
    }

    /// Whether a transaction of SQL takes effect: it does when all that it depends on is as it was.
    fn transaction(&mut self, items: &[Item]) -> Result<bool, StorageFault> {
        let units = || items.iter().filter_map(|item| if let Item::Unit(unit) = item { Some(unit) } else { None });
        for unit in units() {
            if !self.watched(unit)? {
                return Ok(false);
            }
        }
        for unit in units().filter(|unit| !unit.commands.is_empty()) {
            if let Answer::Replies(replies) = self.unit(unit, Vec::new())?
                && let Some(error) = replies.iter().find(|reply| reply.is_error())
            {
                // It ran over copies of the same objects.
                tracing::error!(?error, index = self.index, "a command of a transaction failed at apply");
            }
        }
        Ok(true)
    }

    /// Runs a unit; its replies go into `replies`.
    fn unit(&mut self, unit: &Unit, replies: Vec<Reply>) -> Result<Answer, StorageFault> {
        if !self.watched(unit)? {
            return Ok(Answer::Replies(vec![Reply::NullArray]));
        }
        let mut effects = std::mem::take(&mut self.effects);
        let answer = self.commands(unit, replies, &mut effects)?;
        self.effects = effects;
        Ok(answer)
    }

    fn commands(
        &mut self,
        unit: &Unit,
        mut replies: Vec<Reply>,
        effects: &mut Effects,
    ) -> Result<Answer, StorageFault> {
        let client = self.own.then_some(unit.client);
        replies.clear();
        replies.reserve(unit.commands.len());
        let mut waits = None;
        // A transaction may choose another database on its way.
        let mut db = unit.db;
        let mut bytes = 0;
        for command in &unit.commands {
            // Reads run here alone, for this client: whether they do changes nothing elsewhere.
            if bytes > REPLIES_BYTES_MAX && !command.is_logged() {
                replies.push(too_many_replies());
                continue;
            }
            match self.command(unit, &mut db, command, false, effects)? {
                Ran::Reply(reply) => {
                    bytes += reply.memory();
                    replies.push(reply);
                }
                Ran::Block(block) => {
                    waits = Some(self.add_waiter(unit, command, block));
                    break;
                }
            }
            if !unit.transaction {
                self.serve(effects, client)?;
            }
        }
        self.serve(effects, client)?;
        Ok(match waits {
            Some((at, block, served)) => Answer::Waits { replies, at, block, served },
            None => Answer::Replies(replies),
        })
    }

    /// Whether the watched keys are as the client saw them.
    fn watched(&mut self, unit: &Unit) -> Result<bool, StorageFault> {
        for (db, key, version) in &unit.watches {
            crate::run::ensure(self.state, self.keyspace.load.as_ref(), *db, key)?;
            let found = self.state.version(*db, key, self.now);
            let found = found.map_err(|_| StorageFault::Entry("a watched key could not be loaded"))?;
            if found != *version {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn command(
        &mut self,
        unit: &Unit,
        db: &mut DbId,
        command: &Command,
        waited: bool,
        effects: &mut Effects,
    ) -> Result<Ran, StorageFault> {
        let random = if command.is_logged() {
            self.logged += 1;
            xxh3_64_with_seed(&self.logged.to_le_bytes(), self.seed)
        } else {
            rand::random()
        };
        let context = Context {
            resp3: unit.resp3,
            client: unit.client,
            must_not_wait: unit.transaction,
            waited,
            uptime: self.uptime,
            random,
            refuse: unit.refuse,
            permit: unit.permit.clone(),
            observed: if self.own { unit.observed } else { Observed::empty() },
            ..Context::new(*db, self.now)
        };
        let position = Position { index: self.index, n: self.n };
        let mut writer = Writer::new(self.state, context, effects, position, random);
        let ran = run_command(&mut writer, self.keyspace.load.as_ref(), command.spec, &command.args)?;
        self.n += writer.changes;
        if command.spec.name == "select" {
            *db = writer.context.db;
        }
        Ok(ran)
    }

    fn add_waiter(
        &mut self,
        unit: &Unit,
        command: &Command,
        block: Block,
    ) -> (Position, Block, oneshot::Receiver<Result<Reply, SubmitError>>) {
        let again = Command { spec: command.spec, args: block.again.clone().unwrap_or_else(|| command.args.clone()) };
        let keys: Vec<Bytes> = again.spec.keys_of(&again.args).iter().map(|(at, _)| again.args[*at].clone()).collect();
        self.n += 1;
        let at = Position { index: self.index, n: self.n };
        let waiter =
            Waiter { db: unit.db, command: again, keys, resp3: unit.resp3, origin: self.origin, client: unit.client };
        self.state.waiters.insert(at, waiter);
        let (served, receiver) = oneshot::channel();
        if self.own {
            let local = LocalWaiter { client: unit.client, served, otherwise: block.otherwise.clone(), ends: false };
            self.keyspace.local_waiters.lock().insert(at, local);
        }
        (at, block, receiver)
    }

    /// Runs who waits for what has changed, and who waits for what they change; then tells the listener.
    fn serve(&mut self, effects: &mut Effects, client: Option<u64>) -> Result<(), StorageFault> {
        if self.state.waiters.is_empty() {
            self.keyspace.tell(effects, client);
            effects.clear();
            return Ok(());
        }
        let mut client = client;
        loop {
            let mut touched = std::mem::take(&mut effects.touched);
            for db in &effects.flushed {
                touched.extend(self.state.waiters.keys_in(*db).into_iter().map(|key| (*db, Name::from(&key[..]))));
            }
            effects.touched = touched;
            self.keyspace.tell(effects, client.take());
            let touched = std::mem::take(&mut effects.touched);
            effects.clear();
            if touched.is_empty() {
                return Ok(());
            }
            for (db, key) in touched {
                for at in self.state.waiters.of(db, &key) {
                    self.serve_one(at, db, &key, effects)?;
                }
            }
        }
    }

    fn serve_one(&mut self, at: Position, db: DbId, key: &[u8], effects: &mut Effects) -> Result<(), StorageFault> {
        let Some(waiter) = self.state.waiters.get(at).cloned() else { return Ok(()) };
        // A key of another type is not what it waits for. Where the type is right it gets the answer, errors among them.
        let wanted = match waiter.command.spec.group {
            Group::List => Some("list"),
            Group::SortedSet => Some("zset"),
            _ => None,
        };
        let entry = self.state.find(db, key, self.now).ok().flatten();
        let found = entry.and_then(|entry| entry.value.as_ref()).map(crate::object::Value::type_name);
        if wanted.is_some() && found != wanted {
            return Ok(());
        }
        let unit = Unit { db: waiter.db, resp3: waiter.resp3, client: waiter.client, ..Unit::default() };
        let mut db = unit.db;
        let Ran::Reply(reply) = self.command(&unit, &mut db, &waiter.command, true, effects)? else { return Ok(()) };
        // XREADGROUP is told of a key that holds something else now; XREAD goes on waiting.
        let goes_on = wanted.is_none() && waiter.command.spec.name != "xreadgroup";
        if goes_on && matches!(&reply, Reply::Error(text) if text.starts_with("WRONGTYPE")) {
            return Ok(());
        }
        self.state.waiters.remove(at);
        if let Some(waiter) = self.keyspace.local_waiters.lock().remove(&at) {
            self.keyspace.finished.lock().push(Finished::Waiter(waiter.served, Ok(reply)));
        }
        Ok(())
    }
}
