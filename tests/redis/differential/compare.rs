//! When two replies are the same.

use perigee_testkit::resp::Value;

use super::script::How;

/// What differs between Redis's reply and Perigee's; `None` when nothing does.
pub(super) fn difference(how: How, wanted: &Value, got: &Value) -> Option<String> {
    let equal = match how {
        How::Exact => same(wanted, got),
        How::Unordered => same(&sorted(wanted, 1), &sorted(got, 1)),
        How::Pairs => same(&sorted(wanted, 2), &sorted(got, 2)),
        How::Deep => same(&sorted_deep(wanted), &sorted_deep(got)),
        How::Near(most) => near(wanted, got, most),
        How::Shape => shape(wanted, got),
        How::Kind => kind(wanted) == kind(got),
        How::Names => kind(wanted) == kind(got) && missing(wanted, got).is_empty(),
    };
    if equal {
        return None;
    }
    if how == How::Names && kind(wanted) == kind(got) {
        return Some(format!("without {}", missing(wanted, got).join(", ")));
    }
    let (wanted_text, got_text) = (cut(wanted.to_string()), cut(got.to_string()));
    // Kinds that look the same.
    if wanted_text == got_text || kind(wanted) != kind(got) {
        return Some(format!("{} {got_text}, not {} {wanted_text}", kind(got), kind(wanted)));
    }
    Some(format!("{got_text}, not {wanted_text}"))
}

const SHOWN_CHARS: usize = 600;

fn cut(mut text: String) -> String {
    if let Some((at, _)) = text.char_indices().nth(SHOWN_CHARS) {
        text.truncate(at);
        text.push('…');
    }
    text
}

/// Doubles are compared as numbers: Redis 7.0 writes more digits than 7.2.
fn same(wanted: &Value, got: &Value) -> bool {
    both(wanted, got, &|wanted, got| match (wanted, got) {
        (Value::Double(wanted), Value::Double(got)) => {
            wanted == got || number(wanted).is_some_and(|n| number(got) == Some(n))
        }
        (wanted, got) => wanted == got,
    })
}

fn number(text: &str) -> Option<f64> {
    text.parse().ok()
}

/// Whether two replies have one structure, and leaves that are alike.
fn both(wanted: &Value, got: &Value, alike: &dyn Fn(&Value, &Value) -> bool) -> bool {
    let all = |wanted: &[Value], got: &[Value]| {
        wanted.len() == got.len() && wanted.iter().zip(got).all(|(wanted, got)| both(wanted, got, alike))
    };
    match (wanted, got) {
        (Value::Array(wanted), Value::Array(got))
        | (Value::Set(wanted), Value::Set(got))
        | (Value::Push(wanted), Value::Push(got)) => all(wanted, got),
        (Value::Map(wanted), Value::Map(got)) => {
            let pair = |((a, b), (c, d)): (&(Value, Value), &(Value, Value))| both(a, c, alike) && both(b, d, alike);
            wanted.len() == got.len() && wanted.iter().zip(got).all(pair)
        }
        (wanted, got) => alike(wanted, got),
    }
}

fn near(wanted: &Value, got: &Value, most: f64) -> bool {
    let value = |value: &Value| value.bytes().and_then(|bytes| number(&String::from_utf8(bytes).ok()?));
    both(wanted, got, &|wanted, got| {
        kind(wanted) == kind(got)
            && match (value(wanted), value(got)) {
                (Some(wanted), Some(got)) => (wanted - got).abs() <= most.max(wanted.abs() * 1e-12),
                _ => wanted == got,
            }
    })
}

fn shape(wanted: &Value, got: &Value) -> bool {
    both(wanted, got, &|wanted, got| kind(wanted) == kind(got))
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Status(_) => "status",
        Value::Error(_) => "error",
        Value::Integer(_) => "integer",
        Value::Bulk(_) => "bulk",
        Value::NullBulk => "null bulk",
        Value::NullArray => "null array",
        Value::Null => "null",
        Value::Array(_) => "array",
        Value::Set(_) => "set",
        Value::Map(_) => "map",
        Value::Push(_) => "push",
        Value::Double(_) => "double",
        Value::Boolean(_) => "boolean",
        Value::BigNumber(_) => "big number",
        Value::Verbatim(..) => "verbatim",
        Value::Attribute(..) => "attribute",
        Value::Silence | Value::Closed | Value::Broken(_) => "no reply",
    }
}

/// The reply with its elements, taken in groups of `width`, in a fixed order.
fn sorted(value: &Value, width: usize) -> Value {
    let order = |items: &[Value]| {
        let mut groups: Vec<&[Value]> = items.chunks(width).collect();
        groups.sort_by_cached_key(|group| format!("{group:?}"));
        groups.concat()
    };
    match value {
        Value::Array(items) => Value::Array(order(items)),
        Value::Set(items) => Value::Set(order(items)),
        Value::Push(items) => Value::Push(order(items)),
        Value::Map(items) => {
            let mut items = items.clone();
            items.sort_by_cached_key(|item| format!("{item:?}"));
            Value::Map(items)
        }
        other => other.clone(),
    }
}

/// The same at every depth. What COMMAND INFO notes beside a key is prose, and left out.
fn sorted_deep(value: &Value) -> Value {
    let is_note = |name: &Value| *name == Value::Bulk(b"notes".to_vec());
    let all = |items: &[Value]| {
        let noted = items.first().is_some_and(is_note);
        items.iter().skip(if noted { 2 } else { 0 }).map(sorted_deep).collect()
    };
    let value = match value {
        Value::Array(items) => Value::Array(all(items)),
        Value::Set(items) => Value::Set(all(items)),
        Value::Map(items) => {
            let items = items.iter().filter(|(key, _)| !is_note(key));
            Value::Map(items.map(|(key, value)| (sorted_deep(key), sorted_deep(value))).collect())
        }
        other => other.clone(),
    };
    sorted(&value, 1)
}

/// Names of Redis's text that Perigee's has not.
fn missing(wanted: &Value, got: &Value) -> Vec<String> {
    let names = |value: &Value| -> Vec<String> {
        let text = String::from_utf8_lossy(&value.bytes().unwrap_or_default()).into_owned();
        let name = |word: &str| word.split_once([':', '=']).map(|(name, _)| name.to_owned());
        text.split_whitespace().filter_map(name).collect()
    };
    let got = names(got);
    let mut missing = names(wanted);
    missing.retain(|name| !got.contains(name));
    missing
}

#[test]
fn replies_are_compared_as_asked() {
    let bulk = |text: &str| Value::Bulk(text.as_bytes().to_vec());
    let array = |texts: &[&str]| Value::Array(texts.iter().map(|text| bulk(text)).collect());
    let check = |how, wanted: &Value, got: &Value, equal: bool| {
        assert_eq!(difference(how, wanted, got).is_none(), equal, "{how:?} {wanted} {got}");
    };
    check(How::Exact, &array(&["a", "b"]), &array(&["b", "a"]), false);
    check(How::Unordered, &array(&["a", "b"]), &array(&["b", "a"]), true);
    check(How::Unordered, &array(&["a", "b"]), &Value::Set(vec![bulk("a"), bulk("b")]), false);
    check(How::Pairs, &array(&["a", "1", "b", "2"]), &array(&["b", "2", "a", "1"]), true);
    check(How::Pairs, &array(&["a", "1", "b", "2"]), &array(&["b", "1", "a", "2"]), false);
    check(How::Near(2.0), &Value::Integer(10), &Value::Integer(12), true);
    check(How::Near(2.0), &Value::Integer(10), &Value::Integer(13), false);
    check(How::Near(0.0), &bulk("0.10000000000000001"), &bulk("0.1"), true);
    check(How::Shape, &array(&["a"]), &array(&["b"]), true);
    check(How::Shape, &array(&["a"]), &array(&["a", "b"]), false);
    check(How::Kind, &Value::NullBulk, &Value::NullArray, false);
    check(How::Names, &bulk("# A\r\na:1\r\nb:2"), &bulk("b:1\r\na:7\r\nc:3"), true);
    check(How::Names, &bulk("a:1 b:2"), &bulk("a:1"), false);
    check(How::Exact, &Value::Double("0.10000000000000001".to_owned()), &Value::Double("0.1".to_owned()), true);
}
