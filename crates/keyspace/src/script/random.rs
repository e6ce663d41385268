//! The random numbers of `math.random`: those of `lrand48`, for each script from a seed of the log.

use mlua::{Error, Lua, MultiValue, Result, Table, Value};
use parking_lot::Mutex;
use std::sync::Arc;

const RANDOM_MAX: i64 = i32::MAX as i64;

struct Lrand48(u64);

impl Lrand48 {
    const START: Lrand48 = Lrand48(0x1234_abcd_330e);

    fn new(seed: i32) -> Self {
        Self(u64::from(seed.cast_unsigned()) << 16 | 0x330e)
    }

    fn next(&mut self) -> i64 {
        self.0 = self.0.wrapping_mul(0x5_deec_e66d).wrapping_add(0xb) & ((1 << 48) - 1);
        (self.0 >> 17) as i64
    }
}

fn argument(lua: &Lua, args: &MultiValue, n: usize) -> Result<f64> {
    let value = args.get(n).cloned().unwrap_or(Value::Nil);
    let kind = value.type_name();
    let wrong = || Error::runtime(format!("bad argument #{} to 'random' (number expected, got {kind})", n + 1));
    // As C takes an int of it.
    lua.coerce_number(value)?.map(|number| f64::from(number as i32)).ok_or_else(wrong)
}

/// Where the numbers of a Lua come from.
#[derive(Clone)]
pub(super) struct Source(Arc<Mutex<Lrand48>>);

impl Source {
    /// Begins anew: with the numbers that a seed gives.
    pub(super) fn seed(&self, seed: u64) {
        self.0.lock().0 = seed & ((1 << 48) - 1);
    }
}

/// Puts `random` and `randomseed` into the math library.
pub(super) fn install(lua: &Lua, math: &Table) -> Result<Source> {
    let state = Arc::new(Mutex::new(Lrand48::START));
    let source = Source(Arc::clone(&state));
    let seeds = Arc::clone(&state);
    let random = lua.create_function(move |lua, args: MultiValue| {
        let part = (state.lock().next() % RANDOM_MAX) as f64 / RANDOM_MAX as f64;
        let empty = |n| super::vm::raise(lua, &format!("bad argument #{n} to 'random' (interval is empty)"));
        match args.len() {
            0 => Ok(part),
            1 => {
                let upper = argument(lua, &args, 0)?;
                if upper < 1.0 { Err(empty(1)) } else { Ok((part * upper).floor() + 1.0) }
            }
            2 => {
                let (lower, upper) = (argument(lua, &args, 0)?, argument(lua, &args, 1)?);
                if lower > upper { Err(empty(2)) } else { Ok((part * (upper - lower + 1.0)).floor() + lower) }
            }
            _ => Err(super::vm::raise(lua, "wrong number of arguments")),
        }
    })?;
    math.raw_set("random", random)?;
    let seed = lua.create_function(move |lua, args: MultiValue| {
        *seeds.lock() = Lrand48::new(argument(lua, &args, 0)? as i32);
        Ok(())
    })?;
    math.raw_set("randomseed", seed)?;
    Ok(source)
}
