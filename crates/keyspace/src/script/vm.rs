//! One run of a script.

use std::cell::RefCell;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use mlua::{ChunkMode, Function as LuaFunction, Lua, LuaOptions, MultiValue, StdLib, Table, Value};

use super::call::Host;
use super::pool::{HOST_FUNCTIONS, Kind, Vm};
use super::shebang::{ScriptFlags, WRONG_NAME, is_name};
use super::{Function, bits, cjson, cmsgpack, convert, pack, sha1_hex};
use crate::{Error, Load, Observed, Reply, Result, Writer};

/// What a script may use unless `script-instruction-budget` says otherwise: some tenths of a second.
const BUDGET: i64 = 20_000_000;
/// What loading a library may use.
const LOAD_BUDGET: u64 = 2_000_000;
/// Bytes of memory unless `script-memory-limit` says otherwise.
pub(super) const MEMORY_BYTES_MAX: i64 = 64 << 20;

/// What Lua is given beyond the limit of memory; the script meets that with its next step all the same. Under a limit each thing
/// that Rust makes in a Lua costs as much as a small command.
pub(super) const SMALL_BYTES: usize = 4 << 10;

/// An error that Rust raised within a script.
#[derive(Clone, Debug)]
pub(super) struct Raised {
    /// As a script catches it.
    pub(super) text: String,
    /// Whether that is a table with the text in `err`, as errors of `redis.call` are.
    pub(super) is_table: bool,
}

impl fmt::Display for Raised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Raised {}

/// An error of a library's function, with its place in the script as C would write it.
pub(super) fn raise(lua: &Lua, text: &str) -> mlua::Error {
    // What the prelude has made over is no place that a script knows.
    let at = |level| {
        lua.inspect_stack(level, |frame| {
            let name = frame.source().short_src.map(|name| name.into_owned()).unwrap_or_default();
            let line = frame.current_line().filter(|_| frame.source().what != "C");
            (name == "prelude", line.map(|line| format!("{name}:{line}: ")))
        })
    };
    let place = (1..4).filter_map(at).find(|(is_prelude, _)| !is_prelude).and_then(|(_, place)| place);
    let text = format!("{}{text}", place.unwrap_or_default());
    mlua::Error::external(Raised { text, is_table: false })
}

/// The error that Lua raises where its memory is used up.
pub(super) fn out_of_memory() -> mlua::Error {
    mlua::Error::external(Raised { text: "not enough memory".to_owned(), is_table: false })
}

/// An error as `redis.call` raises it: a table.
pub(super) fn raise_table(text: String) -> mlua::Error {
    mlua::Error::external(Raised { text, is_table: true })
}

/// What Rust raised, where it is that.
pub(super) fn raised(error: &mlua::Error) -> Option<&Raised> {
    error.chain().find_map(|cause| cause.downcast_ref::<Raised>())
}

/// What a script has used.
#[derive(Debug, Default)]
pub(super) struct Budget {
    used: AtomicU64,
    max: AtomicU64,
    is_over: AtomicBool,
}

impl Budget {
    pub(super) fn begin(&self, max: u64) {
        self.used.store(0, Ordering::Relaxed);
        self.max.store(max, Ordering::Relaxed);
        self.is_over.store(false, Ordering::Relaxed);
    }

    /// For `items` that Rust walks over and `bytes` that it reads or writes, in one instruction of the script.
    pub(super) fn charge_for(&self, items: usize, bytes: usize) -> mlua::Result<()> {
        self.charge((items as u64).saturating_mul(8).saturating_add(bytes as u64 / 16))
    }

    pub(super) fn charge(&self, count: u64) -> mlua::Result<()> {
        let used = self.used.fetch_add(count, Ordering::Relaxed) + count;
        if used > self.max.load(Ordering::Relaxed) {
            self.is_over.store(true, Ordering::Relaxed);
        }
        self.check()
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    fn check(&self) -> mlua::Result<()> {
        if self.is_over() {
            return Err(mlua::Error::external(Raised { text: self.text(), is_table: true }));
        }
        Ok(())
    }

    fn text(&self) -> String {
        let max = self.max.load(Ordering::Relaxed);
        format!("ERR script killed: instruction budget of {max} is used up")
    }
}

/// Compiles a script or a library, without its first line.
pub(crate) fn compile(code: &[u8], header_len: usize, chunk: &str) -> std::result::Result<Vec<u8>, String> {
    let code = code.get(header_len..).unwrap_or_default();
    let text = |error: mlua::Error| match error {
        mlua::Error::SyntaxError { message, .. } => message,
        other => other.to_string(),
    };
    if code.first() == Some(&0x1b) {
        return Err(format!("{}: bad header in precompiled chunk", chunk.trim_start_matches('@')));
    }
    let lua = Lua::new_with(StdLib::NONE, LuaOptions::default()).map_err(text)?;
    lua.set_memory_limit(MEMORY_BYTES_MAX as usize).map_err(text)?;
    let function = lua.load(code).set_name(chunk).set_mode(ChunkMode::Text).into_function().map_err(text)?;
    Ok(function.dump(false))
}

pub(super) static PRELUDE: LazyLock<std::result::Result<Vec<u8>, String>> =
    LazyLock::new(|| compile(include_bytes!("prelude.lua"), 0, "=prelude"));

/// What runs.
pub(crate) struct Start<'a> {
    /// Bytecode.
    pub(crate) code: &'a [u8],
    /// What errors call it: the digest of a script, the name of a function.
    pub(crate) name: &'a str,
    /// The function to call, when the code is a library's.
    pub(crate) function: Option<&'a [u8]>,
    pub(crate) keys: &'a [Bytes],
    pub(crate) args: &'a [Bytes],
    pub(crate) is_read_only: bool,
    /// Whether it may use memory where there is none.
    pub(crate) allows_oom: bool,
}

fn fault(error: &mlua::Error) -> Reply {
    if let Some(raised) = raised(error) {
        return Reply::error(raised.text.clone());
    }
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default().to_owned();
    Reply::error(format!("ERR {line}"))
}

/// Runs a script or a function.
///
/// # Errors
/// [`Error::Storage`]: the node stops.
pub(crate) fn run<'w>(writer: &mut Writer<'w>, load: &'w dyn Load, start: &Start<'_>) -> Result<Reply> {
    let number = |name: &str, default| u64::try_from(writer.state().settings.number(name, default)).unwrap_or(0);
    let budget = number("script-instruction-budget", BUDGET);
    let memory = number("script-memory-limit", MEMORY_BYTES_MAX) as usize;
    let seed = writer.random();
    let context = writer.context.clone();
    writer.context.must_not_wait = true;
    writer.context.waited = false;
    writer.context.resp3 = false;
    let kind = if start.function.is_some() { Kind::Function } else { Kind::Script };
    let vm = writer.luas().take(kind).and_then(|vm| vm.begin(budget, memory, seed).map(|limit| (vm, limit)));
    let host = RefCell::new(Host::new(writer, load, start.is_read_only, start.allows_oom));
    let (reply, is_sound) = match &vm {
        Ok((vm, limit)) => {
            let ran = run_in(vm, *limit, &host, start);
            let is_sound = ran.is_ok();
            let reply = if vm.budget.is_over() {
                Reply::error(vm.budget.text())
            } else {
                ran.unwrap_or_else(|error| fault(&error))
            };
            (reply, is_sound)
        }
        Err(error) => (fault(error), false),
    };
    let mut host = host.into_inner();
    host.ended(&reply);
    let Host { writer, fault: storage_fault, has_read, .. } = host;
    if has_read && writer.context.observed.contains(Observed::READS) {
        writer.effects.reads.extend_from_slice(start.keys);
    }
    if let Ok((vm, _)) = vm {
        writer.luas().put(vm, is_sound);
    }
    writer.context = context;
    match storage_fault {
        Some(storage_fault) => Err(Error::Storage(storage_fault)),
        None => Ok(reply),
    }
}

fn run_in(vm: &Vm, limit: usize, host: &RefCell<Host<'_, '_>>, start: &Start<'_>) -> mlua::Result<Reply> {
    let lua = &vm.lua;
    if start.keys.iter().chain(start.args).map(|item| item.len() + 16).sum::<usize>() > SMALL_BYTES {
        lua.set_memory_limit(limit)?;
    }
    let strings = |items: &[Bytes]| {
        let table = lua.create_table_with_capacity(items.len(), 0)?;
        for item in items {
            table.raw_push(lua.create_string(item)?)?;
        }
        mlua::Result::Ok(table)
    };
    let (keys, args) = (strings(start.keys)?, strings(start.args)?);
    let code = match start.function {
        None => vm.load(start.name, start.code)?,
        Some(_) => lua.load(start.code).set_mode(ChunkMode::Binary).into_function()?,
    };
    lua.scope(|scope| {
        let call = |is_protected: bool| {
            let budget = Arc::clone(&vm.budget);
            scope.create_function(move |lua, args: MultiValue| {
                let texts =
                    args.iter().map(|arg| if let Value::String(text) = arg { text.as_bytes().len() } else { 8 });
                budget.charge(100 + texts.sum::<usize>() as u64 / 16)?;
                let mut host = host.try_borrow_mut().map_err(|_| raise(lua, "redis.call calls itself"))?;
                match host.call(lua, &args)? {
                    Ok(value) => Ok(value),
                    Err(text) if is_protected => error_table(lua, &text),
                    Err(text) => Err(raise_table(text)),
                }
            })
        };
        let setresp = scope.create_function(|_, args: MultiValue| {
            if args.len() != 1 {
                return Err(raise_table("ERR redis.setresp() requires one argument.".to_owned()));
            }
            match args.front().and_then(Value::as_i64) {
                Some(version @ (2 | 3)) => {
                    if let Ok(mut host) = host.try_borrow_mut() {
                        host.set_resp3(version == 3);
                    }
                    Ok(())
                }
                _ => Err(raise_table("ERR RESP version must be 2 or 3.".to_owned())),
            }
        })?;
        let acl_check = scope.create_function(|lua, args: MultiValue| {
            let words = super::call::words(lua, &args).map_err(raise_table)?;
            host.try_borrow()
                .map_err(|_| raise(lua, "redis.acl_check_cmd calls itself"))?
                .may_call(&words)
                .map_err(raise_table)
        })?;
        let function = match start.function {
            None => {
                vm.globals.raw_set("KEYS", &keys)?;
                vm.globals.raw_set("ARGV", &args)?;
                code
            }
            Some(name) => {
                lua.set_memory_limit(limit)?;
                let functions = vm.register(&code)?;
                let (_, function) = functions
                    .into_iter()
                    .find(|(function, _)| function.name.eq_ignore_ascii_case(name))
                    .ok_or_else(|| raise_table("ERR Function not found".to_owned()))?;
                function.bind((keys, args))?
            }
        };
        let commands = [call(false)?, call(true)?, setresp, acl_check];
        for (name, function) in HOST_FUNCTIONS.iter().zip(commands) {
            vm.redis.raw_set(*name, function)?;
        }
        lua.set_memory_limit(limit)?;
        let ran = vm.protected.call::<(bool, Value)>((function, &vm.handler));
        lua.set_memory_limit(0)?;
        let (ok, value) = ran?;
        let resp3 = host.try_borrow().is_ok_and(|host| host.resp3());
        Ok(if ok { convert::to_reply(&value, resp3, &vm.budget) } else { failure(start.name, &value) })
    })
}

/// The reply to a script that failed, from what the handler made of its error.
fn failure(name: &str, value: &Value) -> Reply {
    let Value::Table(table) = value else {
        let text = value.to_string().unwrap_or_default();
        return Reply::error(format!("ERR {text}"));
    };
    let field = |name: &str| table.raw_get::<Option<String>>(name).ok().flatten();
    let bytes = table.raw_get::<Option<mlua::String>>("err").ok().flatten();
    let text = bytes.map_or_else(|| "ERR unknown error".to_owned(), |text| text.to_string_lossy());
    let text = text.replace(['\r', '\n'], " ");
    match (field("source"), field("line")) {
        (Some(source), Some(line)) => Reply::error(format!("{text} script: {name}, on {source}:{line}.")),
        _ => Reply::error(text),
    }
}

fn error_table(lua: &Lua, text: &str) -> mlua::Result<Value> {
    let table = lua.create_table()?;
    table.raw_set("err", text)?;
    Ok(Value::Table(table))
}

/// Runs a library's code and gives what it registers.
pub(crate) fn load_library(code: &[u8]) -> std::result::Result<Vec<Function>, String> {
    let load = || {
        let vm = Vm::take(Kind::Function)?;
        let limit = vm.begin(LOAD_BUDGET, MEMORY_BYTES_MAX as usize, 0)?;
        vm.lua.set_memory_limit(limit)?;
        let loaded = vm
            .lua
            .load(code)
            .set_mode(ChunkMode::Binary)
            .into_function()
            .and_then(|code| vm.register(&code))
            .map(|functions| functions.into_iter().map(|(function, _)| function).collect());
        if vm.budget.is_over() {
            return Ok(Err("FUNCTION LOAD timeout".to_owned()));
        }
        vm.give_back(loaded.is_ok());
        loaded.map(Ok)
    };
    load().unwrap_or_else(|error: mlua::Error| {
        Err(match fault(&error) {
            Reply::Error(text) => format!("Error registering functions: {text}"),
            _ => "Error registering functions".to_owned(),
        })
    })
}

/// The function that `redis.register_function` was called with.
pub(super) fn registration(args: &MultiValue) -> mlua::Result<(Function, LuaFunction)> {
    let wrong = |text: &str| raise_table(format!("ERR {text}"));
    let (mut name, mut call, mut description, mut flags) = (None, None, None, ScriptFlags::empty());
    let bytes = |text: &mlua::String| Bytes::copy_from_slice(&text.as_bytes());
    match (args.len(), args.front(), args.get(1)) {
        (1, Some(Value::Table(table)), _) => {
            convert::for_each(table, |key, value| {
                let Value::String(key) = &key else {
                    return Err(wrong("named argument key given to redis.register_function is not a string"));
                };
                match (&*key.as_bytes(), value) {
                    (b"function_name", Value::String(text)) => name = Some(bytes(&text)),
                    (b"function_name", _) => {
                        return Err(wrong("function_name argument given to redis.register_function must be a string"));
                    }
                    (b"description", Value::String(text)) => description = Some(bytes(&text)),
                    (b"description", _) => {
                        return Err(wrong("description argument given to redis.register_function must be a string"));
                    }
                    (b"callback", Value::Function(function)) => call = Some(function),
                    (b"callback", _) => {
                        return Err(wrong("callback argument given to redis.register_function must be a function"));
                    }
                    (b"flags", Value::Table(table)) => {
                        for flag in table.sequence_values::<Value>() {
                            let known = match flag? {
                                Value::String(text) => ScriptFlags::named(&text.as_bytes()),
                                _ => None,
                            };
                            flags |= known.ok_or_else(|| wrong("unknown flag given"))?;
                        }
                    }
                    (b"flags", _) => {
                        let text =
                            "flags argument to redis.register_function must be a table representing function flags";
                        return Err(wrong(text));
                    }
                    _ => return Err(wrong("unknown argument given to redis.register_function")),
                }
                Ok(())
            })?;
            if name.is_none() {
                return Err(wrong("redis.register_function must get a function name argument"));
            }
            if call.is_none() {
                return Err(wrong("redis.register_function must get a callback argument"));
            }
        }
        (1, _, _) => {
            let text = "calling redis.register_function with a single argument is only applicable to Lua table \
                        (representing named arguments).";
            return Err(wrong(text));
        }
        (2, Some(Value::String(text)), Some(Value::Function(function))) => {
            (name, call) = (Some(bytes(text)), Some(function.clone()));
        }
        (2, Some(Value::String(_)), _) => {
            return Err(wrong("second argument to redis.register_function must be a function"));
        }
        (2, _, _) => return Err(wrong("first argument to redis.register_function must be a string")),
        _ => return Err(wrong("wrong number of arguments to redis.register_function")),
    }
    let (Some(name), Some(call)) = (name, call) else { return Err(wrong("wrong number or type of arguments")) };
    if !is_name(&name) {
        return Err(wrong(WRONG_NAME));
    }
    Ok((Function { name, description, flags }, call))
}

/// Makes the table of an error at the top of a script: its text, and where it comes from.
pub(super) fn handle(lua: &Lua, error: &Value, budget: &Budget) -> mlua::Result<Table> {
    budget.check()?;
    let table = match error {
        Value::Table(table) => table.clone(),
        other => {
            let table = lua.create_table()?;
            let text = match other {
                Value::Error(error) => match raised(error) {
                    Some(raised) if raised.is_table => raised.text.clone().into_bytes(),
                    Some(raised) => format!("ERR {}", raised.text).into_bytes(),
                    None => format!("ERR {}", error.to_string().lines().next().unwrap_or_default()).into_bytes(),
                },
                Value::String(text) => [b"ERR ".as_slice(), &text.as_bytes()].concat(),
                other => format!("ERR {}", other.to_string().unwrap_or_default()).into_bytes(),
            };
            table.raw_set("err", lua.create_string(text)?)?;
            table
        }
    };
    for level in 1..40 {
        let place = lua.inspect_stack(level, |frame| {
            let source = frame.source().source.map(|source| source.into_owned()).unwrap_or_default();
            source.starts_with("@user_").then(|| (source, frame.current_line().unwrap_or(0)))
        });
        match place {
            Some(Some((source, line))) => {
                table.raw_set("source", source)?;
                table.raw_set("line", line)?;
                break;
            }
            Some(None) => {}
            None => break,
        }
    }
    Ok(table)
}

/// What the prelude is made with.
pub(super) fn natives(lua: &Lua, budget: &Arc<Budget>) -> mlua::Result<Table> {
    let native = lua.create_table()?;
    let own = Arc::clone(budget);
    let caught = lua.create_function(move |lua, error: Value| {
        own.check()?;
        match &error {
            Value::Error(inner) => match raised(inner) {
                Some(raised) if raised.is_table => error_table(lua, &raised.text),
                Some(raised) => Ok(Value::String(lua.create_string(&raised.text)?)),
                None => {
                    let text = inner.to_string();
                    Ok(Value::String(lua.create_string(text.lines().next().unwrap_or_default())?))
                }
            },
            _ => Ok(error),
        }
    })?;
    native.raw_set("caught", caught)?;
    let own = Arc::clone(budget);
    // What functions of C do by themselves, in about as many instructions.
    let spender = Arc::clone(budget);
    native.raw_set("spend", lua.create_function(move |_, count: f64| spender.charge(count.max(0.0) as u64))?)?;
    native.raw_set("charge", lua.create_function(move |_, ()| own.charge(u64::from(super::pool::STEP)))?)?;
    let own = Arc::clone(budget);
    // A clock that only instructions move: the same everywhere.
    let clock = lua.create_function(move |_, ()| Ok(own.used.load(Ordering::Relaxed) as f64 / 1e8))?;
    native.raw_set("clock", clock)?;
    let own = Arc::clone(budget);
    let library = lua.create_function(move |lua, name: mlua::String| match &*name.as_bytes() {
        b"cjson" => cjson::create(lua, &own),
        b"cmsgpack" => cmsgpack::create(lua, &own),
        b"bit" => bits::create(lua),
        _ => pack::create(lua, &own),
    })?;
    native.raw_set("library", library)?;
    Ok(native)
}

/// `redis`, without what needs the keyspace.
pub(super) fn redis_table(lua: &Lua, budget: &Arc<Budget>) -> mlua::Result<Table> {
    let table = library_table(lua)?;
    for name in HOST_FUNCTIONS {
        table.raw_set(name, false)?;
    }
    for (name, value) in [("REPL_NONE", 0), ("REPL_AOF", 1), ("REPL_SLAVE", 2), ("REPL_REPLICA", 2), ("REPL_ALL", 3)] {
        table.raw_set(name, value)?;
    }
    let text = |args: &MultiValue| match (args.len(), args.front()) {
        (1, Some(Value::String(text))) => Some(text.as_bytes().to_vec()),
        _ => None,
    };
    const WRONG: &str = "ERR wrong number or type of arguments";
    table.raw_set(
        "error_reply",
        lua.create_function(move |lua, args: MultiValue| {
            let Some(text) = text(&args) else { return error_table(lua, WRONG) };
            let text = text.strip_prefix(b"-").unwrap_or(&text);
            // One word is no code but the text.
            let text = if text.contains(&b' ') { text.to_vec() } else { [b"ERR ".as_slice(), text].concat() };
            let error = lua.create_table()?;
            error.raw_set("err", lua.create_string(text.trim_ascii_end())?)?;
            Ok(Value::Table(error))
        })?,
    )?;
    table.raw_set(
        "status_reply",
        lua.create_function(move |lua, args: MultiValue| {
            let Some(text) = text(&args) else { return error_table(lua, WRONG) };
            let status = lua.create_table()?;
            status.raw_set("ok", lua.create_string(text)?)?;
            Ok(Value::Table(status))
        })?,
    )?;
    let own = Arc::clone(budget);
    table.raw_set(
        "sha1hex",
        lua.create_function(move |lua, args: MultiValue| {
            if args.len() != 1 {
                return Err(raise_table("ERR wrong number of arguments".to_owned()));
            }
            let text = lua.coerce_string(args[0].clone())?;
            own.charge_for(8, text.as_ref().map_or(0, |text| text.as_bytes().len()))?;
            lua.create_string(sha1_hex(text.map(|text| text.as_bytes().to_vec()).unwrap_or_default().as_slice()))
        })?,
    )?;
    table.raw_set(
        "set_repl",
        lua.create_function(|_, args: MultiValue| match args.front().and_then(Value::as_i64) {
            _ if args.len() != 1 => Err(raise_table("ERR redis.set_repl() requires two arguments.".to_owned())),
            Some(0..=3) => Ok(()),
            _ => Err(raise_table(
                "ERR Invalid replication flags. Use REPL_AOF, REPL_REPLICA, REPL_ALL or REPL_NONE.".to_owned(),
            )),
        })?,
    )?;
    table.raw_set("replicate_commands", lua.create_function(|_, _: MultiValue| Ok(true))?)?;
    table.raw_set("breakpoint", lua.create_function(|_, _: MultiValue| Ok(false))?)?;
    table.raw_set("debug", lua.create_function(|_, _: MultiValue| Ok(()))?)?;
    Ok(table)
}

/// What a library may use of `redis` while its code is run, without `register_function`.
pub(super) fn library_table(lua: &Lua) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    for (name, value) in [
        ("LOG_DEBUG", 0),
        ("LOG_VERBOSE", 1),
        ("LOG_NOTICE", 2),
        ("LOG_WARNING", 3),
        ("REDIS_VERSION_NUM", 0x0007_0400),
    ] {
        table.raw_set(name, value)?;
    }
    table.raw_set("REDIS_VERSION", "7.4.0")?;
    table.raw_set(
        "log",
        lua.create_function(|_, args: MultiValue| {
            if args.len() < 2 {
                return Err(raise_table("ERR redis.log() requires two arguments or more.".to_owned()));
            }
            match args[0].as_i64() {
                None => Err(raise_table("ERR First argument must be a number (log level).".to_owned())),
                Some(0..=3) => Ok(()),
                Some(_) => Err(raise_table("ERR Invalid debug level.".to_owned())),
            }
        })?,
    )?;
    Ok(table)
}
