//! The `struct` library: numbers and strings as C lays them out.

use std::sync::Arc;

use mlua::{Lua, MultiValue, Result, Table, Value};

use super::number::to_integer;
use super::vm::{Budget, raise};

/// The most bytes of an integer.
const INTEGER_BYTES_MAX: usize = 32;
/// Strings that are packed have at most so many bytes.
const PACKED_BYTES_MAX: usize = 64 << 20;

/// Where a format stands.
struct Format<'a> {
    lua: &'a Lua,
    /// The function that reads it.
    name: &'static str,
    rest: &'a [u8],
    is_little: bool,
    align: usize,
}

impl Format<'_> {
    fn number(&mut self, default: usize) -> Result<usize> {
        if !self.rest.first().is_some_and(u8::is_ascii_digit) {
            return Ok(default);
        }
        let mut number: usize = 0;
        while let Some((digit, rest)) = self.rest.split_first().filter(|(digit, _)| digit.is_ascii_digit()) {
            number = number * 10 + usize::from(digit - b'0');
            if number > i32::MAX as usize {
                return Err(raise(self.lua, "integral size overflow"));
            }
            self.rest = rest;
        }
        Ok(number)
    }

    /// The next option with its size in bytes and the bytes that align it at `at`.
    fn next(&mut self, at: usize) -> Result<Option<(u8, usize, usize)>> {
        let Some((option, rest)) = self.rest.split_first() else { return Ok(None) };
        self.rest = rest;
        let size = match option {
            b'b' | b'B' | b'x' => 1,
            b'h' | b'H' => 2,
            b'l' | b'L' | b'T' | b'd' => 8,
            b'f' => 4,
            b'c' => self.number(1)?,
            b'i' | b'I' => {
                let size = self.number(4)?;
                if size > INTEGER_BYTES_MAX {
                    let text = format!("integral size {size} is larger than limit of {INTEGER_BYTES_MAX}");
                    return Err(raise(self.lua, &text));
                }
                size
            }
            _ => 0,
        };
        let step = size.min(self.align);
        let padding = if step == 0 || *option == b'c' { 0 } else { (step - (at & (step - 1))) & (step - 1) };
        match option {
            b'b' | b'B' | b'h' | b'H' | b'l' | b'L' | b'T' | b'i' | b'I' | b'x' | b'f' | b'd' | b'c' | b's' | b' ' => {}
            b'>' => self.is_little = false,
            b'<' => self.is_little = true,
            b'!' => {
                let align = self.number(8)?;
                if !align.is_power_of_two() {
                    return Err(raise(self.lua, &format!("alignment {align} is not a power of 2")));
                }
                self.align = align;
            }
            other => {
                let text =
                    format!("bad argument #1 to '{}' (invalid format option '{}')", self.name, char::from(*other));
                return Err(raise(self.lua, &text));
            }
        }
        Ok(Some((*option, size, padding)))
    }
}

fn bytes_of(lua: &Lua, args: &MultiValue, n: usize) -> Result<Vec<u8>> {
    let wrong = || raise(lua, &format!("bad argument #{} (string expected)", n + 1));
    let value = args.get(n).cloned().unwrap_or(Value::Nil);
    Ok(lua.coerce_string(value)?.ok_or_else(wrong)?.as_bytes().to_vec())
}

fn number_of(lua: &Lua, args: &MultiValue, n: usize) -> Result<f64> {
    let wrong = || raise(lua, &format!("bad argument #{} (number expected)", n + 1));
    lua.coerce_number(args.get(n).cloned().unwrap_or(Value::Nil))?.ok_or_else(wrong)
}

fn pack(lua: &Lua, args: MultiValue) -> Result<MultiValue> {
    let format = bytes_of(lua, &args, 0)?;
    let mut format = Format { lua, name: "pack", rest: &format, is_little: true, align: 1 };
    let (mut out, mut next) = (Vec::new(), 1);
    while let Some((option, size, padding)) = format.next(out.len())? {
        out.resize(out.len() + padding, 0);
        match option {
            b'x' => out.push(0),
            b'b' | b'B' | b'h' | b'H' | b'l' | b'L' | b'T' | b'i' | b'I' => {
                let number = number_of(lua, &args, next)?;
                let value = if number < 0.0 { to_integer(number).cast_unsigned() } else { number as u64 };
                let mut bytes: Vec<u8> =
                    value.to_le_bytes().into_iter().chain(std::iter::repeat(0)).take(size).collect();
                if !format.is_little {
                    bytes.reverse();
                }
                out.extend(bytes);
                next += 1;
            }
            b'f' | b'd' => {
                let number = number_of(lua, &args, next)?;
                let mut bytes =
                    if option == b'f' { (number as f32).to_le_bytes().to_vec() } else { number.to_le_bytes().to_vec() };
                if !format.is_little {
                    bytes.reverse();
                }
                out.extend(bytes);
                next += 1;
            }
            b'c' | b's' => {
                let text = bytes_of(lua, &args, next)?;
                let size = if size == 0 { text.len() } else { size };
                let text = text
                    .get(..size)
                    .ok_or_else(|| raise(lua, &format!("bad argument #{} to 'pack' (string too short)", next + 1)))?;
                out.extend_from_slice(text);
                if option == b's' {
                    out.push(0);
                }
                next += 1;
            }
            _ => {}
        }
        if out.len() > PACKED_BYTES_MAX {
            return Err(raise(lua, "result is too large"));
        }
    }
    Ok(MultiValue::from_iter([Value::String(lua.create_string(out)?)]))
}

fn unpack(lua: &Lua, args: MultiValue) -> Result<MultiValue> {
    let (format, data) = (bytes_of(lua, &args, 0)?, bytes_of(lua, &args, 1)?);
    let position = if args.len() > 2 { to_integer(number_of(lua, &args, 2)?) } else { 1 };
    let position = usize::try_from(position).ok().and_then(|position| position.checked_sub(1));
    let mut at = position.ok_or_else(|| raise(lua, "bad argument #3 to 'unpack' (offset must be 1 or greater)"))?;
    let mut format = Format { lua, name: "unpack", rest: &format, is_little: true, align: 1 };
    let mut values: Vec<Value> = Vec::new();
    let short = || raise(lua, "bad argument #2 to 'unpack' (data string too short)");
    while let Some((option, size, padding)) = format.next(at)? {
        at = at.saturating_add(padding);
        let field = data.get(at..at.saturating_add(size)).ok_or_else(short)?;
        let mut taken = size;
        match option {
            b'b' | b'B' | b'h' | b'H' | b'l' | b'L' | b'T' | b'i' | b'I' => {
                let ordered: Vec<u8> =
                    if format.is_little { field.iter().rev().copied().collect() } else { field.to_vec() };
                let value = ordered.iter().fold(0_u64, |value, byte| value << 8 | u64::from(*byte));
                let signed = option.is_ascii_lowercase() && (1..=8).contains(&size);
                values.push(Value::Number(if signed {
                    let shift = 64 - 8 * size as u32;
                    ((value << shift).cast_signed() >> shift) as f64
                } else {
                    value as f64
                }));
            }
            b'f' => {
                let mut bytes: [u8; 4] = field.try_into().map_err(|_| short())?;
                if !format.is_little {
                    bytes.reverse();
                }
                values.push(Value::Number(f32::from_le_bytes(bytes).into()));
            }
            b'd' => {
                let mut bytes: [u8; 8] = field.try_into().map_err(|_| short())?;
                if !format.is_little {
                    bytes.reverse();
                }
                values.push(Value::Number(f64::from_le_bytes(bytes)));
            }
            b'c' => {
                let mut field = field;
                if size == 0 {
                    let length = match values.pop() {
                        Some(Value::Number(length)) => length as usize,
                        _ => return Err(raise(lua, "format 'c0' needs a previous size")),
                    };
                    field = data.get(at..at.saturating_add(length)).ok_or_else(short)?;
                    taken = length;
                }
                values.push(Value::String(lua.create_string(field)?));
            }
            b's' => {
                let rest = data.get(at..).ok_or_else(short)?;
                let end = rest.iter().position(|byte| *byte == 0);
                let end = end.ok_or_else(|| raise(lua, "unfinished string in data"))?;
                values.push(Value::String(lua.create_string(&rest[..end])?));
                taken = end + 1;
            }
            _ => {}
        }
        at = at.saturating_add(taken);
    }
    values.push(Value::Number((at + 1) as f64));
    Ok(MultiValue::from_iter(values))
}

fn size(lua: &Lua, args: MultiValue) -> Result<MultiValue> {
    let format = bytes_of(lua, &args, 0)?;
    let mut format = Format { lua, name: "size", rest: &format, is_little: true, align: 1 };
    let mut at: usize = 0;
    while let Some((option, size, padding)) = format.next(at)? {
        match option {
            b's' => return Err(raise(lua, "bad argument #1 to 'size' (option 's' has no fixed size)")),
            b'c' if size == 0 => return Err(raise(lua, "bad argument #1 to 'size' (option 'c0' has no fixed size)")),
            _ => at = at.saturating_add(padding).saturating_add(size),
        }
    }
    Ok(MultiValue::from_iter([Value::Number(at as f64)]))
}

/// The library.
pub(super) fn create(lua: &Lua, budget: &Arc<Budget>) -> Result<Table> {
    let table = lua.create_table()?;
    let charged = |call: fn(&Lua, MultiValue) -> Result<MultiValue>| {
        let own = Arc::clone(budget);
        lua.create_function(move |lua, args: MultiValue| {
            let texts = args.iter().map(|arg| if let Value::String(text) = arg { text.as_bytes().len() } else { 8 });
            own.charge_for(args.len(), texts.sum::<usize>() * 8)?;
            call(lua, args)
        })
    };
    table.raw_set("pack", charged(pack)?)?;
    table.raw_set("unpack", charged(unpack)?)?;
    table.raw_set("size", charged(size)?)?;
    Ok(table)
}
