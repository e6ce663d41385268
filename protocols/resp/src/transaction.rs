//! MULTI to EXEC.
//!
//! The commands of the keyspace are one unit, under its watches. Those of the door (PUBLISH, CLIENT, …) run behind it,
//! each with its reply in its place: nobody can tell, because the unit is applied as a whole.

use std::time::Instant;

use bytes::Bytes;
use perigee_keyspace::{Command, Reply, Run, Spec, Unit, too_many_replies};
use perigee_telemetry::trace::Step;

use crate::codec::reply;
use crate::command::Entry;
use crate::session::{Ended, Replies, Session};
use crate::traces::tell_errors;

/// See the module.
#[derive(Default)]
pub(crate) struct Transaction {
    /// What was queued.
    pub(crate) commands: Vec<(&'static Entry, Vec<Bytes>)>,
    /// Bytes of their arguments, about.
    pub(crate) bytes: usize,
    /// A command could not be queued.
    pub(crate) is_broken: bool,
}

impl Session {
    /// Queues a command.
    pub(crate) fn queue(&mut self, entry: &'static Entry, args: Vec<Bytes>) -> Result<(), Ended> {
        if let Some(multi) = &mut self.multi {
            multi.bytes += args.iter().map(|arg| arg.len() + 32).sum::<usize>();
            if multi.bytes > self.shared.config.hot.query_buffer_bytes_max() {
                return Err(Ended);
            }
            // What waits in a transaction must not hold the network's buffers: each may be a thousand times as large.
            let args = args.iter().map(|arg| bytes::Bytes::copy_from_slice(arg)).collect();
            multi.commands.push((entry, args));
        }
        self.write(&Reply::status("QUEUED"));
        Ok(())
    }

    /// EXEC.
    pub(crate) async fn exec(&mut self) -> Result<Reply, Ended> {
        let Some(multi) = self.multi.take() else { return Ok(Reply::error("ERR EXEC without MULTI")) };
        let watches = std::mem::take(&mut self.watches);
        if multi.is_broken {
            return Ok(Reply::error("EXECABORT Transaction discarded because of previous errors."));
        }
        let tenant = self.client.tenant();
        let held = multi.commands.iter().find(|(entry, args)| self.shared.paused_for(tenant, entry, args).is_some());
        if let Some((entry, args)) = held {
            self.pause(entry, args).await?;
        }
        // A password or a rule may have changed since.
        for (entry, args) in &multi.commands {
            if let Err(Reply::Error(text)) = self.permit(entry, args, "multi") {
                return Ok(Reply::error(format!("EXECABORT Transaction discarded because of: {text}")));
            }
        }
        let mut commands: Vec<Command> = multi
            .commands
            .iter()
            .filter_map(|(entry, args)| Some(Command { spec: spec_in_unit(entry)?, args: args.clone() }))
            .collect();
        self.track(&commands);
        let count = commands.len();
        let began = Instant::now();
        let reads = watches.is_empty() && commands.iter().all(|command| matches!(command.spec.run, Run::Read(_)));
        if count == 1 && !watches.is_empty() {
            // One null alone would say that a watched key has changed.
            commands.extend(nothing());
        }
        let submitted = commands.len();
        let mut step = self.begin_transaction_trace(multi.commands.len());
        let replies = if count == 0 && watches.is_empty() {
            Vec::new()
        } else if reads {
            if let Some(error) = self.catch_up().await? {
                return Ok(error);
            }
            let mut replies = self.read(&commands);
            replies.resize(submitted, too_many_replies());
            replies
        } else {
            let watches = watches.into_iter().map(|((db, key), version)| (db, key, version)).collect();
            let traced = step.as_ref().map(Step::parent);
            let unit = Unit { transaction: true, watches, traced, ..self.unit(commands) };
            let (replies, _) = self.submit(unit, false, submitted).await?;
            if replies.len() != submitted {
                // A watched key has changed.
                return Ok(Reply::NullArray);
            }
            replies
        };
        tell_errors(&mut step, &replies);
        drop(step);
        let took = began.elapsed() / u32::try_from(count).unwrap_or(1).max(1);
        let mut replies = replies.into_iter();
        if self.replies == Replies::On {
            reply::array(&mut self.wire.output, multi.commands.len());
        }
        self.in_exec = true;
        for (entry, args) in &multi.commands {
            self.monitor(args, entry);
            let began = Instant::now();
            if spec_in_unit(entry).is_none() {
                let answer = self.run_door(entry, args).await?;
                self.finish(entry, args, &answer, began.elapsed());
                continue;
            }
            let answer = self.or_row(entry, args, replies.next().unwrap_or(Reply::Null)).await?;
            if entry.spec.name == "select" && !answer.is_error() {
                self.db =
                    args.get(1).and_then(|number| std::str::from_utf8(number).ok()?.parse().ok()).unwrap_or(self.db);
            }
            self.finish(entry, args, &answer, took);
            if self.wire.is_full() {
                self.wire.drain(&self.client).await?;
            }
        }
        self.in_exec = false;
        Ok(Reply::Nothing)
    }

    /// Answers one command of a transaction.
    fn finish(&mut self, entry: &'static Entry, args: &[Bytes], answer: &Reply, took: std::time::Duration) {
        if answer.is_error() {
            self.shared.stats.count_error(answer);
        }
        self.write(answer);
        self.ran(entry, args, took, answer.is_error());
    }
}

/// What a queued command is within the unit; `None` for what the door does behind it. SELECT is both: the commands behind
/// it in the unit must see it.
fn spec_in_unit(entry: &Entry) -> Option<&'static Spec> {
    if entry.spec.name == "select" {
        return perigee_keyspace::command::find(b"select");
    }
    entry.run.is_none().then_some(entry.spec)
}

/// A read of no keys.
fn nothing() -> Option<Command> {
    let args: Vec<Bytes> = [&b"CONFIG"[..], b"GET", b""].into_iter().map(Bytes::from_static).collect();
    let spec = perigee_keyspace::command::find(b"config")?.resolve(&args)?;
    Some(Command { spec, args })
}
