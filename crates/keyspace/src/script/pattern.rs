//! Patterns of Lua 5.1 for `string.find`, `match`, `gmatch` and `gsub`, whose steps are counted.
//!
//! The matcher of Lua's own library takes as long as a pattern makes it, and nothing can end it. This one matches the same,
//! step by step, and ends with the budget of the script.

use std::cell::Cell;
use std::sync::Arc;

use mlua::{IntoLua, Lua, MultiValue, Result, Table, Value};

use super::vm::{Budget, out_of_memory, raise};

/// Captures of a pattern.
const CAPTURES_MAX: usize = 32;
/// How deep captures and repetitions nest.
const DEPTH_MAX: usize = 200;
/// Steps between two looks at the budget.
const STEPS: u32 = 256;
/// A pattern with one of these is not searched for as it stands.
const SPECIALS: &[u8] = b"^$*+?.([%-";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Length {
    /// Its end was not met yet.
    Open,
    /// It captures a position.
    Position,
    Bytes(usize),
}

enum Stop {
    Wrong(&'static str),
    Over(mlua::Error),
}

type Found = std::result::Result<Option<usize>, Stop>;

/// A match that is looked for.
struct Matcher<'a> {
    text: &'a [u8],
    pattern: &'a [u8],
    captures: Vec<(usize, Length)>,
    depth: usize,
    steps: u32,
    budget: &'a Budget,
}

impl<'a> Matcher<'a> {
    fn new(text: &'a [u8], pattern: &'a [u8], budget: &'a Budget) -> Self {
        // A pattern ends with a zero byte, as a text of C.
        let end = pattern.iter().position(|byte| *byte == 0).unwrap_or(pattern.len());
        Self { text, pattern: &pattern[..end], captures: Vec::new(), depth: 0, steps: 0, budget }
    }

    /// Matches at a place: where the match ends.
    fn at(&mut self, start: usize) -> Found {
        self.captures.clear();
        self.run(start, 0)
    }

    /// The first match from a place on.
    fn search(&mut self, from: usize) -> std::result::Result<Option<(usize, usize)>, Stop> {
        let anchored = self.pattern.first() == Some(&b'^');
        let whole = self.pattern;
        if anchored {
            self.pattern = &whole[1..];
        }
        let mut found = Ok(None);
        for start in from..=self.text.len() {
            match self.at(start) {
                Ok(None) if !anchored => {}
                other => {
                    found = other.map(|end| end.map(|end| (start, end)));
                    break;
                }
            }
        }
        self.pattern = whole;
        found
    }

    fn step(&mut self) -> std::result::Result<(), Stop> {
        self.steps += 1;
        if self.steps == STEPS {
            self.steps = 0;
            self.budget.charge(u64::from(STEPS)).map_err(Stop::Over)?;
        }
        Ok(())
    }

    fn run(&mut self, s: usize, p: usize) -> Found {
        if self.depth == DEPTH_MAX {
            return Err(Stop::Wrong("pattern too complex"));
        }
        self.depth += 1;
        let found = self.run_from(s, p);
        self.depth -= 1;
        found
    }

    fn run_from(&mut self, mut s: usize, mut p: usize) -> Found {
        loop {
            self.step()?;
            let next = self.pattern.get(p + 1).copied();
            match (self.pattern.get(p), next) {
                (None, _) => return Ok(Some(s)),
                (Some(b'('), Some(b')')) => return self.open(s, p + 2, Length::Position),
                (Some(b'('), _) => return self.open(s, p + 1, Length::Open),
                (Some(b')'), _) => return self.close(s, p + 1),
                (Some(b'$'), None) => return Ok((s == self.text.len()).then_some(s)),
                (Some(b'%'), Some(b'b')) => match self.balanced(s, p + 2)? {
                    Some(end) => (s, p) = (end, p + 4),
                    None => return Ok(None),
                },
                (Some(b'%'), Some(b'f')) => {
                    p += 2;
                    if self.pattern.get(p) != Some(&b'[') {
                        return Err(Stop::Wrong("missing '[' after '%f' in pattern"));
                    }
                    let end = self.class_end(p)?;
                    let before = s.checked_sub(1).and_then(|at| self.text.get(at)).copied().unwrap_or(0);
                    let here = self.text.get(s).copied().unwrap_or(0);
                    if self.in_set(before, p, end - 1) || !self.in_set(here, p, end - 1) {
                        return Ok(None);
                    }
                    p = end;
                }
                (Some(b'%'), Some(digit @ b'0'..=b'9')) => match self.again(s, digit)? {
                    Some(end) => (s, p) = (end, p + 2),
                    None => return Ok(None),
                },
                _ => {
                    let end = self.class_end(p)?;
                    let fits = self.fits(s, p, end);
                    match self.pattern.get(end) {
                        Some(b'?') => {
                            if fits && let Some(found) = self.run(s + 1, end + 1)? {
                                return Ok(Some(found));
                            }
                            p = end + 1;
                        }
                        Some(b'*') => return self.most(s, p, end),
                        Some(b'+') => return if fits { self.most(s + 1, p, end) } else { Ok(None) },
                        Some(b'-') => return self.least(s, p, end),
                        _ if !fits => return Ok(None),
                        _ => (s, p) = (s + 1, end),
                    }
                }
            }
        }
    }

    fn most(&mut self, s: usize, p: usize, end: usize) -> Found {
        let mut count = 0;
        while self.fits(s + count, p, end) {
            self.step()?;
            count += 1;
        }
        loop {
            if let Some(found) = self.run(s + count, end + 1)? {
                return Ok(Some(found));
            }
            let Some(less) = count.checked_sub(1) else { return Ok(None) };
            count = less;
        }
    }

    fn least(&mut self, mut s: usize, p: usize, end: usize) -> Found {
        loop {
            if let Some(found) = self.run(s, end + 1)? {
                return Ok(Some(found));
            }
            if !self.fits(s, p, end) {
                return Ok(None);
            }
            s += 1;
        }
    }

    fn open(&mut self, s: usize, p: usize, length: Length) -> Found {
        if self.captures.len() == CAPTURES_MAX {
            return Err(Stop::Wrong("too many captures"));
        }
        let level = self.captures.len();
        self.captures.push((s, length));
        let found = self.run(s, p)?;
        if found.is_none() {
            self.captures.truncate(level);
        }
        Ok(found)
    }

    fn close(&mut self, s: usize, p: usize) -> Found {
        let open = self.captures.iter().rposition(|(_, length)| *length == Length::Open);
        let level = open.ok_or(Stop::Wrong("invalid pattern capture"))?;
        self.captures[level].1 = Length::Bytes(s - self.captures[level].0);
        let found = self.run(s, p)?;
        if found.is_none()
            && let Some(capture) = self.captures.get_mut(level)
        {
            capture.1 = Length::Open;
        }
        Ok(found)
    }

    /// `%1`: what was captured, once more.
    fn again(&mut self, s: usize, digit: u8) -> Found {
        let capture = usize::from(digit).checked_sub(usize::from(b'1')).and_then(|level| self.captures.get(level));
        match capture {
            None | Some((_, Length::Open)) => Err(Stop::Wrong("invalid capture index")),
            Some((_, Length::Position)) => Ok(None),
            Some((start, Length::Bytes(length))) => {
                let (start, length) = (*start, *length);
                self.budget.charge(length as u64 / 16).map_err(Stop::Over)?;
                let same = self.text.get(s..s + length) == self.text.get(start..start + length);
                Ok(same.then_some(s + length))
            }
        }
    }

    fn balanced(&mut self, s: usize, p: usize) -> Found {
        let (Some(&begin), Some(&end)) = (self.pattern.get(p), self.pattern.get(p + 1)) else {
            return Err(Stop::Wrong("unbalanced pattern"));
        };
        if self.text.get(s) != Some(&begin) {
            return Ok(None);
        }
        let mut open = 1;
        for at in s + 1..self.text.len() {
            self.step()?;
            let byte = self.text[at];
            if byte == end {
                open -= 1;
                if open == 0 {
                    return Ok(Some(at + 1));
                }
            } else if byte == begin {
                open += 1;
            }
        }
        Ok(None)
    }

    /// Where the class ends that begins at `p`.
    fn class_end(&self, p: usize) -> std::result::Result<usize, Stop> {
        match self.pattern.get(p) {
            Some(b'%') if p + 1 == self.pattern.len() => Err(Stop::Wrong("malformed pattern (ends with '%')")),
            Some(b'%') => Ok(p + 2),
            Some(b'[') => {
                let mut at = p + 1;
                if self.pattern.get(at) == Some(&b'^') {
                    at += 1;
                }
                loop {
                    let byte = self.pattern.get(at).ok_or(Stop::Wrong("malformed pattern (missing ']')"))?;
                    at += 1;
                    if *byte == b'%' && at < self.pattern.len() {
                        at += 1;
                    }
                    if self.pattern.get(at) == Some(&b']') {
                        return Ok(at + 1);
                    }
                }
            }
            _ => Ok(p + 1),
        }
    }

    fn fits(&self, s: usize, p: usize, end: usize) -> bool {
        let Some(&byte) = self.text.get(s) else { return false };
        match self.pattern[p] {
            b'.' => true,
            b'%' => in_class(byte, self.pattern[p + 1]),
            b'[' => self.in_set(byte, p, end - 1),
            plain => plain == byte,
        }
    }

    /// Whether a byte is in the set from `[` at `p` to `]` at `end`.
    fn in_set(&self, byte: u8, p: usize, end: usize) -> bool {
        let set = &self.pattern[..end];
        let negated = set.get(p + 1) == Some(&b'^');
        let mut at = if negated { p + 2 } else { p + 1 };
        while let Some(&first) = set.get(at) {
            if first == b'%' {
                at += 1;
                if set.get(at).is_some_and(|class| in_class(byte, *class)) {
                    return !negated;
                }
            } else if set.get(at + 1) == Some(&b'-')
                && let Some(&last) = set.get(at + 2)
            {
                at += 2;
                if (first..=last).contains(&byte) {
                    return !negated;
                }
            } else if first == byte {
                return !negated;
            }
            at += 1;
        }
        negated
    }

    /// What a match captured; the whole of it where there are no captures.
    fn captured(&self, lua: &Lua, level: usize, start: usize, end: usize) -> Result<Value> {
        match self.captures.get(level) {
            None if level == 0 => lua.create_string(&self.text[start..end])?.into_lua(lua),
            None => Err(raise(lua, "invalid capture index")),
            Some((_, Length::Open)) => Err(raise(lua, "unfinished capture")),
            Some((at, Length::Position)) => ((at + 1) as f64).into_lua(lua),
            Some((at, Length::Bytes(length))) => lua.create_string(&self.text[*at..at + length])?.into_lua(lua),
        }
    }

    fn all_captured(&self, lua: &Lua, start: usize, end: usize) -> Result<Vec<Value>> {
        (0..self.captures.len().max(1)).map(|level| self.captured(lua, level, start, end)).collect()
    }
}

fn in_class(byte: u8, class: u8) -> bool {
    let found = match class.to_ascii_lowercase() {
        b'a' => byte.is_ascii_alphabetic(),
        b'c' => byte.is_ascii_control(),
        b'd' => byte.is_ascii_digit(),
        b'l' => byte.is_ascii_lowercase(),
        b'p' => byte.is_ascii_punctuation(),
        b's' => matches!(byte, b' ' | 0x09..=0x0d),
        b'u' => byte.is_ascii_uppercase(),
        b'w' => byte.is_ascii_alphanumeric(),
        b'x' => byte.is_ascii_hexdigit(),
        b'z' => byte == 0,
        _ => return class == byte,
    };
    found != class.is_ascii_uppercase()
}

fn stopped(lua: &Lua, stop: Stop) -> mlua::Error {
    match stop {
        Stop::Wrong(text) => raise(lua, text),
        Stop::Over(error) => error,
    }
}

/// The arguments of a call, as C's library takes them.
struct Args<'a> {
    lua: &'a Lua,
    args: &'a MultiValue,
    name: &'static str,
}

impl Args<'_> {
    fn wrong(&self, n: usize, want: &str) -> mlua::Error {
        let kind = self.args.get(n).map_or("no value", Value::type_name);
        // Numbers are of one kind.
        let kind = if kind == "integer" { "number" } else { kind };
        raise(self.lua, &format!("bad argument #{} to '{}' ({want} expected, got {kind})", n + 1, self.name))
    }

    fn bytes(&self, n: usize) -> Result<Vec<u8>> {
        match self.args.get(n) {
            Some(Value::String(text)) => Ok(text.as_bytes().to_vec()),
            Some(value @ (Value::Integer(_) | Value::Number(_))) => {
                let text = self.lua.coerce_string(value.clone())?;
                Ok(text.map(|text| text.as_bytes().to_vec()).unwrap_or_default())
            }
            _ => Err(self.wrong(n, "string")),
        }
    }

    fn integer(&self, n: usize, default: i64) -> Result<i64> {
        match self.args.get(n) {
            None | Some(Value::Nil) => Ok(default),
            Some(value) => {
                let number = self.lua.coerce_number(value.clone())?;
                number.map(|number| number as i64).ok_or_else(|| self.wrong(n, "number"))
            }
        }
    }
}

fn find(lua: &Lua, args: &MultiValue, budget: &Budget, is_find: bool) -> Result<MultiValue> {
    let args = Args { lua, args, name: if is_find { "find" } else { "match" } };
    let (text, pattern) = (args.bytes(0)?, args.bytes(1)?);
    budget.charge(text.len() as u64 / 64)?;
    let from = match args.integer(2, 1)? {
        from @ 1.. => usize::try_from(from - 1).unwrap_or(usize::MAX).min(text.len()),
        0 => 0,
        from => (text.len() as i64).saturating_add(from).max(0) as usize,
    };
    let is_plain = args.args.get(3).is_some_and(|plain| !matches!(plain, Value::Nil | Value::Boolean(false)));
    let until_zero = pattern.split(|byte| *byte == 0).next().unwrap_or_default();
    if is_find && (is_plain || !until_zero.iter().any(|byte| SPECIALS.contains(byte))) {
        let found = memchr::memmem::find(&text[from..], &pattern).map(|at| from + at);
        return Ok(match found {
            Some(at) => {
                MultiValue::from_iter([Value::Number((at + 1) as f64), Value::Number((at + pattern.len()) as f64)])
            }
            None => MultiValue::from_iter([Value::Nil]),
        });
    }
    let mut matcher = Matcher::new(&text, &pattern, budget);
    let Some((start, end)) = matcher.search(from).map_err(|stop| stopped(lua, stop))? else {
        return Ok(MultiValue::from_iter([Value::Nil]));
    };
    let mut values = Vec::new();
    if is_find {
        values.extend([Value::Number((start + 1) as f64), Value::Number(end as f64)]);
    }
    if !is_find || !matcher.captures.is_empty() {
        values.extend(matcher.all_captured(lua, start, end)?);
    }
    Ok(MultiValue::from_iter(values))
}

fn gmatch(lua: &Lua, args: &MultiValue, budget: &Arc<Budget>) -> Result<Value> {
    let args = Args { lua, args, name: "gmatch" };
    let (text, pattern) = (args.bytes(0)?, args.bytes(1)?);
    let (place, budget) = (Cell::new(0), Arc::clone(budget));
    let next = lua.create_function(move |lua, _: MultiValue| {
        let mut matcher = Matcher::new(&text, &pattern, &budget);
        for start in place.get()..=text.len() {
            if let Some(end) = matcher.at(start).map_err(|stop| stopped(lua, stop))? {
                place.set(if end == start { end + 1 } else { end });
                return Ok(MultiValue::from_iter(matcher.all_captured(lua, start, end)?));
            }
        }
        place.set(text.len() + 1);
        Ok(MultiValue::new())
    })?;
    Ok(Value::Function(next))
}

/// For `gsub` with a function or a table: a function that gives what stands before the next match, the match and its
/// captures; at the end, what is left.
fn matches(lua: &Lua, args: &MultiValue, budget: &Arc<Budget>) -> Result<Value> {
    let args = Args { lua, args, name: "gsub" };
    let (text, pattern) = (args.bytes(0)?, args.bytes(1)?);
    let max = args.integer(3, text.len() as i64 + 1)?;
    let (place, left, budget) = (Cell::new(Some(0)), Cell::new(max), Arc::clone(budget));
    let next = lua.create_function(move |lua, _: MultiValue| {
        let Some(from) = place.get() else { return Ok(MultiValue::new()) };
        let (anchored, inner) = anchor(&pattern);
        let mut matcher = Matcher::new(&text, inner, &budget);
        let mut at = from;
        while left.get() > 0 {
            if let Some(end) = matcher.at(at).map_err(|stop| stopped(lua, stop))? {
                left.set(if anchored { 0 } else { left.get() - 1 });
                let mut values = vec![
                    Value::String(lua.create_string(&text[from..at])?),
                    Value::String(lua.create_string(&text[at..end])?),
                ];
                values.extend(matcher.all_captured(lua, at, end)?);
                if end > at {
                    place.set(Some(end));
                } else {
                    // Behind an empty match stands the byte that it did not take.
                    let byte = text.get(at..at + 1).unwrap_or_default();
                    values.insert(2, Value::String(lua.create_string(byte)?));
                    place.set((at < text.len()).then_some(at + 1));
                    return Ok(MultiValue::from_iter(values));
                }
                values.insert(2, Value::String(lua.create_string("")?));
                return Ok(MultiValue::from_iter(values));
            }
            if anchored || at >= text.len() {
                break;
            }
            at += 1;
        }
        place.set(None);
        Ok(MultiValue::from_iter([Value::String(lua.create_string(&text[from..])?)]))
    })?;
    Ok(Value::Function(next))
}

fn anchor(pattern: &[u8]) -> (bool, &[u8]) {
    pattern.strip_prefix(b"^").map_or((false, pattern), |inner| (true, inner))
}

/// `gsub` with a text.
fn gsub(lua: &Lua, args: &MultiValue, budget: &Budget) -> Result<(mlua::String, f64)> {
    let args = Args { lua, args, name: "gsub" };
    let (text, pattern) = (args.bytes(0)?, args.bytes(1)?);
    let with = match args.args.get(2) {
        Some(Value::String(_) | Value::Integer(_) | Value::Number(_)) => args.bytes(2)?,
        _ => return Err(raise(lua, "bad argument #3 to 'gsub' (string/function/table expected)")),
    };
    let max = args.integer(3, text.len() as i64 + 1)?;
    let (anchored, inner) = anchor(&pattern);
    let mut matcher = Matcher::new(&text, inner, budget);
    let (mut out, mut at, mut count) = (Vec::new(), 0, 0);
    while count < max {
        let found = matcher.at(at).map_err(|stop| stopped(lua, stop))?;
        if let Some(end) = found {
            count += 1;
            budget.charge(with.len() as u64 / 64)?;
            replace(lua, &matcher, &with, at, end, &mut out)?;
            if out.len() > super::vm::MEMORY_BYTES_MAX as usize {
                return Err(out_of_memory());
            }
        }
        match (found, text.get(at)) {
            (Some(end), _) if end > at => at = end,
            (_, Some(byte)) => {
                out.push(*byte);
                at += 1;
            }
            _ => break,
        }
        if anchored {
            break;
        }
    }
    out.extend_from_slice(text.get(at..).unwrap_or_default());
    Ok((lua.create_string(out)?, count as f64))
}

fn replace(lua: &Lua, matcher: &Matcher<'_>, with: &[u8], start: usize, end: usize, out: &mut Vec<u8>) -> Result<()> {
    let mut bytes = with.iter();
    while let Some(byte) = bytes.next() {
        if *byte != b'%' {
            out.push(*byte);
            continue;
        }
        match bytes.next() {
            Some(b'0') => out.extend_from_slice(&matcher.text[start..end]),
            Some(digit @ b'1'..=b'9') => {
                let value = matcher.captured(lua, usize::from(digit - b'1'), start, end)?;
                let text = lua.coerce_string(value)?;
                out.extend_from_slice(&text.map(|text| text.as_bytes().to_vec()).unwrap_or_default());
            }
            other => out.push(other.copied().unwrap_or(0)),
        }
    }
    Ok(())
}

/// `rep`. Lua's own counts a text of no bytes two thousand million times, and nothing ends it.
fn rep(lua: &Lua, args: &MultiValue, budget: &Budget) -> Result<mlua::String> {
    let args = Args { lua, args, name: "rep" };
    let text = args.bytes(0)?;
    if matches!(args.args.get(1), None | Some(Value::Nil)) {
        return Err(args.wrong(1, "number"));
    }
    // As C takes an int of it.
    let count = usize::try_from(args.integer(1, 0)? as i32).unwrap_or(0);
    let bytes = text.len().saturating_mul(count);
    if bytes > super::vm::MEMORY_BYTES_MAX as usize {
        return Err(out_of_memory());
    }
    budget.charge(bytes as u64 / 64)?;
    lua.create_string(text.repeat(if text.is_empty() { 0 } else { count }))
}

/// `upper`, `lower` and `reverse`, in steps that count.
fn mapped(lua: &Lua, args: &MultiValue, budget: &Budget, name: &'static str) -> Result<mlua::String> {
    let mut text = Args { lua, args, name }.bytes(0)?;
    budget.charge(text.len() as u64 / 64)?;
    match name {
        "upper" => text.make_ascii_uppercase(),
        "lower" => text.make_ascii_lowercase(),
        _ => text.reverse(),
    }
    lua.create_string(text)
}

/// Puts the functions into the string library; `gsub` and `matches` go to the prelude, which makes one of them.
pub(super) fn install(lua: &Lua, strings: &Table, native: &Table, budget: &Arc<Budget>) -> Result<()> {
    let own = Arc::clone(budget);
    strings.raw_set("find", lua.create_function(move |lua, args: MultiValue| find(lua, &args, &own, true))?)?;
    let own = Arc::clone(budget);
    strings.raw_set("match", lua.create_function(move |lua, args: MultiValue| find(lua, &args, &own, false))?)?;
    let own = Arc::clone(budget);
    strings.raw_set("gmatch", lua.create_function(move |lua, args: MultiValue| gmatch(lua, &args, &own))?)?;
    for name in ["upper", "lower", "reverse"] {
        let own = Arc::clone(budget);
        strings.raw_set(name, lua.create_function(move |lua, args: MultiValue| mapped(lua, &args, &own, name))?)?;
    }
    let own = Arc::clone(budget);
    strings.raw_set("rep", lua.create_function(move |lua, args: MultiValue| rep(lua, &args, &own))?)?;
    let own = Arc::clone(budget);
    native.raw_set("gsub", lua.create_function(move |lua, args: MultiValue| gsub(lua, &args, &own))?)?;
    let own = Arc::clone(budget);
    native.raw_set("matches", lua.create_function(move |lua, args: MultiValue| matches(lua, &args, &own))?)
}

#[cfg(test)]
mod tests {
    use mlua::{LuaOptions, StdLib};

    use super::*;

    fn lua() -> Lua {
        Lua::new_with(StdLib::STRING, LuaOptions::default()).unwrap()
    }

    fn text(values: Result<MultiValue>) -> String {
        match values {
            Ok(values) => format!("{:?}", values.iter().map(|value| value.to_string().unwrap()).collect::<Vec<_>>()),
            Err(_) => "(error)".to_owned(),
        }
    }

    /// The same as Lua's own library, for many patterns over few letters.
    #[test]
    fn patterns_match_as_those_of_lua() {
        let (theirs, ours) = (lua(), lua());
        let budget = Arc::new(Budget::default());
        budget.begin(u64::MAX);
        let strings: Table = ours.globals().get("string").unwrap();
        let native = ours.create_table().unwrap();
        install(&ours, &strings, &native, &budget).unwrap();
        strings.set("gsub", native.get::<Value>("gsub").unwrap()).unwrap();
        let all = "return ... and function(t, p) local found = {} for a, b in string.gmatch(t, p) do found[#found + 1] = tostring(a) .. ',' .. tostring(b) if #found > 20 then break end end return unpack(found) end";
        let gmatch = |lua: &Lua| -> mlua::Function { lua.load(all).call(1).unwrap() };
        let (their_gmatch, our_gmatch) = (gmatch(&theirs), gmatch(&ours));
        let parts = [
            "a", "b", ".", "%a", "%d", "%s", "%W", "[ab]", "[^a]", "[a-c%d]", "*", "+", "-", "?", "(", ")", "()", "^",
            "$", "%1", "%bab", "%f[b]", "[", "]", "%", "c", "%.", "1", "[]]", "[%]a]", "[a-]",
        ];
        let mut seed = 7_u64;
        let mut next = |below: usize| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) as usize % below
        };
        let (mut found, mut errors) = (0, 0);
        for _ in 0..10_000 {
            let pattern: String = (0..next(7)).map(|_| parts[next(parts.len())]).collect();
            let subject: String = (0..next(9)).map(|_| ["a", "b", "c", "1", " ", "."][next(6)]).collect();
            let init = next(14) as i64 - 4;
            for name in ["find", "match"] {
                let call = |lua: &Lua| {
                    let strings: Table = lua.globals().get("string").unwrap();
                    let function: mlua::Function = strings.get(name).unwrap();
                    text(function.call((subject.as_str(), pattern.as_str(), init)))
                };
                let want = call(&theirs);
                found += usize::from(want != "[\"nil\"]");
                errors += usize::from(want == "(error)");
                assert_eq!(call(&ours), want, "{name} {subject:?} {pattern:?} {init}");
            }
            let call = |lua: &Lua, with: &str| {
                let strings: Table = lua.globals().get("string").unwrap();
                text(strings.get::<mlua::Function>("gsub").unwrap().call((subject.as_str(), pattern.as_str(), with)))
            };
            for with in ["<%0>", "%1-", "x"] {
                assert_eq!(call(&ours, with), call(&theirs, with), "gsub {subject:?} {pattern:?} {with:?}");
            }
            let call = |function: &mlua::Function| text(function.call((subject.as_str(), pattern.as_str())));
            assert_eq!(call(&our_gmatch), call(&their_gmatch), "gmatch {subject:?} {pattern:?}");
        }
        assert!(found > 2_000 && errors > 200, "{found} found, {errors} errors");
    }
}
