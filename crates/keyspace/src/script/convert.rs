//! Replies as Lua values and Lua values as replies.

use bytes::Bytes;
use mlua::{Lua, Result, Table, Value};

use super::number::to_integer;
use super::vm::Budget;
use crate::Reply;

/// A value nested deeper than this is no reply.
const DEPTH_MAX: usize = 200;

/// A reply for a script, as the protocol that it chose has it.
pub(super) fn to_lua(lua: &Lua, reply: &Reply, resp3: bool) -> Result<Value> {
    let string = |bytes: &[u8]| lua.create_string(bytes).map(Value::String);
    let field = |name: &str, value: Value| {
        let table = lua.create_table()?;
        table.raw_set(name, value)?;
        Ok(Value::Table(table))
    };
    let list = |items: &[Reply]| {
        let table = lua.create_table_with_capacity(items.len(), 0)?;
        for (n, item) in items.iter().enumerate() {
            table.raw_set(n + 1, to_lua(lua, item, resp3)?)?;
        }
        Ok(Value::Table(table))
    };
    match reply {
        Reply::Status(text) => field("ok", string(text.as_bytes())?),
        Reply::Error(text) => field("err", string(text.as_bytes())?),
        Reply::Integer(value) => Ok(Value::Number(*value as f64)),
        Reply::Bulk(bytes) => string(bytes),
        Reply::Null | Reply::NullArray | Reply::Nothing => Ok(if resp3 { Value::Nil } else { Value::Boolean(false) }),
        Reply::Array(items) | Reply::Push(items) => list(items),
        Reply::Map(pairs) if resp3 => {
            let map = lua.create_table()?;
            for (key, value) in pairs {
                // A key that is nil cannot be one.
                let key = to_lua(lua, key, resp3)?;
                if !key.is_nil() {
                    map.raw_set(key, to_lua(lua, value, resp3)?)?;
                }
            }
            field("map", Value::Table(map))
        }
        Reply::Pairs(pairs) if resp3 => {
            let pairs: Vec<Reply> =
                pairs.iter().map(|(key, value)| Reply::Array(vec![key.clone(), value.clone()])).collect();
            list(&pairs)
        }
        Reply::Map(pairs) | Reply::Pairs(pairs) => {
            let flat: Vec<Reply> = pairs.iter().flat_map(|(key, value)| [key.clone(), value.clone()]).collect();
            list(&flat)
        }
        Reply::Set(items) if resp3 => {
            let set = lua.create_table()?;
            for item in items {
                let item = to_lua(lua, item, resp3)?;
                if !item.is_nil() {
                    set.raw_set(item, true)?;
                }
            }
            field("set", Value::Table(set))
        }
        Reply::Set(items) => list(items),
        Reply::Double(value) if resp3 => field("double", Value::Number(*value)),
        Reply::Double(value) => string(crate::args::format_float(*value).as_bytes()),
        Reply::Boolean(value) if resp3 => Ok(Value::Boolean(*value)),
        Reply::Boolean(value) => Ok(Value::Number(f64::from(u8::from(*value)))),
        Reply::BigNumber(digits) if resp3 => field("big_number", string(digits.as_bytes())?),
        Reply::BigNumber(digits) => string(digits.as_bytes()),
        Reply::Verbatim(format, bytes) if resp3 => {
            let verbatim = lua.create_table()?;
            verbatim.raw_set("format", *format)?;
            verbatim.raw_set("string", string(bytes)?)?;
            field("verbatim_string", Value::Table(verbatim))
        }
        Reply::Verbatim(_, bytes) => string(bytes),
        Reply::Attribute(_, reply) => to_lua(lua, reply, resp3),
    }
}

/// What a script returned, as a reply. A table that stands in many places is in the reply as often, so it is paid for.
pub(super) fn to_reply(value: &Value, resp3: bool, budget: &Budget) -> Reply {
    reply_of(value, resp3, budget, 0).unwrap_or_else(Reply::error)
}

fn line(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).replace(['\r', '\n'], " ")
}

/// An error that ends the whole reply.
type Failed = &'static str;

fn reply_of(value: &Value, resp3: bool, budget: &Budget, depth: usize) -> std::result::Result<Reply, Failed> {
    let bytes = if let Value::String(text) = value { text.as_bytes().len() } else { 0 };
    // The error that the client is given is that of the budget.
    budget.charge_for(1, bytes).map_err(|_| "ERR script killed")?;
    if depth > DEPTH_MAX {
        return Err("ERR reached lua stack limit");
    }
    Ok(match value {
        Value::String(text) => Reply::bulk(text.as_bytes()),
        Value::Boolean(value) if resp3 => Reply::Boolean(*value),
        Value::Boolean(true) => Reply::Integer(1),
        Value::Integer(value) => Reply::Integer(*value),
        Value::Number(value) => Reply::Integer(to_integer(*value)),
        Value::Table(table) => return of_table(table, resp3, budget, depth),
        _ => Reply::Null,
    })
}

fn field(table: &Table, name: &str) -> Value {
    table.raw_get(name).unwrap_or(Value::Nil)
}

fn of_table(table: &Table, resp3: bool, budget: &Budget, depth: usize) -> std::result::Result<Reply, Failed> {
    if let Value::String(text) = field(table, "err") {
        return Ok(Reply::Error(line(&text.as_bytes()).trim_end().to_owned().into()));
    }
    if let Value::String(text) = field(table, "ok") {
        return Ok(Reply::Status(line(&text.as_bytes()).into()));
    }
    match field(table, "double") {
        Value::Integer(value) => return Ok(Reply::Double(value as f64)),
        Value::Number(value) => return Ok(Reply::Double(value)),
        _ => {}
    }
    if let Value::String(digits) = field(table, "big_number") {
        return Ok(Reply::BigNumber(line(&digits.as_bytes())));
    }
    if let Value::Table(verbatim) = field(table, "verbatim_string")
        && let (Value::String(format), Value::String(text)) = (field(&verbatim, "format"), field(&verbatim, "string"))
    {
        // RESP has formats of three letters, and only these two are in use.
        let format = if *format.as_bytes() == *b"mkd" { "mkd" } else { "txt" };
        return Ok(Reply::Verbatim(format, Bytes::copy_from_slice(&text.as_bytes())));
    }
    if let Value::Table(map) = field(table, "map") {
        let mut pairs = Vec::new();
        visit(&map, |key, value| {
            pairs.push((reply_of(&key, resp3, budget, depth + 1)?, reply_of(&value, resp3, budget, depth + 1)?));
            Ok(())
        })?;
        return Ok(Reply::Map(pairs));
    }
    if let Value::Table(set) = field(table, "set") {
        let mut items = Vec::new();
        visit(&set, |key, _| {
            items.push(reply_of(&key, resp3, budget, depth + 1)?);
            Ok(())
        })?;
        return Ok(Reply::Set(items));
    }
    let mut items = Vec::new();
    for n in 1.. {
        match table.raw_get(n).unwrap_or(Value::Nil) {
            Value::Nil => break,
            item => items.push(reply_of(&item, resp3, budget, depth + 1)?),
        }
    }
    Ok(Reply::Array(items))
}

/// Visits the entries of a table for a reply.
fn visit(
    table: &Table,
    mut entry: impl FnMut(Value, Value) -> std::result::Result<(), Failed>,
) -> std::result::Result<(), Failed> {
    let mut failed = "ERR a table whose keys are objects has no order";
    let result = for_each(table, |key, value| {
        entry(key, value).map_err(|why| {
            failed = why;
            mlua::Error::runtime(why)
        })
    });
    result.map_err(|_| failed)
}

/// Visits the entries of a table in their order. Keys that are objects have an order by their addresses: an error.
pub(super) fn for_each(table: &Table, mut visit: impl FnMut(Value, Value) -> Result<()>) -> Result<()> {
    table.for_each(|key: Value, value: Value| match key {
        Value::String(_) | Value::Integer(_) | Value::Number(_) | Value::Boolean(_) => visit(key, value),
        _ => Err(mlua::Error::runtime("a table whose keys are objects has no order")),
    })
}
