//! What a path works on: JSON values that are shared instead of copied, and times.

use std::rc::Rc;

use perigee_types::text::json::write_string;
use perigee_types::{SqlResult, Value};
use rustc_hash::FxHashMap;

use super::super::tree::{Json, Kind, key_order};
use super::moment::Moment;

/// A value.
pub(super) type Item = Rc<Node>;

/// What a value is. The keys of an object are in jsonb's order.
#[derive(Debug)]
pub(super) enum Node {
    Null,
    Bool(bool),
    /// As numeric prints it.
    Number(Box<str>),
    String(Box<str>),
    Array(Vec<Item>),
    Object(Vec<(Box<str>, Item)>),
    Time(Moment),
}

/// The value of a jsonb.
pub(super) fn read(value: &Value) -> SqlResult<Item> {
    let source = super::super::normal(value)?;
    Ok(Rc::new(node(&Json::read(&source)?)))
}

fn node(json: &Json<'_>) -> Node {
    match &json.kind {
        Kind::Null => Node::Null,
        Kind::Bool(value) => Node::Bool(*value),
        Kind::Number(number) => Node::Number(number.as_ref().into()),
        Kind::String(text) => Node::String(text.as_ref().into()),
        Kind::Array(elements) => Node::Array(elements.iter().map(|e| Rc::new(node(e))).collect()),
        Kind::Object(fields) => {
            Node::Object(fields.iter().map(|(key, value)| (key.as_ref().into(), Rc::new(node(value)))).collect())
        }
    }
}

impl Node {
    /// `.type()`
    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Node::Null => "null",
            Node::Bool(_) => "boolean",
            Node::Number(_) => "number",
            Node::String(_) => "string",
            Node::Array(_) => "array",
            Node::Object(_) => "object",
            Node::Time(moment) => moment.kind.name(),
        }
    }

    pub(super) fn number(&self) -> Option<&str> {
        match self {
            Node::Number(number) => Some(number),
            _ => None,
        }
    }

    /// The value of a key.
    pub(super) fn field(&self, key: &str) -> Option<&Item> {
        match self {
            Node::Object(fields) => {
                let at = fields.binary_search_by(|(known, _)| key_order(known, key)).ok()?;
                fields.get(at).map(|(_, value)| value)
            }
            _ => None,
        }
    }

    /// Its text as jsonb.
    pub(super) fn text(&self) -> String {
        let mut out = String::new();
        self.write(&mut out);
        out
    }

    fn write(&self, out: &mut String) {
        match self {
            Node::Null => out.push_str("null"),
            Node::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Node::Number(number) => out.push_str(number),
            Node::String(text) => write_string(out, text),
            Node::Time(moment) => write_string(out, &moment.text()),
            Node::Array(elements) => {
                out.push('[');
                for (at, element) in elements.iter().enumerate() {
                    if at > 0 {
                        out.push_str(", ");
                    }
                    element.write(out);
                }
                out.push(']');
            }
            Node::Object(fields) => {
                out.push('{');
                for (at, (key, value)) in fields.iter().enumerate() {
                    if at > 0 {
                        out.push_str(", ");
                    }
                    write_string(out, key);
                    out.push_str(": ");
                    value.write(out);
                }
                out.push('}');
            }
        }
    }
}

/// Where each array and object stands in PostgreSQL's binary form of a jsonb, in bytes: what `.keyvalue()` names an
/// object by.
pub(super) fn offsets(root: &Item) -> FxHashMap<*const Node, i64> {
    let mut offsets = FxHashMap::default();
    let mut at = 0;
    place(root, &mut at, &mut offsets);
    offsets
}

fn place(item: &Item, at: &mut i64, offsets: &mut FxHashMap<*const Node, i64>) {
    let align = |at: &mut i64| *at = (*at + 3) / 4 * 4;
    match &**item {
        Node::Null | Node::Bool(_) => {}
        Node::String(text) => *at += text.len() as i64,
        Node::Time(moment) => *at += moment.text().len() as i64,
        Node::Number(number) => {
            align(at);
            *at += number_bytes(number);
        }
        Node::Array(elements) => {
            align(at);
            offsets.insert(Rc::as_ptr(item), *at);
            *at += 4 + 4 * elements.len() as i64;
            for element in elements {
                place(element, at, offsets);
            }
        }
        Node::Object(fields) => {
            align(at);
            offsets.insert(Rc::as_ptr(item), *at);
            *at += 4 + 8 * fields.len() as i64;
            *at += fields.iter().map(|(key, _)| key.len() as i64).sum::<i64>();
            for (_, value) in fields {
                place(value, at, offsets);
            }
        }
    }
}

/// Bytes of a numeric: a header, and two for every four digits around the point.
fn number_bytes(number: &str) -> i64 {
    let digits = number.strip_prefix('-').unwrap_or(number);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let whole = whole.trim_start_matches('0');
    let scale = fraction.len();
    // Groups of four digits to both sides of the point, without zeros at either end.
    let (before, after) = (whole.len().div_ceil(4), scale.div_ceil(4));
    let padded = format!("{}{whole}{fraction}{}", "0".repeat(before * 4 - whole.len()), "0".repeat(after * 4 - scale));
    let groups: Vec<&[u8]> = padded.as_bytes().chunks(4).collect();
    let zero = |group: &&&[u8]| group.iter().all(|b| *b == b'0');
    let leading = groups.iter().take_while(zero).count();
    let trailing = groups.iter().rev().take_while(zero).count();
    let count = groups.len().saturating_sub(leading + trailing);
    let weight = before as i64 - 1 - leading as i64;
    let short = scale <= 63 && (count == 0 || (-64..=63).contains(&weight));
    4 + if short { 2 } else { 4 } + 2 * count as i64
}
