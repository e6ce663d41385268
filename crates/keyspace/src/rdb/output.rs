//! Writing a value in a plain form.

use super::{VERSION, VERSION_MAX, kind, stream};
use crate::args::parse_integer;
use crate::object::Value;

pub(super) fn number(value: u64, out: &mut Vec<u8>) {
    match value {
        0..64 => out.push(value as u8),
        64..0x4000 => out.extend_from_slice(&[0x40 | (value >> 8) as u8, value as u8]),
        0x4000..=0xffff_ffff => {
            out.push(0x80);
            out.extend_from_slice(&(value as u32).to_be_bytes());
        }
        _ => {
            out.push(0x81);
            out.extend_from_slice(&value.to_be_bytes());
        }
    }
}

pub(super) fn string(bytes: &[u8], out: &mut Vec<u8>) {
    let integer = (bytes.len() <= 11).then(|| parse_integer(bytes)).flatten();
    match integer.map(i32::try_from) {
        Some(Ok(value)) => {
            if let Ok(value) = i8::try_from(value) {
                out.extend_from_slice(&[0xc0, value.to_le_bytes()[0]]);
            } else if let Ok(value) = i16::try_from(value) {
                out.push(0xc1);
                out.extend_from_slice(&value.to_le_bytes());
            } else {
                out.push(0xc2);
                out.extend_from_slice(&value.to_le_bytes());
            }
        }
        _ => {
            number(bytes.len() as u64, out);
            out.extend_from_slice(bytes);
        }
    }
}

/// Writes the type and the body; gives the version of the form.
pub(super) fn write(value: &Value, now: i64, out: &mut Vec<u8>) -> Option<u16> {
    match value {
        Value::String(text) => {
            out.push(kind::STRING);
            string(&text.to_bytes(), out);
        }
        Value::List(list) => {
            out.push(kind::LIST);
            number(list.len() as u64, out);
            list.iter().for_each(|element| string(element, out));
        }
        Value::Set(set) => {
            out.push(kind::SET);
            number(set.len() as u64, out);
            set.iter().for_each(|member| string(&member, out));
        }
        Value::ZSet(set) => {
            out.push(kind::ZSET_2);
            number(set.len() as u64, out);
            for (member, score) in set.iter() {
                string(member, out);
                out.extend_from_slice(&score.to_le_bytes());
            }
        }
        Value::Hash(hash) => {
            let first = hash.live(now).filter_map(|field| field.end).min();
            out.push(if first.is_some() { kind::HASH_METADATA } else { kind::HASH });
            if let Some(first) = first {
                out.extend_from_slice(&first.to_le_bytes());
            }
            number(hash.live(now).count() as u64, out);
            for field in hash.live(now) {
                if let Some(first) = first {
                    let distance = field.end.map_or(0, |end| end.saturating_sub(first).saturating_add(1));
                    number(distance.cast_unsigned(), out);
                }
                string(field.name, out);
                string(field.value, out);
            }
            return Some(if first.is_some() { VERSION_MAX } else { VERSION });
        }
        Value::Stream(held) => {
            out.push(kind::STREAM_2);
            stream::write(held, out);
        }
        Value::Series(_) => return None,
    }
    Some(VERSION)
}
