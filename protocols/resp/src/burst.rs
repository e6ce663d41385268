//! Commands of the keyspace that came together run together: reads under one lock, or all of them as one unit of the log.

use std::time::Instant;

use bytes::Bytes;
use perigee_keyspace::{Command, Context, Flags, Reply, Run, Started, SubmitError, Unit};
use perigee_telemetry::trace::Step;

use crate::command::Entry;
use crate::session::{Ended, Session};
use crate::traces::tell_errors;

/// Commands of a burst.
const COMMANDS_MAX: usize = 512;
/// Commands that read under one lock.
const READS: usize = 16;
/// Those among them whose replies may have very many parts: all are made before the first is written.
const LARGE_READS: usize = 2;
/// The same in a burst, which a command behind them may make one that is logged.
const LARGE_READS_MAX: usize = 4;
/// Bytes of their arguments, about.
const BYTES_MAX: usize = 256 << 10;
/// Vectors with room for so many commands are used again; those of longer bursts would be a quiet connection's for ever.
const COMMANDS_KEPT: usize = 32;

/// See the module.
#[derive(Default)]
pub(crate) struct Burst {
    commands: Vec<Command>,
    entries: Vec<&'static Entry>,
    /// For the replies; empty.
    replies: Vec<Reply>,
    bytes: usize,
    /// Commands that read and whose replies may be large.
    large_reads: usize,
    /// Something is to be logged.
    writes: bool,
    /// The last one may wait.
    waits: bool,
}

impl Burst {
    /// Whether nothing was gathered.
    pub(crate) fn is_empty(&self) -> bool {
        self.commands.is_empty()
    }

    /// Adds a command; says whether the burst is to be run now.
    pub(crate) fn push(&mut self, entry: &'static Entry, command: Command, waits: bool) -> bool {
        self.bytes += command.args.iter().map(|arg| arg.len() + 16).sum::<usize>();
        self.writes |= command.spec.is_write() || waits;
        self.waits = waits;
        self.large_reads += usize::from(is_large_read(&command));
        self.commands.push(command);
        self.entries.push(entry);
        waits || self.commands.len() >= COMMANDS_MAX || self.bytes >= BYTES_MAX || self.large_reads >= LARGE_READS_MAX
    }
}

/// Replies of commands, and the commands.
type Answers = (Vec<Reply>, Vec<Command>);

/// Whether a command reads, and its reply may have very many parts.
fn is_large_read(command: &Command) -> bool {
    matches!(command.spec.run, Run::Read(_)) && !command.spec.flags.contains(Flags::FAST)
}

/// How many of these commands read under the next lock.
fn turn(commands: &[Command]) -> usize {
    let mut large = 0;
    let fits = |command: &&Command| {
        large += usize::from(is_large_read(command));
        large <= LARGE_READS
    };
    commands.iter().take(READS).take_while(fits).count().max(1)
}

impl Session {
    /// Runs the commands that were gathered, and answers them.
    pub(crate) async fn run_burst(&mut self) -> Result<(), Ended> {
        if self.burst.commands.is_empty() {
            return Ok(());
        }
        let Burst { mut commands, mut entries, mut replies, writes, waits, .. } = std::mem::take(&mut self.burst);
        if self.shared.monitors.is_any() {
            for (command, entry) in commands.iter().zip(&entries) {
                self.monitor(&command.args, entry);
            }
        }
        self.track(&commands);
        if writes {
            let began = Instant::now();
            let mut step = self.begin_trace(entries.first().map_or("", |entry| entry.spec.name), entries.len());
            let unit = Unit { replies, traced: step.as_ref().map(Step::parent), ..self.unit(commands) };
            if waits {
                self.show();
                if let Some(last) = entries.last() {
                    self.client.view.lock().runs(last.spec.name);
                }
            }
            (replies, commands) = self.submit(unit, waits, entries.len()).await?;
            tell_errors(&mut step, &replies);
            drop(step);
            let args = commands.iter().map(|command| command.args.as_slice());
            self.answer(&mut replies, &entries, args, began).await?;
        } else {
            let mut step = self.begin_trace(entries.first().map_or("", |entry| entry.spec.name), entries.len());
            if let Some(error) = self.catch_up().await? {
                replies.resize(commands.len(), error);
                let args = commands.iter().map(|command| command.args.as_slice());
                return self.answer(&mut replies, &entries, args, Instant::now()).await;
            }
            // Some at a time: their replies may be large, and a client may ask faster than it reads.
            let mut from = 0;
            while let Some(rest) = commands.get(from..).filter(|rest| !rest.is_empty()) {
                let began = Instant::now();
                let mut replies = self.read(&rest[..turn(rest)]);
                tell_errors(&mut step, &replies);
                let count = replies.len().max(1);
                let args = rest[..count].iter().map(|command| command.args.as_slice());
                self.answer(&mut replies, &entries[from..from + count], args, began).await?;
                from += count;
            }
        }
        if entries.capacity().max(commands.capacity()).max(replies.capacity()) <= COMMANDS_KEPT {
            entries.clear();
            commands.clear();
            (self.burst.entries, self.burst.commands, self.burst.replies) = (entries, commands, replies);
        }
        Ok(())
    }

    /// Writes replies, no faster than the client takes them, and counts their commands; leaves none.
    async fn answer<'a>(
        &mut self,
        replies: &mut Vec<Reply>,
        entries: &[&'static Entry],
        mut args: impl Iterator<Item = &'a [Bytes]>,
        began: Instant,
    ) -> Result<(), Ended> {
        let ended = Instant::now();
        let took = (ended - began) / u32::try_from(entries.len()).unwrap_or(1).max(1);
        // One that is written is of no more use: those behind it may wait for the client for long.
        for (number, reply) in replies.drain(..).enumerate() {
            self.write(&reply);
            if let Some(entry) = entries.get(number) {
                // Those of commands that were refused have gone.
                let args = args.next().unwrap_or_default();
                match &reply {
                    Reply::Error(_) => self.shared.stats.count_error(&reply),
                    _ if entry.spec.flags.contains(Flags::READONLY) && !entry.spec.keys.is_empty() => {
                        self.shared.stats.count_read(&reply);
                    }
                    _ => {}
                }
                self.count(entry, args, took, reply.is_error());
            }
            drop(reply);
            if self.wire.is_full() {
                self.wire.drain(&self.client).await?;
            }
        }
        if let Some(last) = entries.last() {
            self.show_ran(last, ended);
        }
        Ok(())
    }

    /// Runs commands that read.
    pub(crate) fn read(&mut self, commands: &[Command]) -> Vec<Reply> {
        let finds_keys = commands.iter().any(|command| command.spec.finds_keys());
        let permit = if finds_keys { self.script_permit() } else { None };
        let keyspace = &self.shared.keyspace;
        let context = Context {
            resp3: self.resp3,
            client: self.client.id,
            must_not_wait: true,
            no_touch: self.no_touch,
            permit,
            ..keyspace.context(self.db_id())
        };
        match keyspace.read(&context, commands) {
            Ok(replies) => replies,
            Err(fault) => {
                tracing::error!(error = %fault, "a read of the keyspace failed");
                let error = Reply::error(format!("ERR {fault}"));
                commands.iter().map(|_| error.clone()).collect()
            }
        }
    }

    /// Submits a unit of `count` commands; gives their replies, and the commands where they were applied.
    ///
    /// # Errors
    /// [`Ended`] also where nobody knows whether it took effect: no reply would be true.
    pub(crate) async fn submit(&mut self, unit: Unit, waits: bool, count: usize) -> Result<Answers, Ended> {
        let started = {
            // Not a handle of its own: all connections would count it on two cores.
            let mut started = std::pin::pin!(self.shared.keyspace.start(unit));
            let Ok(started) = self.wire.wait(&self.client, false, started.as_mut()).await else {
                // Others see it go only when it waits no more: who pushes then finds nobody to give the element to.
                if waits {
                    drop(started.await);
                }
                return Err(Ended);
            };
            started
        };
        let answers = match started {
            Ok(Started::Replies(replies, commands)) => Ok((replies, commands)),
            Ok(Started::Waits(waiting)) => {
                // Not before: who sees that it is blocked may unblock it.
                self.set_blocked(true);
                let served = self.wait(true, waiting.end()).await;
                self.set_blocked(false);
                served?
            }
            Err(error) => Err(error),
        };
        match answers {
            Ok(answers) => Ok(answers),
            Err(SubmitError::Unknown) => Err(Ended),
            Err(SubmitError::Refused(text)) => Ok((vec![Reply::error(text); count], Vec::new())),
        }
    }

    /// Whether this client is to be told when the keys change that it reads now.
    pub(crate) fn remembers_reads(&self) -> bool {
        let tracking = &self.tracking;
        if !tracking.on || tracking.bcast {
            return false;
        }
        if tracking.optin {
            tracking.caching == Some(true)
        } else {
            !(tracking.optout && tracking.caching == Some(false))
        }
    }

    /// Remembers the keys that a tracking client reads, before it reads them. What scripts read is known at apply.
    pub(crate) fn track(&mut self, commands: &[Command]) {
        if !self.remembers_reads() {
            return;
        }
        for command in commands {
            let reads = matches!(command.spec.run, Run::Read(_)) && command.spec.flags.contains(Flags::READONLY);
            if reads && command.spec.takes(command.args.len()) {
                let keys: Vec<Bytes> =
                    command.spec.keys_of(&command.args).iter().map(|(at, _)| command.args[*at].clone()).collect();
                self.shared.tracking.remember(&self.shared, &self.client, &keys);
            }
        }
    }
}
