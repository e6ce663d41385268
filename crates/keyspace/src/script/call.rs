//! `redis.call`: a command within a script.

use bytes::Bytes;
use mlua::{Lua, MultiValue, Value};

use super::convert;
use super::number::format_g;
use super::vm::SMALL_BYTES;
use crate::args::{is, parse_integer};
use crate::growth::{Growth, longest};
use crate::object::Str;
use crate::run::ensure;
use crate::spec::{Flags, Run};
use crate::{Denial, Load, Observed, Ran, Refuse, Reply, Spec, StorageFault, Writer, run_command};

/// What a script works on.
pub(super) struct Host<'h, 'w> {
    pub(super) writer: &'h mut Writer<'w>,
    load: &'w dyn Load,
    is_read_only: bool,
    /// The script says that it may use memory where there is none.
    allows_oom: bool,
    /// A command that writes has run: from here on nothing is refused that does not depend on the command itself.
    has_written: bool,
    /// A command that only reads has run.
    pub(super) has_read: bool,
    /// The last error of a call.
    last_error: Option<String>,
    /// By how many bytes its calls have made strings longer than what they were given.
    grown: u64,
    /// Bytes that its calls have written once more, or unpacked, about.
    copied: usize,
    /// Why the node must stop.
    pub(super) fault: Option<StorageFault>,
}

/// How far a script may make strings longer by naming places in them: a unit of commands is asked for that before it is logged, and
/// nobody knows what a script will do.
const GROWN_BYTES_MAX: u64 = 128 << 20;
/// The same of bytes that commands write which copy what keys hold: two short calls in a loop would fill any memory.
const COPIED_BYTES_MAX: usize = 1 << 30;

/// The arguments of a call as bytes.
pub(super) fn words(lua: &Lua, args: &MultiValue) -> Result<Vec<Bytes>, String> {
    if args.is_empty() {
        return Err("ERR Please specify at least one argument for this redis lib call".to_owned());
    }
    let mut words = Vec::with_capacity(args.len());
    for arg in args {
        words.push(match arg {
            Value::String(text) => Bytes::copy_from_slice(&text.as_bytes()),
            Value::Integer(value) if value.unsigned_abs() < 1 << 53 => {
                Bytes::copy_from_slice(itoa::Buffer::new().format(*value).as_bytes())
            }
            Value::Integer(value) => format_g(*value as f64, 17).into(),
            Value::Number(value) => format_g(*value, 17).into(),
            _ => {
                let _ = lua;
                return Err("ERR Lua redis lib command arguments must be strings or integers".to_owned());
            }
        });
    }
    Ok(words)
}

/// Whether Lua may be given it beyond the limit of memory: see [`SMALL_BYTES`].
fn is_small(reply: &Reply) -> bool {
    match reply {
        Reply::Bulk(bytes) => bytes.len() <= SMALL_BYTES,
        Reply::Status(_) | Reply::Integer(_) | Reply::Null | Reply::Double(_) | Reply::Boolean(_) => true,
        _ => false,
    }
}

/// Commands that scripts may use and that the keyspace has not: what they do here is all that they can do.
const OWN: [&str; 6] = ["time", "publish", "spublish", "select", "echo", "ping"];

/// Commands of connections and of the server, which a script may not use.
const REFUSED: &[&str] = &[
    "acl",
    "asking",
    "auth",
    "bgrewriteaof",
    "bgsave",
    "client",
    "cluster",
    "command",
    "config",
    "debug",
    "discard",
    "exec",
    "failover",
    "hello",
    "info",
    "lastsave",
    "latency",
    "memory",
    "migrate",
    "module",
    "monitor",
    "multi",
    "psubscribe",
    "psync",
    "pubsub",
    "punsubscribe",
    "quit",
    "readonly",
    "readwrite",
    "replconf",
    "replicaof",
    "reset",
    "role",
    "save",
    "shutdown",
    "slaveof",
    "slowlog",
    "ssubscribe",
    "subscribe",
    "sunsubscribe",
    "sync",
    "unsubscribe",
    "unwatch",
    "wait",
    "waitaof",
    "watch",
];

impl<'h, 'w> Host<'h, 'w> {
    pub(super) fn new(writer: &'h mut Writer<'w>, load: &'w dyn Load, is_read_only: bool, allows_oom: bool) -> Self {
        Self {
            writer,
            load,
            is_read_only,
            allows_oom,
            has_written: false,
            has_read: false,
            last_error: None,
            grown: 0,
            copied: 0,
            fault: None,
        }
    }

    /// The reply of the script: an error of a call that became it is counted with it, not twice.
    pub(super) fn ended(&mut self, reply: &Reply) {
        if let (Reply::Error(text), Some(last)) = (reply, &self.last_error)
            && text.starts_with(last.as_str())
        {
            self.writer.effects.call_errors.pop();
        }
    }

    fn observes(&self, what: Observed) -> bool {
        self.writer.context.observed.contains(what)
    }

    pub(super) fn resp3(&self) -> bool {
        self.writer.context.resp3
    }

    pub(super) fn set_resp3(&mut self, resp3: bool) {
        self.writer.context.resp3 = resp3;
    }

    /// Runs a command: what Lua gets, or the text of an error.
    pub(super) fn call(&mut self, lua: &Lua, args: &MultiValue) -> mlua::Result<Result<Value, String>> {
        let reply = match words(lua, args).and_then(|words| self.reply(&words)) {
            Ok(Reply::Error(text)) => Err(text.into_owned()),
            other => other,
        };
        match reply {
            Err(text) => {
                if self.observes(Observed::COUNTS) {
                    self.writer.effects.keep_error(&text);
                }
                self.last_error = Some(text.clone());
                Ok(Err(text))
            }
            Ok(reply) if is_small(&reply) => {
                let limit = lua.set_memory_limit(0)?;
                let value = convert::to_lua(lua, &reply, self.resp3());
                lua.set_memory_limit(limit)?;
                value.map(Ok)
            }
            Ok(reply) => convert::to_lua(lua, &reply, self.resp3()).map(Ok),
        }
    }

    /// Whether the user who runs the script may call that; an error where there is no such command.
    pub(super) fn may_call(&self, words: &[Bytes]) -> Result<bool, String> {
        const WRONG: &str = "ERR Invalid command passed to redis.acl_check_cmd()";
        let permit = self.writer.context.permit.as_ref();
        let name = words.first().ok_or(WRONG)?;
        if let Some(spec) = crate::command::find(name) {
            let spec = spec.resolve(words).ok_or(WRONG)?;
            return Ok(permit.is_none_or(|permit| permit.check(spec.name, Some(spec), words).is_ok()));
        }
        if let Some(own) = OWN.iter().find(|own| is(name, own)) {
            return Ok(permit.is_none_or(|permit| permit.check(own, None, words).is_ok()));
        }
        // What no script can call is not in a permit.
        if REFUSED.iter().any(|refused| is(name, refused)) { Ok(permit.is_none()) } else { Err(WRONG.to_owned()) }
    }

    /// Whether the user may call that.
    fn permit(&mut self, name: &'static str, spec: Option<&Spec>, words: &[Bytes]) -> Result<(), String> {
        let Some(permit) = &self.writer.context.permit else { return Ok(()) };
        let Err(denial) = permit.check(name, spec, words) else { return Ok(()) };
        let text = match &denial {
            Denial::Command(name) => {
                let user = String::from_utf8_lossy(&permit.user);
                format!("NOPERM ACL failure in script: User {user} has no permissions to run the '{name}' command")
            }
            Denial::Key(_) => "NOPERM ACL failure in script: No permissions to access a key".to_owned(),
            Denial::Channel(_) => "NOPERM ACL failure in script: No permissions to access a channel".to_owned(),
            Denial::Sort(option) => {
                format!("ERR {option} option of SORT denied due to insufficient ACL permissions.")
            }
        };
        if self.observes(Observed::COUNTS) {
            self.writer.effects.keep_denial(denial);
        }
        Err(text)
    }

    fn reply(&mut self, words: &[Bytes]) -> Result<Reply, String> {
        const UNKNOWN: &str = "ERR Unknown Redis command called from script";
        const NOT_ALLOWED: &str = "ERR This Redis command is not allowed from script";
        let Some(name) = words.first() else { return Err(UNKNOWN.to_owned()) };
        let found = crate::command::find(name).filter(|spec| !matches!(spec.run, Run::Door));
        let Some(spec) = found else {
            return match OWN.iter().find(|own| is(name, own)) {
                Some(own) => {
                    self.permit(own, None, words)?;
                    self.own(own, words)
                }
                None if REFUSED.iter().any(|refused| is(name, refused)) => Err(NOT_ALLOWED.to_owned()),
                None => Err(UNKNOWN.to_owned()),
            };
        };
        let spec = spec.resolve(words).ok_or(UNKNOWN)?;
        if !spec.takes(words.len()) {
            return Err("ERR Wrong number of args calling Redis command from script".to_owned());
        }
        if let Err(text) = self.admit(spec, words) {
            if self.observes(Observed::COUNTS) {
                self.writer.effects.calls_of(spec).rejected += 1;
            }
            return Err(text);
        }
        self.has_written |= spec.flags.contains(Flags::WRITE);
        if spec.flags.contains(Flags::READONLY) {
            self.has_read = true;
            if self.observes(Observed::READS) {
                let keys = spec.keys_of(words);
                self.writer.effects.reads.extend(keys.iter().map(|(at, _)| words[*at].clone()));
            }
        }
        if self.observes(Observed::ARGS) {
            self.writer.effects.keep_args(self.writer.context.db.number, words);
        }
        let reply = match run_command(self.writer, self.load, spec, words) {
            Ok(Ran::Reply(reply)) => {
                if spec.name == "restore" {
                    self.copied = self.copied.saturating_add(words.get(1).map_or(0, |key| self.bytes_of(key)));
                }
                reply
            }
            Ok(Ran::Block(block)) => block.otherwise,
            Err(fault) => {
                self.fault = Some(fault);
                return Err("ERR the node stops".to_owned());
            }
        };
        if self.observes(Observed::COUNTS) {
            let calls = self.writer.effects.calls_of(spec);
            calls.count += 1;
            calls.failed += u64::from(reply.is_error());
        }
        Ok(reply)
    }

    /// Whether a command of the keyspace may run now.
    fn admit(&mut self, spec: &'static Spec, words: &[Bytes]) -> Result<(), String> {
        if spec.flags.contains(Flags::NOSCRIPT) {
            return Err("ERR This Redis command is not allowed from script".to_owned());
        }
        self.permit(spec.name, Some(spec), words)?;
        if self.is_read_only
            && (spec.flags.contains(Flags::WRITE) || spec.is_write() && !spec.flags.contains(Flags::READONLY))
        {
            return Err("ERR Write commands are not allowed from read-only scripts.".to_owned());
        }
        if matches!(spec.name, "xread" | "xreadgroup")
            && words.iter().take_while(|word| !is(word, "streams")).any(|word| is(word, "block"))
        {
            let name = String::from_utf8_lossy(&words[0]);
            return Err(format!("ERR {name} command is not allowed with BLOCK option from scripts"));
        }
        if let (Growth::To(bytes), Some(key)) = (spec.grows, words.get(1)) {
            if let Err(fault) = ensure(self.writer.state, self.load, self.writer.context.db, key) {
                self.fault = Some(fault);
                return Err("ERR the node stops".to_owned());
            }
            let held = self.writer.get::<Str>(key).ok().flatten().map_or(0, Str::len);
            let bytes = bytes(words);
            if bytes <= longest(self.writer.state) {
                self.grown = self.grown.saturating_add(bytes.saturating_sub(held as u64));
            }
            if self.grown > GROWN_BYTES_MAX {
                return Err("OOM command not allowed when used memory > 'maxmemory'.".to_owned());
            }
        }
        if matches!(spec.grows, Growth::Copies) || spec.name == "restore" {
            self.copy(spec, words)?;
        }
        let refuse = if self.has_written { Refuse::empty() } else { self.writer.context.refuse };
        if refuse.contains(Refuse::REPLICAS) && spec.flags.contains(Flags::WRITE) {
            return Err(super::NO_REPLICAS.to_owned());
        }
        if refuse.contains(Refuse::MEMORY) && !self.allows_oom && spec.flags.contains(Flags::DENYOOM) {
            return Err("OOM command not allowed when used memory > 'maxmemory'.".to_owned());
        }
        Ok(())
    }

    /// Counts what a command copies; an error where that is too much.
    fn copy(&mut self, spec: &'static Spec, words: &[Bytes]) -> Result<(), String> {
        let keys = spec.keys_of(words);
        // One key alone is read: SORT without STORE.
        for (at, _) in keys.iter().filter(|_| keys.len() > 1) {
            let key = &words[*at];
            if let Err(fault) = ensure(self.writer.state, self.load, self.writer.context.db, key) {
                self.fault = Some(fault);
                return Err("ERR the node stops".to_owned());
            }
            self.copied = self.copied.saturating_add(self.bytes_of(key));
        }
        if self.copied > COPIED_BYTES_MAX {
            return Err("OOM command not allowed when used memory > 'maxmemory'.".to_owned());
        }
        Ok(())
    }

    /// Bytes of what a key holds that is in memory, about: the same on every node.
    fn bytes_of(&self, key: &[u8]) -> usize {
        let entry = self.writer.entry(key).ok().flatten();
        entry.and_then(|entry| entry.value.as_ref()).map_or(0, crate::object::Value::memory)
    }

    fn own(&mut self, name: &str, words: &[Bytes]) -> Result<Reply, String> {
        let arity = match name {
            "time" => 1..=1,
            "publish" | "spublish" => 3..=3,
            "ping" => 1..=2,
            _ => 2..=2,
        };
        if !arity.contains(&words.len()) {
            return Err("ERR Wrong number of args calling Redis command from script".to_owned());
        }
        Ok(match name {
            "time" => {
                let now = self.writer.now();
                let (seconds, micros) = (now.div_euclid(1_000), now.rem_euclid(1_000) * 1_000);
                Reply::Array(vec![Reply::bulk(seconds.to_string()), Reply::bulk(micros.to_string())])
            }
            "publish" | "spublish" => {
                if self.is_read_only {
                    return Err("ERR Write commands are not allowed from read-only scripts.".to_owned());
                }
                self.writer.publish(words[1].clone(), words[2].clone(), name == "spublish");
                // Who receives it differs from node to node.
                Reply::Integer(0)
            }
            "select" => {
                let databases = i64::from(self.writer.state().settings.databases);
                let number = parse_integer(&words[1]).ok_or("ERR value is not an integer or out of range")?;
                if !(0..databases).contains(&number) {
                    return Err("ERR DB index is out of range".to_owned());
                }
                self.writer.context.db.number = number as u32;
                Reply::OK
            }
            "ping" if words.len() == 1 => Reply::status("PONG"),
            _ => Reply::Bulk(words[1].clone()),
        })
    }
}
