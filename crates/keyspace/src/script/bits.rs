//! The `bit` library: operations on 32 bits.

use mlua::{Lua, MultiValue, Result, Table, Value};

use super::vm::raise;

/// A function of one number, of two, and of a number and a count of bits; with its name.
type Unary = (&'static str, fn(i32) -> i32);
type Binary = (&'static str, fn(i32, i32) -> i32);
type Shift = (&'static str, fn(i32, u32) -> i32);

fn bits(lua: &Lua, args: &MultiValue, n: usize, name: &str) -> Result<i32> {
    let value = args.get(n).cloned().unwrap_or(Value::Nil);
    let kind = if args.len() > n { value.type_name() } else { "no value" };
    let wrong = || raise(lua, &format!("bad argument #{} to '{name}' (number expected, got {kind})", n + 1));
    let number = lua.coerce_number(value)?.ok_or_else(wrong)?;
    // The number modulo 2^32, rounded to even: its low bits, once it is moved to where an integer's are.
    Ok((number + 6_755_399_441_055_744.0).to_bits() as u32 as i32)
}

/// The library.
pub(super) fn create(lua: &Lua) -> Result<Table> {
    let table = lua.create_table()?;
    let unary: [Unary; 3] = [("tobit", |x| x), ("bnot", |x| !x), ("bswap", i32::swap_bytes)];
    for (name, operate) in unary {
        table.raw_set(
            name,
            lua.create_function(move |lua, args: MultiValue| Ok(f64::from(operate(bits(lua, &args, 0, name)?))))?,
        )?;
    }
    let fold: [Binary; 3] = [("band", |a, b| a & b), ("bor", |a, b| a | b), ("bxor", |a, b| a ^ b)];
    for (name, operate) in fold {
        table.raw_set(
            name,
            lua.create_function(move |lua, args: MultiValue| {
                let mut result = bits(lua, &args, 0, name)?;
                for n in 1..args.len() {
                    result = operate(result, bits(lua, &args, n, name)?);
                }
                Ok(f64::from(result))
            })?,
        )?;
    }
    let shifts: [Shift; 5] = [
        ("lshift", |x, n| x << n),
        ("rshift", |x, n| ((x as u32) >> n) as i32),
        ("arshift", |x, n| x >> n),
        ("rol", i32::rotate_left),
        ("ror", i32::rotate_right),
    ];
    for (name, operate) in shifts {
        table.raw_set(
            name,
            lua.create_function(move |lua, args: MultiValue| {
                let count = bits(lua, &args, 1, name)? as u32 & 31;
                Ok(f64::from(operate(bits(lua, &args, 0, name)?, count)))
            })?,
        )?;
    }
    table.raw_set(
        "tohex",
        lua.create_function(|lua, args: MultiValue| {
            let value = bits(lua, &args, 0, "tohex")? as u32;
            let count = if args.len() > 1 { bits(lua, &args, 1, "tohex")? } else { 8 };
            let digits = count.unsigned_abs().min(8) as usize;
            let hex = if count < 0 { format!("{value:08X}") } else { format!("{value:08x}") };
            Ok(hex[8 - digits..].to_owned())
        })?,
    )?;
    Ok(table)
}
