//! Luas for scripts, used again where nobody can tell.
//!
//! A script must find the same on every node, and again at replay: also the same memory, as it may end for want of it. So each
//! entry of the log begins with a Lua that is as new, and the scripts of the entry share it, one after the other: what the
//! earlier ones left there for the collector depends on the entry alone, and no script can see it. What a script can reach
//! stands behind tables that it cannot change.
//!
//! Behind the entry everything that a Lua was given is taken back and garbage is collected. It is used again only when
//! exactly as many bytes are in use as when it was new.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::thread::Thread;

use bytes::Bytes;
use mlua::{Function as LuaFunction, HookTriggers, Lua, LuaOptions, MultiValue, StdLib, Table, Value, VmState};
use parking_lot::Mutex;
use rustc_hash::FxHashMap;

use super::vm::{Budget, PRELUDE, handle, library_table, natives, raise_table, redis_table, registration};
use super::{Function, pattern, random};

/// Instructions between two looks at the budget.
pub(super) const STEP: u32 = 1_000;
/// Luas of a kind that are kept.
const KEPT_MAX: usize = 4;
/// What scripts of one entry may leave for the collector before the next one begins.
const LEFT_BYTES_MAX: usize = 1 << 20;
/// Collections until a Lua has given up what it grew by. Stacks and the table of strings shrink by half in each.
const COLLECTIONS_MAX: usize = 8;
/// What a new Lua grows to before it is measured: values that Rust holds, and strings. So what most scripts need changes
/// no sizes that would not shrink again.
const GROWN_REFERENCES: usize = 128;
const GROWN_STRINGS: usize = 4_000;
/// The functions of `redis` that every run makes anew, as they work on the keyspace.
pub(super) const HOST_FUNCTIONS: [&str; 4] = ["call", "pcall", "setresp", "acl_check_cmd"];

/// What a Lua is for: functions have no KEYS and no ARGV.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Script,
    Function,
}

static SCRIPTS: Mutex<Vec<Vm>> = Mutex::new(Vec::new());
static FUNCTIONS: Mutex<Vec<Vm>> = Mutex::new(Vec::new());
/// Those of entries that are over, to be cleaned.
static SPENT: Mutex<Vec<Vm>> = Mutex::new(Vec::new());

/// The Luas of the entry that is applied.
#[derive(Default)]
pub(crate) struct Luas {
    script: Option<Vm>,
    function: Option<Vm>,
}

impl Luas {
    fn of(&mut self, kind: Kind) -> &mut Option<Vm> {
        match kind {
            Kind::Script => &mut self.script,
            Kind::Function => &mut self.function,
        }
    }

    /// A Lua for the next script of the entry.
    pub(super) fn take(&mut self, kind: Kind) -> mlua::Result<Vm> {
        self.of(kind).take().map_or_else(|| Vm::take(kind), Ok)
    }

    /// Keeps it for the script behind; one that failed in Rust's hands is dropped.
    pub(super) fn put(&mut self, vm: Vm, is_sound: bool) {
        let kind = vm.kind;
        if is_sound && vm.tidy().is_ok() {
            *self.of(kind) = Some(vm);
        }
    }

    /// The entry is over.
    pub(crate) fn end(&mut self) {
        let spent = [self.script.take(), self.function.take()];
        if spent.iter().any(Option::is_some) {
            let mut all = SPENT.lock();
            all.extend(spent.into_iter().flatten());
            // Of a batch of entries most are as soon made anew as kept.
            all.truncate(KEPT_MAX);
        }
    }
}

/// Lets a thread clean the Luas of entries that are over: it takes longer than many small scripts, and apply has the next
/// entry, for which there are others.
pub(crate) fn clean_later() {
    static CLEANER: LazyLock<Option<Thread>> = LazyLock::new(|| {
        let cleaner = std::thread::Builder::new().name("scripts".to_owned()).spawn(clean_always);
        cleaner.ok().map(|cleaner| cleaner.thread().clone())
    });
    if SPENT.lock().is_empty() {
        return;
    }
    match &*CLEANER {
        Some(cleaner) => cleaner.unpark(),
        None => clean_spent(),
    }
}

fn clean_always() {
    loop {
        clean_spent();
        std::thread::park();
    }
}

/// Cleans the Luas of entries that are over.
pub(crate) fn clean_spent() {
    loop {
        let next = SPENT.lock().pop();
        match next {
            Some(vm) => vm.give_back(true),
            None => return,
        }
    }
}

/// A Lua with what scripts see.
pub(super) struct Vm {
    pub(super) lua: Lua,
    kind: Kind,
    pub(super) budget: Arc<Budget>,
    random: random::Source,
    /// The globals themselves, behind what scripts may not change.
    pub(super) globals: Table,
    /// The same for `redis`.
    pub(super) redis: Table,
    /// The same for the `redis` of a library that is loaded.
    api: Table,
    /// Calls a function with a handler of errors.
    pub(super) protected: LuaFunction,
    pub(super) handler: LuaFunction,
    /// Whether globals are those of a library that is loaded.
    load_mode: LuaFunction,
    /// Forgets what was made while a script ran.
    reset: LuaFunction,
    /// Stands for `register_function` behind the load.
    refuse: LuaFunction,
    /// Scripts of this entry, by their names.
    loaded: Mutex<FxHashMap<Bytes, LuaFunction>>,
    /// Bytes in use before any script ran.
    bytes: usize,
}

impl Vm {
    /// A Lua that nobody has used, as far as a script can see.
    pub(super) fn take(kind: Kind) -> mlua::Result<Self> {
        loop {
            let known = kind.pool().lock().pop();
            if let Some(vm) = known {
                return Ok(vm);
            }
            let spent = {
                let mut spent = SPENT.lock();
                spent.iter().position(|vm| vm.kind == kind).map(|at| spent.swap_remove(at))
            };
            match spent {
                Some(vm) => vm.give_back(true),
                None => return Self::new(kind),
            }
        }
    }

    /// A script begins that may use so much. Gives the limit of memory to set when its code begins: under one, everything that
    /// Rust makes in a Lua costs a call of its own that catches the error.
    pub(super) fn begin(&self, budget: u64, memory: usize, seed: u64) -> mlua::Result<usize> {
        // What others have left is not its own.
        let left = self.lua.used_memory().saturating_sub(self.bytes);
        let limit = if memory == 0 { 0 } else { memory.saturating_add(left) };
        self.random.seed(seed);
        self.budget.begin(budget);
        let own = Arc::clone(&self.budget);
        let before = AtomicUsize::new(self.lua.used_memory());
        // Setting it again makes the count of instructions begin anew, too.
        self.lua.set_global_hook(HookTriggers::new().every_nth_instruction(STEP), move |lua, _| {
            // An instruction that joins texts takes as long as they are: a script that makes large ones is seen to hold now more,
            // now less.
            let bytes = lua.used_memory();
            let grown = bytes.saturating_sub(before.swap(bytes, Ordering::Relaxed)) as u64;
            own.charge(u64::from(STEP) + grown / 16)?;
            Ok(VmState::Continue)
        })?;
        Ok(limit)
    }

    /// The function of a script, which has no state of its own: made once for an entry.
    pub(super) fn load(&self, name: &str, code: &[u8]) -> mlua::Result<LuaFunction> {
        if let Some(function) = self.loaded.lock().get(name.as_bytes()) {
            return Ok(function.clone());
        }
        let function = self.lua.load(code).set_mode(mlua::ChunkMode::Binary).into_function()?;
        self.loaded.lock().insert(Bytes::copy_from_slice(name.as_bytes()), function.clone());
        Ok(function)
    }

    /// Takes back what the next script of the entry must not find.
    fn tidy(&self) -> mlua::Result<()> {
        self.budget.begin(u64::MAX);
        self.lua.set_memory_limit(0)?;
        if self.lua.used_memory() > self.bytes.saturating_add(LEFT_BYTES_MAX) {
            self.clean()?;
            return Ok(());
        }
        self.reset.call::<()>(())
    }

    /// Keeps it for the next one, if it is as it was.
    pub(super) fn give_back(self, is_sound: bool) {
        if is_sound && self.is_as_new().unwrap_or(false) {
            let mut pool = self.kind.pool().lock();
            if pool.len() < KEPT_MAX {
                pool.push(self);
            }
        }
    }

    fn new(kind: Kind) -> mlua::Result<Self> {
        // Measured when nothing holds any more what it was made with.
        let mut vm = Self::make(kind)?;
        vm.grow()?;
        for _ in 0..3 {
            vm.bytes = vm.clean()?;
        }
        Ok(vm)
    }

    fn make(kind: Kind) -> mlua::Result<Self> {
        let lua = Lua::new_with(StdLib::TABLE | StdLib::STRING | StdLib::MATH, LuaOptions::default())?;
        let budget = Arc::new(Budget::default());
        budget.begin(u64::MAX);
        let globals = lua.globals();
        let random = random::install(&lua, &globals.raw_get::<Table>("math")?)?;
        let redis = redis_table(&lua, &budget)?;
        let api = library_table(&lua)?;
        api.raw_set("register_function", false)?;
        let native = natives(&lua, &budget)?;
        pattern::install(&lua, &globals.raw_get("string")?, &native, &budget)?;
        native.raw_set("redis", &redis)?;
        native.raw_set("api", &api)?;
        native.raw_set("rawset", globals.raw_get::<Value>("rawset")?)?;
        native.raw_set("rawget", globals.raw_get::<Value>("rawget")?)?;
        let prelude = PRELUDE.as_ref().map_err(|text| mlua::Error::runtime(text.clone()))?;
        let prelude = lua.load(prelude.as_slice()).set_mode(mlua::ChunkMode::Binary).into_function()?;
        let (seen, protected, load_mode, reset): (Table, LuaFunction, LuaFunction, LuaFunction) =
            prelude.call(native)?;
        lua.set_globals(seen)?;
        let own = Arc::clone(&budget);
        let handler = lua.create_function(move |lua, error: Value| handle(lua, &error, &own))?;
        let refuse = lua.create_function(|_, _: MultiValue| -> mlua::Result<()> {
            Err(raise_table("ERR redis.register_function can only be called on FUNCTION LOAD command".to_owned()))
        })?;
        Ok(Self {
            lua,
            kind,
            budget,
            random,
            globals,
            redis,
            api,
            protected,
            handler,
            load_mode,
            reset,
            refuse,
            loaded: Mutex::default(),
            bytes: 0,
        })
    }

    /// Does what scripts do: see [`GROWN_STRINGS`].
    fn grow(&self) -> mlua::Result<()> {
        let references: mlua::Result<Vec<Table>> = (0..GROWN_REFERENCES).map(|_| self.lua.create_table()).collect();
        drop(references?);
        let strings = self.lua.create_table_with_capacity(GROWN_STRINGS, 0)?;
        (0..GROWN_STRINGS).try_for_each(|n| strings.raw_push(format!("grown {n}")))?;
        self.begin(u64::MAX, 0, 0)?;
        let deep = "local function deep(n) if n > 0 then return 1 + deep(n - 1) end return n end return deep(100)";
        let deep = self.lua.load(deep).set_mode(mlua::ChunkMode::Text).into_function()?;
        self.protected.call::<(bool, Value)>((&deep, &self.handler))?;
        self.lua.scope(|scope| {
            let fails = scope.create_function(|_, _: MultiValue| Err::<(), _>(raise_table("ERR".to_owned())))?;
            let works = scope.create_function(|_, _: MultiValue| Ok(()))?;
            for function in [&fails, &works, &fails] {
                self.protected.call::<(bool, Value)>((function, &self.handler))?;
            }
            Ok(())
        })
    }

    /// Whether it is as it was, once it is cleaned.
    pub(super) fn is_as_new(&self) -> mlua::Result<bool> {
        let bytes = self.clean()?;
        tracing::trace!(bytes, new = self.bytes, "a Lua was cleaned");
        Ok(bytes == self.bytes)
    }

    /// Bytes in use when it is cleaned, and when it was new.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> (Option<usize>, usize) {
        (self.clean().ok(), self.bytes)
    }

    /// Takes everything back that a run was given; the bytes that are in use then.
    fn clean(&self) -> mlua::Result<usize> {
        self.budget.begin(u64::MAX);
        self.lua.set_memory_limit(0)?;
        self.loaded.lock().clear();
        self.reset.call::<()>(())?;
        for name in HOST_FUNCTIONS {
            self.redis.raw_set(name, false)?;
        }
        self.api.raw_set("register_function", false)?;
        if self.kind == Kind::Script {
            self.globals.raw_set("KEYS", false)?;
            self.globals.raw_set("ARGV", false)?;
        }
        // The first finds what Rust made and lets go of it, the second takes its memory.
        self.lua.gc_collect()?;
        for _ in 1..COLLECTIONS_MAX {
            self.lua.gc_collect()?;
            if self.lua.used_memory() <= self.bytes {
                break;
            }
        }
        // It joins texts, and with them grows what the collections have made smaller.
        self.reset.call::<()>(())?;
        Ok(self.lua.used_memory())
    }

    /// Runs a library's code: its functions, in order.
    pub(super) fn register(&self, code: &LuaFunction) -> mlua::Result<Vec<(Function, LuaFunction)>> {
        let functions = Arc::new(Mutex::new(Vec::<(Function, LuaFunction)>::new()));
        let own = Arc::clone(&functions);
        let register = self.lua.create_function(move |_, args: MultiValue| {
            let (function, call) = registration(&args)?;
            let mut functions = own.lock();
            if functions.iter().any(|(other, _)| other.name.eq_ignore_ascii_case(&function.name)) {
                return Err(raise_table("ERR Function already exists in the library".to_owned()));
            }
            functions.push((function, call));
            Ok(())
        })?;
        self.api.raw_set("register_function", register)?;
        self.load_mode.call::<()>(true)?;
        let ran = self.protected.call::<(bool, Value)>((code, &self.handler));
        self.load_mode.call::<()>(false)?;
        self.api.raw_set("register_function", &self.refuse)?;
        let (ok, value) = ran?;
        if !ok {
            let text = match &value {
                Value::Table(table) => table.raw_get::<Option<mlua::String>>("err").ok().flatten(),
                _ => None,
            };
            let text = text.map_or_else(|| "ERR unknown error".to_owned(), |text| text.to_string_lossy());
            return Err(raise_table(text));
        }
        let mut functions = std::mem::take(&mut *functions.lock());
        functions.sort_by(|(a, _), (b, _)| a.name.cmp(&b.name));
        Ok(functions)
    }
}

impl Kind {
    fn pool(self) -> &'static Mutex<Vec<Vm>> {
        match self {
            Kind::Script => &SCRIPTS,
            Kind::Function => &FUNCTIONS,
        }
    }
}
