//! The `cmsgpack` library: MessagePack.

use std::sync::Arc;

use mlua::{Lua, MultiValue, Result, Table, Value};

use super::number::to_integer;
use super::vm::{Budget, MEMORY_BYTES_MAX, out_of_memory, raise, raised};

/// Tables nested deeper are written as nil.
const NESTING_MAX: usize = 16;
/// Values nested deeper cannot be read.
const DEPTH_MAX: usize = 200;

fn write_head(out: &mut Vec<u8>, len: usize, short: Option<(u8, usize)>, tags: [Option<u8>; 3]) {
    match (short, tags) {
        (Some((tag, max)), _) if len <= max => out.push(tag | len as u8),
        (_, [Some(tag), _, _]) if len <= 0xff => out.extend([tag, len as u8]),
        (_, [_, Some(tag), _]) if len <= 0xffff => {
            out.push(tag);
            out.extend((len as u16).to_be_bytes());
        }
        (_, [_, _, Some(tag)]) => {
            out.push(tag);
            out.extend((len as u32).to_be_bytes());
        }
        _ => {}
    }
}

fn write_integer(value: i64, out: &mut Vec<u8>) {
    match value {
        -32..=127 => out.push(value as i8 as u8),
        128..=0xff => out.extend([0xcc, value as u8]),
        0x100..=0xffff => {
            out.push(0xcd);
            out.extend((value as u16).to_be_bytes());
        }
        0x1_0000..=0xffff_ffff => {
            out.push(0xce);
            out.extend((value as u32).to_be_bytes());
        }
        0x1_0000_0000.. => {
            out.push(0xcf);
            out.extend(value.to_be_bytes());
        }
        -128..-32 => out.extend([0xd0, value as u8]),
        -32_768..-128 => {
            out.push(0xd1);
            out.extend((value as i16).to_be_bytes());
        }
        -2_147_483_648..-32_768 => {
            out.push(0xd2);
            out.extend((value as i32).to_be_bytes());
        }
        _ => {
            out.push(0xd3);
            out.extend(value.to_be_bytes());
        }
    }
}

fn write_number(value: f64, out: &mut Vec<u8>) {
    let integer = to_integer(value);
    if integer as f64 == value && integer != i64::MAX {
        return write_integer(integer, out);
    }
    let single = value as f32;
    if f64::from(single) == value {
        out.push(0xca);
        out.extend(single.to_be_bytes());
    } else {
        out.push(0xcb);
        out.extend(value.to_be_bytes());
    }
}

/// How many entries a table has, and whether their keys are the numbers from 1 to that.
fn shape(table: &Table, budget: &Budget) -> Result<(usize, bool)> {
    let (mut count, mut max, mut is_array) = (0, 0, true);
    super::convert::for_each(table, |key, _| {
        count += 1;
        match key {
            Value::Integer(key) if key > 0 => max = max.max(key),
            _ => is_array = false,
        }
        budget.charge(2)
    })?;
    Ok((count, is_array && usize::try_from(max) == Ok(count)))
}

/// Writes a value. A table that stands in many places is written in each, so little may become very much.
fn write(value: &Value, level: usize, budget: &Budget, out: &mut Vec<u8>) -> Result<()> {
    if out.len() > MEMORY_BYTES_MAX as usize {
        return Err(out_of_memory());
    }
    budget.charge_for(1, if let Value::String(text) = value { text.as_bytes().len() } else { 0 })?;
    match value {
        Value::String(text) => {
            let text = text.as_bytes();
            write_head(out, text.len(), Some((0xa0, 31)), [Some(0xd9), Some(0xda), Some(0xdb)]);
            out.extend_from_slice(&text);
        }
        Value::Boolean(value) => out.push(if *value { 0xc3 } else { 0xc2 }),
        Value::Integer(value) => write_integer(*value, out),
        Value::Number(value) => write_number(*value, out),
        Value::Table(table) if level < NESTING_MAX => {
            let (count, is_array) = shape(table, budget)?;
            if is_array {
                write_head(out, count, Some((0x90, 15)), [None, Some(0xdc), Some(0xdd)]);
                for n in 1..=count {
                    write(&table.raw_get(n)?, level + 1, budget, out)?;
                }
            } else {
                write_head(out, count, Some((0x80, 15)), [None, Some(0xde), Some(0xdf)]);
                super::convert::for_each(table, |key, value| {
                    write(&key, level + 1, budget, out)?;
                    write(&value, level + 1, budget, out)
                })?;
            }
        }
        _ => out.push(0xc0),
    }
    Ok(())
}

/// What is left to read.
struct Input<'a> {
    lua: &'a Lua,
    rest: &'a [u8],
}

enum Wrong {
    Short,
    Format,
    Lua(mlua::Error),
}

impl From<mlua::Error> for Wrong {
    fn from(error: mlua::Error) -> Self {
        Wrong::Lua(error)
    }
}

impl<'a> Input<'a> {
    fn take(&mut self, count: usize) -> std::result::Result<&'a [u8], Wrong> {
        let (front, rest) = self.rest.split_at_checked(count).ok_or(Wrong::Short)?;
        self.rest = rest;
        Ok(front)
    }

    fn unsigned(&mut self, bytes: usize) -> std::result::Result<u64, Wrong> {
        Ok(self.take(bytes)?.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)))
    }

    fn len(&mut self, bytes: usize) -> std::result::Result<usize, Wrong> {
        self.unsigned(bytes).map(|len| len as usize)
    }

    fn string(&mut self, len: usize) -> std::result::Result<Value, Wrong> {
        let bytes = self.take(len)?;
        Ok(Value::String(self.lua.create_string(bytes)?))
    }

    fn array(&mut self, len: usize, depth: usize) -> std::result::Result<Value, Wrong> {
        let table = self.lua.create_table()?;
        for n in 1..=len {
            table.raw_set(n, self.value(depth + 1)?)?;
        }
        Ok(Value::Table(table))
    }

    fn map(&mut self, len: usize, depth: usize) -> std::result::Result<Value, Wrong> {
        let table = self.lua.create_table()?;
        for _ in 0..len {
            let (key, value) = (self.value(depth + 1)?, self.value(depth + 1)?);
            if key.is_nil() || matches!(key, Value::Number(key) if key.is_nan()) {
                return Err(Wrong::Format);
            }
            table.raw_set(key, value)?;
        }
        Ok(Value::Table(table))
    }

    fn value(&mut self, depth: usize) -> std::result::Result<Value, Wrong> {
        if depth > DEPTH_MAX {
            return Err(Wrong::Format);
        }
        let tag = *self.take(1)?.first().ok_or(Wrong::Short)?;
        let number = |value: f64| Ok(Value::Number(value));
        match tag {
            0x00..=0x7f => number(f64::from(tag)),
            0x80..=0x8f => self.map(usize::from(tag & 15), depth),
            0x90..=0x9f => self.array(usize::from(tag & 15), depth),
            0xa0..=0xbf => self.string(usize::from(tag & 31)),
            0xc0 => Ok(Value::Nil),
            0xc2 => Ok(Value::Boolean(false)),
            0xc3 => Ok(Value::Boolean(true)),
            0xca => number(f64::from(f32::from_bits(self.unsigned(4)? as u32))),
            0xcb => number(f64::from_bits(self.unsigned(8)?)),
            0xcc => number(self.unsigned(1)? as f64),
            0xcd => number(self.unsigned(2)? as f64),
            0xce => number(self.unsigned(4)? as f64),
            0xcf => number(self.unsigned(8)? as f64),
            0xd0 => number(f64::from(self.unsigned(1)? as i8)),
            0xd1 => number(f64::from(self.unsigned(2)? as i16)),
            0xd2 => number(f64::from(self.unsigned(4)? as i32)),
            0xd3 => number(self.unsigned(8)?.cast_signed() as f64),
            0xd9..=0xdb => {
                let len = self.len(1 << (tag - 0xd9))?;
                self.string(len)
            }
            0xdc | 0xdd => {
                let len = self.len(2 << (tag - 0xdc))?;
                self.array(len, depth)
            }
            0xde | 0xdf => {
                let len = self.len(2 << (tag - 0xde))?;
                self.map(len, depth)
            }
            0xe0..=0xff => number(f64::from(tag as i8)),
            _ => Err(Wrong::Format),
        }
    }
}

fn argument(lua: &Lua, args: &MultiValue, n: usize, name: &str, default: Option<i64>) -> Result<i64> {
    match (args.get(n), default) {
        (None | Some(Value::Nil), Some(default)) => Ok(default),
        (value, _) => {
            let number = lua.coerce_number(value.cloned().unwrap_or(Value::Nil))?;
            number.map(to_integer).ok_or_else(|| {
                let kind = value.map_or("no value", Value::type_name);
                raise(lua, &format!("bad argument #{} to '{name}' (number expected, got {kind})", n + 1))
            })
        }
    }
}

/// Reads values: all of them, or at most `limit` from `offset` on behind where the next begins.
fn unpack(lua: &Lua, args: &MultiValue, budget: &Budget, limit: i64, offset: i64) -> Result<MultiValue> {
    let value = args.front().cloned().unwrap_or(Value::Nil);
    let kind = if args.is_empty() { "no value" } else { value.type_name() };
    let wrong = || raise(lua, &format!("bad argument #1 to 'unpack' (string expected, got {kind})"));
    let text = lua.coerce_string(value)?.ok_or_else(wrong)?;
    let text = text.as_bytes();
    let takes_all = limit == 0 && offset == 0;
    if offset < 0 || limit < 0 {
        let len = text.len();
        let text = format!("Invalid request to unpack with offset of {offset} and limit of {len}.");
        return Err(raise(lua, &text));
    }
    let start = usize::try_from(offset).unwrap_or(usize::MAX);
    let Some(rest) = text.get(start..) else {
        let text = format!("Start offset {offset} greater than input length {}.", text.len());
        return Err(raise(lua, &text));
    };
    let mut input = Input { lua, rest };
    let mut values = Vec::new();
    let limit = if takes_all { i64::MAX } else { limit };
    while !input.rest.is_empty() && (values.len() as i64) < limit {
        // Each byte may be a value.
        let before = input.rest.len();
        match input.value(0) {
            Ok(value) => values.push(value),
            Err(Wrong::Short) => return Err(raise(lua, "Missing bytes in input.")),
            Err(Wrong::Format) => return Err(raise(lua, "Bad data format in input.")),
            Err(Wrong::Lua(error)) => return Err(error),
        }
        budget.charge((before - input.rest.len()) as u64)?;
        if values.len() > 7_000 {
            return Err(raise(lua, "too many return values at once; use unpack_one or unpack_limit instead."));
        }
    }
    if !takes_all {
        let next = if input.rest.is_empty() { -1.0 } else { (text.len() - input.rest.len()) as f64 };
        values.insert(0, Value::Number(next));
    }
    Ok(MultiValue::from_iter(values))
}

/// The library.
pub(super) fn create(lua: &Lua, budget: &Arc<Budget>) -> Result<Table> {
    let table = lua.create_table()?;
    let own = Arc::clone(budget);
    table.raw_set(
        "pack",
        lua.create_function(move |lua, args: MultiValue| {
            if args.is_empty() {
                return Err(raise(lua, "bad argument #0 to 'pack' (MessagePack pack needs input.)"));
            }
            let mut out = Vec::new();
            for value in &args {
                write(value, 0, &own, &mut out).map_err(|error| match raised(&error) {
                    Some(_) => error,
                    None => raise(lua, "a table whose keys are objects has no order"),
                })?;
            }
            lua.create_string(out)
        })?,
    )?;
    let own = Arc::clone(budget);
    table.raw_set("unpack", lua.create_function(move |lua, args: MultiValue| unpack(lua, &args, &own, 0, 0))?)?;
    let own = Arc::clone(budget);
    table.raw_set(
        "unpack_one",
        lua.create_function(move |lua, args: MultiValue| {
            let offset = argument(lua, &args, 1, "unpack_one", Some(0))?;
            unpack(lua, &args, &own, 1, offset)
        })?,
    )?;
    let own = Arc::clone(budget);
    table.raw_set(
        "unpack_limit",
        lua.create_function(move |lua, args: MultiValue| {
            let (limit, offset) =
                (argument(lua, &args, 1, "unpack_limit", None)?, argument(lua, &args, 2, "unpack_limit", Some(0))?);
            unpack(lua, &args, &own, limit, offset)
        })?,
    )?;
    table.raw_set("_NAME", "cmsgpack")?;
    table.raw_set("_VERSION", "lua-cmsgpack 0.4.0")?;
    Ok(table)
}
