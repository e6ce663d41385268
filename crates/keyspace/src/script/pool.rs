//! Luas for scripts, used again where nobody can tell.
//!
//! A script must find what every other script finds, on every node: also the same memory, as it may end for want of it. So a
//! Lua is used again only when, behind a script, everything that it was given is taken back, garbage is collected, and
//! exactly as many bytes are in use as when it was new. What a script can reach stands behind tables that it cannot change.

use std::sync::Arc;

use mlua::{Function as LuaFunction, HookTriggers, Lua, LuaOptions, MultiValue, StdLib, Table, Value, VmState};
use parking_lot::Mutex;

use super::vm::{Budget, PRELUDE, handle, library_table, natives, raise_table, redis_table, registration};
use super::{Function, pattern, random};

/// Instructions between two looks at the budget.
pub(super) const STEP: u32 = 1_000;
/// Luas of a kind that are kept.
const KEPT_MAX: usize = 4;
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
    /// Bytes in use before any script ran.
    bytes: usize,
}

impl Vm {
    /// A Lua that nobody has used, as far as a script can see.
    pub(super) fn take(kind: Kind, budget: u64, memory: usize, seed: u64) -> mlua::Result<Self> {
        let known = kind.pool().lock().pop();
        let vm = match known {
            Some(vm) => vm,
            None => Self::new(kind)?,
        };
        vm.lua.set_memory_limit(memory)?;
        vm.random.seed(seed);
        vm.budget.begin(budget);
        let own = Arc::clone(&vm.budget);
        // Setting it again makes the count of instructions begin anew, too.
        vm.lua.set_global_hook(HookTriggers::new().every_nth_instruction(STEP), move |_, _| {
            own.charge(u64::from(STEP))?;
            Ok(VmState::Continue)
        })?;
        Ok(vm)
    }

    /// Keeps it for the next one, if it is as it was.
    pub(super) fn give_back(self, is_sound: bool) {
        if is_sound && self.clean().is_ok_and(|bytes| bytes == self.bytes) {
            let mut pool = self.kind.pool().lock();
            if pool.len() < KEPT_MAX {
                pool.push(self);
            }
        }
    }

    fn new(kind: Kind) -> mlua::Result<Self> {
        let lua = Lua::new_with(StdLib::TABLE | StdLib::STRING | StdLib::MATH, LuaOptions::default())?;
        let budget = Arc::new(Budget::default());
        budget.begin(u64::MAX);
        let globals = lua.globals();
        let random = random::install(&lua, &globals.raw_get::<Table>("math")?)?;
        let redis = redis_table(&lua)?;
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
        let mut vm = Self {
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
            bytes: 0,
        };
        vm.bytes = vm.clean()?;
        Ok(vm)
    }

    /// Takes everything back that a run was given; the bytes that are in use then.
    fn clean(&self) -> mlua::Result<usize> {
        self.budget.begin(u64::MAX);
        self.lua.set_memory_limit(0)?;
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
        self.lua.gc_collect()?;
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
