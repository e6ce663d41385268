//! From a command's words to who runs it, with the checks in Redis's order.

use std::sync::atomic::Ordering;
use std::time::Instant;

use bytes::Bytes;
use perigee_keyspace::{Command, Error, Flags, Reply, Spec};

use crate::command::{self, DoorRun, Entry, Found};
use crate::session::{Ended, Replies, Session};

/// Bytes of the arguments that the text on an unknown command shows.
const SHOWN_BYTES_MAX: usize = 128;

impl Session {
    /// Runs a command, puts it into the burst, or queues it.
    pub(crate) async fn dispatch(&mut self, args: Vec<Bytes>) -> Result<(), Ended> {
        let entry = match command::find(&args) {
            Found::Command(entry) => entry,
            // An error would stand where the reply to the client's first command belongs, and so on with all behind it.
            Found::Unknown if begins_proxy_header(&args) => {
                tracing::debug!(
                    client = self.client.id,
                    "closed: a PROXY header of who is not among the trusted proxies"
                );
                self.closing = true;
                return Ok(());
            }
            Found::Unknown => return self.reject(&args, unknown(&args)).await,
            Found::UnknownSub(container) => return self.reject(&args, unknown_sub(container, &args)).await,
        };
        if let Err(error) = self.check(entry, &args) {
            entry.rejected(&self.shared);
            return self.reject(&args, error).await;
        }
        if self.multi.is_some() && !entry.runs_in_multi() {
            if let Some(error) = self.refuses_row(entry, &args).await? {
                entry.rejected(&self.shared);
                return self.reject(&args, error).await;
            }
            return self.queue(entry, args);
        }
        match entry.run {
            None if self.table_row(entry, &args).await? => Ok(()),
            None => self.take(entry, args).await,
            Some(_) => {
                self.run_burst().await?;
                self.pause(entry, &args).await?;
                let is_exec = entry.spec.name == "exec";
                if !is_exec {
                    self.monitor(&args, entry);
                }
                let replies = self.replies;
                let began = Instant::now();
                let written = self.wire.output.len();
                if matches!(entry.spec.name, "auth" | "hello") {
                    // A user who was just made on another node. Without a leader those count that are known here.
                    self.catch_up().await?;
                }
                let answer = match entry.spec.name {
                    "watch" => {
                        let refused = match self.catch_up().await? {
                            None if self.multi.is_none() => self.refuses_watch(&args).await?,
                            refused => refused,
                        };
                        match refused {
                            Some(error) => error,
                            None => self.run_door(entry, &args).await?,
                        }
                    }
                    _ => self.run_door(entry, &args).await?,
                };
                if is_exec {
                    self.monitor(&args, entry);
                }
                let failed = answer.is_error() || self.wire.output.get(written) == Some(&b'-');
                self.shared.stats.count_error(&answer);
                self.write(&answer);
                self.ran(entry, &args, began.elapsed(), failed);
                // What CLIENT REPLY SKIP said holds for one command behind it.
                if replies == Replies::SkipNext && self.replies == Replies::SkipNext {
                    self.replies = Replies::On;
                }
                Ok(())
            }
        }
    }

    /// Runs a command of the door.
    pub(crate) async fn run_door(&mut self, entry: &'static Entry, args: &[Bytes]) -> Result<Reply, Ended> {
        if self.run_elsewhere(entry, args).await? {
            return Ok(Reply::Nothing);
        }
        let result = match entry.run {
            Some(DoorRun::Now(run)) => run(self, args),
            Some(DoorRun::Later(run)) => run(self, args).await?,
            None => Err(Error::reply("ERR unknown command")),
        };
        Ok(match result {
            Ok(reply) => reply,
            Err(error) => error_reply(error),
        })
    }

    /// Puts a command of the keyspace into the burst, and runs it when it is full.
    async fn take(&mut self, entry: &'static Entry, args: Vec<Bytes>) -> Result<(), Ended> {
        if self.shared.paused_for(self.client.tenant(), entry, &args).is_some() {
            self.run_burst().await?;
            self.pause(entry, &args).await?;
        }
        // Its reply may depend on what is said for it alone.
        let is_alone = self.replies == Replies::SkipNext || self.tracking.caching.is_some();
        if is_alone {
            self.run_burst().await?;
        }
        let waits = entry.spec.flags.contains(Flags::BLOCKING) && command::may_wait(entry.spec, &args);
        let is_full = self.burst.push(entry, Command { spec: entry.spec, args }, waits);
        if is_full || is_alone {
            self.run_burst().await?;
        }
        if is_alone {
            self.tracking.caching = None;
            if self.replies == Replies::SkipNext {
                self.replies = Replies::On;
            }
        }
        Ok(())
    }

    async fn reject(&mut self, _args: &[Bytes], error: Reply) -> Result<(), Ended> {
        self.run_burst().await?;
        if let Some(multi) = &mut self.multi {
            multi.is_broken = true;
        }
        self.shared.stats.count_error(&error);
        self.write(&error);
        if self.replies == Replies::SkipNext {
            self.replies = Replies::On;
        }
        Ok(())
    }

    fn check(&mut self, entry: &'static Entry, args: &[Bytes]) -> Result<(), Reply> {
        let spec = entry.spec;
        if !spec.takes(args.len()) {
            return Err(Reply::error(format!("ERR wrong number of arguments for '{}' command", spec.name)));
        }
        if !self.is_known() && !spec.flags.contains(Flags::NO_AUTH) {
            return Err(Reply::error("NOAUTH Authentication required."));
        }
        if self.multi.is_some() && spec.flags.contains(Flags::NO_MULTI) {
            return Err(Reply::error("ERR Command not allowed inside a transaction"));
        }
        self.permit(entry, args, if self.multi.is_some() { "multi" } else { "toplevel" })?;
        if spec.flags.contains(Flags::DENYOOM) && self.shared.is_out_of_memory() {
            return Err(Reply::error("OOM command not allowed when used memory > 'maxmemory'."));
        }
        if spec.flags.contains(Flags::WRITE) && self.shared.lacks_replicas() {
            return Err(Reply::error("NOREPLICAS Not enough good replicas to write."));
        }
        if !self.resp3 && self.is_subscribed() && !allowed_while_subscribed(spec) {
            return Err(Reply::error(format!(
                "ERR Can't execute '{}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context",
                spec.name
            )));
        }
        Ok(())
    }

    /// Whether the connection has subscriptions.
    pub(crate) fn is_subscribed(&self) -> bool {
        !(self.channels.is_empty() && self.patterns.is_empty() && self.shards.is_empty())
    }

    /// Waits while CLIENT PAUSE holds commands back.
    pub(crate) async fn pause(&mut self, entry: &'static Entry, args: &[Bytes]) -> Result<(), Ended> {
        while let Some(ended) = self.shared.paused_for(self.client.tenant(), entry, args) {
            self.set_blocked(true);
            let waited = self.wait(true, ended).await;
            self.set_blocked(false);
            waited?;
        }
        Ok(())
    }

    /// What INFO and CLIENT LIST say of clients that wait.
    pub(crate) fn set_blocked(&self, blocked: bool) {
        let before = std::mem::replace(&mut self.client.view.lock().blocked, blocked);
        match (before, blocked) {
            (false, true) => self.shared.stats.blocked.fetch_add(1, Ordering::Relaxed),
            (true, false) => self.shared.stats.blocked.fetch_sub(1, Ordering::Relaxed),
            _ => 0,
        };
    }

    /// Keeps what statistics keep of a command that has run.
    pub(crate) fn ran(&mut self, entry: &'static Entry, args: &[Bytes], took: std::time::Duration, failed: bool) {
        self.count(entry, args, took, failed);
        self.show_ran(entry, Instant::now());
    }

    /// What others see of the last command that has run.
    pub(crate) fn show_ran(&self, entry: &Entry, at: Instant) {
        self.client.active_ms.store(self.client.age_ms_at(at), Ordering::Relaxed);
        self.client.view.lock().runs(entry.spec.name);
    }

    /// Counts a command that has run.
    pub(crate) fn count(&mut self, entry: &'static Entry, args: &[Bytes], took: std::time::Duration, failed: bool) {
        entry.ran(&self.shared, took, failed);
        if !failed && matches!(entry.spec.name, "flushall" | "flushdb") {
            self.shared.tracking.flush(&self.shared, self.client.tenant());
        }
        let threshold = self.shared.config.hot.latency_threshold_ms.load(Ordering::Relaxed);
        let ms = i64::try_from(took.as_millis()).unwrap_or(i64::MAX);
        if threshold > 0 && ms >= threshold && !entry.spec.flags.contains(Flags::BLOCKING) {
            let is_fast = entry.spec.flags.contains(Flags::FAST);
            self.shared.latency.add(if is_fast { "fast-command" } else { "command" }, ms);
        }
        if !args.is_empty() && !entry.spec.flags.contains(Flags::SKIP_SLOWLOG) {
            self.shared.slowlog.keep(&self.shared.config.hot, &self.client, args, took);
        }
    }

    pub(crate) fn monitor(&self, args: &[Bytes], entry: &'static Entry) {
        // Scripts are shown before their calls, which the keyspace tells of.
        let is_shown = !entry.spec.flags.intersects(Flags::SKIP_MONITOR | Flags::ADMIN)
            || entry.spec.group == perigee_keyspace::Group::Scripting;
        if self.shared.monitors.is_any() && is_shown {
            self.shared.monitors.tell(&self.shared, self.db, &self.client.address(), args);
        }
    }
}

/// As a reply.
pub(crate) fn error_reply(error: Error) -> Reply {
    match error {
        Error::Reply(text) => Reply::Error(text),
        other => Reply::error(format!("ERR {other}")),
    }
}

fn allowed_while_subscribed(spec: &Spec) -> bool {
    matches!(
        spec.name,
        "ping"
            | "subscribe"
            | "ssubscribe"
            | "psubscribe"
            | "unsubscribe"
            | "sunsubscribe"
            | "punsubscribe"
            | "quit"
            | "reset"
    )
}

/// What a proxy of HAProxy's protocol sends in front of a client's bytes, version 1. That of version 2 ends with QUIT.
fn begins_proxy_header(args: &[Bytes]) -> bool {
    let kinds: [&[u8]; 3] = [b"TCP4", b"TCP6", b"UNKNOWN"];
    matches!(args, [name, kind, ..] if **name == *b"PROXY" && kinds.contains(&&**kind))
}

fn unknown(args: &[Bytes]) -> Reply {
    let mut shown = String::new();
    for arg in args.iter().skip(1) {
        if shown.len() >= SHOWN_BYTES_MAX {
            break;
        }
        let room = SHOWN_BYTES_MAX - shown.len();
        shown.push_str(&format!("'{}' ", text(arg, room)));
    }
    let name = args.first().map(|name| text(name, SHOWN_BYTES_MAX)).unwrap_or_default();
    Reply::error(format!("ERR unknown command '{name}', with args beginning with: {shown}"))
}

fn unknown_sub(container: &Spec, args: &[Bytes]) -> Reply {
    match args.get(1) {
        Some(word) => Reply::error(format!(
            "ERR unknown subcommand '{}'. Try {} HELP.",
            text(word, SHOWN_BYTES_MAX),
            container.name.to_ascii_uppercase()
        )),
        None => Reply::error(format!("ERR wrong number of arguments for '{}' command", container.name)),
    }
}

/// The first bytes of an argument as text.
fn text(arg: &[u8], bytes_max: usize) -> String {
    String::from_utf8_lossy(arg.get(..bytes_max).unwrap_or(arg)).into_owned()
}
