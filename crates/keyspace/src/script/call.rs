//! `redis.call`: a command within a script.

use bytes::Bytes;
use mlua::{Lua, MultiValue, Value};

use super::convert;
use super::number::format_g;
use crate::args::{is, parse_integer};
use crate::spec::{Flags, Run};
use crate::{Load, Ran, Reply, StorageFault, Writer, run_command};

/// What a script works on.
pub(super) struct Host<'h, 'w> {
    pub(super) writer: &'h mut Writer<'w>,
    load: &'w dyn Load,
    is_read_only: bool,
    /// Why the node must stop.
    pub(super) fault: Option<StorageFault>,
}

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

/// Whether a command is one of [`OWN`].
pub(super) fn is_own(name: &[u8]) -> bool {
    OWN.iter().any(|own| is(name, own))
}

impl<'h, 'w> Host<'h, 'w> {
    pub(super) fn new(writer: &'h mut Writer<'w>, load: &'w dyn Load, is_read_only: bool) -> Self {
        Self { writer, load, is_read_only, fault: None }
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
            Ok(reply) => reply,
            Err(text) => return Ok(Err(text)),
        };
        match reply {
            Reply::Error(text) => Ok(Err(text.into_owned())),
            reply => convert::to_lua(lua, &reply, self.resp3()).map(Ok),
        }
    }

    fn reply(&mut self, words: &[Bytes]) -> Result<Reply, String> {
        const UNKNOWN: &str = "ERR Unknown Redis command called from script";
        const NOT_ALLOWED: &str = "ERR This Redis command is not allowed from script";
        let Some(name) = words.first() else { return Err(UNKNOWN.to_owned()) };
        let found = crate::command::find(name).filter(|spec| !matches!(spec.run, Run::Door));
        let Some(spec) = found else {
            return match OWN.iter().find(|own| is(name, own)) {
                Some(own) => self.own(own, words),
                None if REFUSED.iter().any(|refused| is(name, refused)) => Err(NOT_ALLOWED.to_owned()),
                None => Err(UNKNOWN.to_owned()),
            };
        };
        let spec = spec.resolve(words).ok_or(UNKNOWN)?;
        if !spec.takes(words.len()) {
            return Err("ERR Wrong number of args calling Redis command from script".to_owned());
        }
        if spec.flags.contains(Flags::NOSCRIPT) {
            return Err(NOT_ALLOWED.to_owned());
        }
        if self.is_read_only
            && (spec.flags.contains(Flags::WRITE) || spec.is_write() && !spec.flags.contains(Flags::READONLY))
        {
            return Err("ERR Write commands are not allowed from read-only scripts.".to_owned());
        }
        if matches!(spec.name, "xread" | "xreadgroup")
            && words.iter().take_while(|word| !is(word, "streams")).any(|word| is(word, "block"))
        {
            let name = String::from_utf8_lossy(name);
            return Err(format!("ERR {name} command is not allowed with BLOCK option from scripts"));
        }
        match run_command(self.writer, self.load, spec, words) {
            Ok(Ran::Reply(reply)) => Ok(reply),
            Ok(Ran::Block(block)) => Ok(block.otherwise),
            Err(fault) => {
                self.fault = Some(fault);
                Err("ERR the node stops".to_owned())
            }
        }
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
