//! Steps of a path over values.
//!
//! A step gives values to the next one, one by one; without a list to collect into, the first value ends it all. In lax
//! mode arrays are taken apart where a step wants something else, and what is not there is nothing; in strict mode it is
//! an error. An error is the caller's, or for one who asks to be spared [`Outcome::Error`].

use std::rc::Rc;
use std::sync::Arc;

use perigee_types::text::TimeZone;
use perigee_types::text::jsonpath::{Binary, Chain, LEVEL_LAST, Method, Step, Unary};
use perigee_types::{SqlError, SqlResult, SqlState};
use rustc_hash::FxHashMap;

use super::item::{self, Item, Node};
use super::{number, template};
use crate::exec::view::ReadView;

/// What became of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Found,
    NotFound,
    /// An error that nobody wants to see.
    Error,
}

/// Levels of steps within steps.
const DEPTH_MAX: u32 = 4_000;
/// Values that one evaluation may collect.
const FOUND_MAX: usize = 1 << 22;
/// Stack that one level may need, and what is added where there is less.
const STACK_LEFT: usize = 128 << 10;
const STACK_MORE: usize = 1 << 20;
/// What tells the objects of one document from those of another in `.keyvalue()`.
const DOCUMENT_IDS: i64 = 10_000_000_000;

type Found<'f> = Option<&'f mut Vec<Item>>;

/// The state of an evaluation.
pub(super) struct Machine<'a> {
    lax: bool,
    /// Whether what is not there is no error.
    forgiving: bool,
    /// Whether errors are the caller's.
    throwing: bool,
    root: Item,
    /// `@`
    pub(super) current: Item,
    variables: Option<Item>,
    /// The document that values come from, and its number.
    document: (Item, i64),
    documents: i64,
    offsets: FxHashMap<*const Node, FxHashMap<*const Node, i64>>,
    /// Documents that were made here: their addresses must stay theirs.
    made: Vec<Item>,
    /// Elements of the array whose subscript is evaluated.
    array_length: Option<usize>,
    /// The session's zone, where values with and without one may be compared.
    pub(super) zone: Option<TimeZone>,
    pub(super) view: Option<&'a Arc<ReadView>>,
    depth: u32,
    work: u32,
}

impl<'a> Machine<'a> {
    pub(super) fn new(
        lax: bool,
        throwing: bool,
        root: Item,
        variables: Option<Item>,
        zone: Option<TimeZone>,
        view: Option<&'a Arc<ReadView>>,
    ) -> Self {
        Self {
            lax,
            forgiving: lax,
            throwing,
            current: Rc::clone(&root),
            document: (Rc::clone(&root), 0),
            documents: if variables.is_some() { 2 } else { 1 },
            root,
            variables,
            offsets: FxHashMap::default(),
            made: Vec::new(),
            array_length: None,
            zone,
            view,
            depth: 0,
            work: 0,
        }
    }

    pub(super) fn is_lax(&self) -> bool {
        self.lax
    }

    /// Evaluates a whole path.
    pub(super) fn start(&mut self, chain: &Chain, found: Found<'_>) -> SqlResult<Outcome> {
        let root = Rc::clone(&self.root);
        self.run(chain, &root, found)
    }

    /// Evaluates steps over a value, taking arrays apart where the mode does.
    pub(super) fn run(&mut self, steps: &[Step], item: &Item, found: Found<'_>) -> SqlResult<Outcome> {
        self.run_target(steps, item, found, self.lax)
    }

    /// [`Machine::run`] with the elements of arrays among the results.
    pub(super) fn run_elements(&mut self, steps: &[Step], item: &Item, found: &mut Vec<Item>) -> SqlResult<Outcome> {
        if !self.lax {
            return self.run(steps, item, Some(found));
        }
        let mut values = Vec::new();
        if self.run(steps, item, Some(&mut values))? == Outcome::Error {
            return Ok(Outcome::Error);
        }
        for value in values {
            match &*value {
                Node::Array(elements) => elements.iter().try_for_each(|element| push(found, Rc::clone(element)))?,
                _ => push(found, value)?,
            }
        }
        Ok(Outcome::Found)
    }

    /// The same without errors that reach the caller.
    pub(super) fn spared<T>(&mut self, run: impl FnOnce(&mut Self) -> SqlResult<T>) -> SqlResult<T> {
        let throwing = std::mem::replace(&mut self.throwing, false);
        let result = run(self);
        self.throwing = throwing;
        result
    }

    pub(super) fn failed(&self, state: SqlState, message: impl Into<String>) -> SqlResult<Outcome> {
        if self.throwing { Err(SqlError::new(state, message)) } else { Ok(Outcome::Error) }
    }

    fn or_failed<T>(&self, result: SqlResult<T>) -> SqlResult<Option<T>> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(error) if self.throwing => Err(error),
            Err(_) => Ok(None),
        }
    }

    /// What is not there: nothing, or an error.
    fn missing(&self, state: SqlState, message: impl FnOnce() -> String) -> SqlResult<Outcome> {
        if self.forgiving { Ok(Outcome::NotFound) } else { self.failed(state, message()) }
    }

    fn run_target(&mut self, steps: &[Step], item: &Item, found: Found<'_>, unwrap: bool) -> SqlResult<Outcome> {
        self.work = self.work.wrapping_add(1);
        if self.work.is_multiple_of(1024) && self.view.is_some_and(|view| view.cancel.is_cancelled()) {
            return Err(crate::exec::error::canceled());
        }
        if self.depth == DEPTH_MAX {
            return Err(SqlError::new(SqlState::StatementTooComplex, "stack depth limit exceeded")
                .hint("The path has too many steps for values nested so deeply."));
        }
        self.depth += 1;
        let result = stacker::maybe_grow(STACK_LEFT, STACK_MORE, || self.step(steps, item, found, unwrap));
        self.depth -= 1;
        result
    }

    /// The steps behind the first, over a value that it gave.
    fn next(&mut self, rest: &[Step], item: Item, found: Found<'_>) -> SqlResult<Outcome> {
        if !rest.is_empty() {
            return self.run(rest, &item, found);
        }
        if let Some(found) = found {
            push(found, item)?;
        }
        Ok(Outcome::Found)
    }

    /// The next steps over a value of another document.
    fn next_of(&mut self, document: (Item, i64), rest: &[Step], item: Item, found: Found<'_>) -> SqlResult<Outcome> {
        let before = std::mem::replace(&mut self.document, document);
        let result = self.next(rest, item, found);
        self.document = before;
        result
    }

    fn step(&mut self, steps: &[Step], item: &Item, found: Found<'_>, unwrap: bool) -> SqlResult<Outcome> {
        let Some((step, rest)) = steps.split_first() else { return Ok(Outcome::NotFound) };
        let unwraps = unwrap && matches!(**item, Node::Array(_));
        match step {
            Step::Binary(op, _) if op.is_predicate() => self.truth_value(step, rest, item, found),
            Step::LikeRegex(..) | Step::Unary(Unary::Not | Unary::IsUnknown | Unary::Exists, _) => {
                self.truth_value(step, rest, item, found)
            }
            Step::Binary(op, sides) => self.calculate(*op, &sides.0, &sides.1, rest, item, found),
            Step::Unary(Unary::Filter, condition) => {
                if unwraps {
                    return self.elements(Some(steps), item, found, false);
                }
                let before = std::mem::replace(&mut self.current, Rc::clone(item));
                let holds = self.chain_truth(condition, item);
                self.current = before;
                if holds? == Some(true) { self.next(rest, Rc::clone(item), found) } else { Ok(Outcome::NotFound) }
            }
            Step::Unary(op, value) => self.signed(*op, value, rest, item, found),
            Step::Null => self.next(rest, Rc::new(Node::Null), found),
            Step::Bool(value) => self.next(rest, Rc::new(Node::Bool(*value)), found),
            Step::Number(number) => self.next(rest, Rc::new(Node::Number(number.as_str().into())), found),
            Step::String(text) => self.next(rest, Rc::new(Node::String(text.as_str().into())), found),
            Step::Variable(name) => {
                let Some(variables) = self.variables.clone() else {
                    return self.next(rest, Rc::new(Node::Null), found);
                };
                let value = variables.field(name).cloned().ok_or_else(|| {
                    SqlError::new(SqlState::UndefinedObject, format!("could not find jsonpath variable \"{name}\""))
                })?;
                self.next_of((variables, 1), rest, value, found)
            }
            Step::Root => {
                let root = Rc::clone(&self.root);
                self.next_of((Rc::clone(&root), 0), rest, root, found)
            }
            Step::Current => self.next(rest, Rc::clone(&self.current), found),
            Step::Last => match self.array_length {
                Some(length) => {
                    let last = length as i64 - 1;
                    self.next(rest, Rc::new(Node::Number(last.to_string().into())), found)
                }
                None => Err(SqlError::internal("evaluating jsonpath LAST outside of array subscript")),
            },
            Step::Key(name) => match &**item {
                Node::Object(_) => match item.field(name) {
                    Some(value) => self.next(rest, Rc::clone(value), found),
                    None => self.missing(SqlState::JsonMemberNotFound, || {
                        format!("JSON object does not contain key \"{name}\"")
                    }),
                },
                _ if unwraps => self.elements(Some(steps), item, found, false),
                _ => self.missing(SqlState::JsonMemberNotFound, || {
                    "jsonpath member accessor can only be applied to an object".to_owned()
                }),
            },
            Step::AnyKey => match &**item {
                Node::Object(_) => self.elements((!rest.is_empty()).then_some(rest), item, found, self.lax),
                _ if unwraps => self.elements(Some(steps), item, found, false),
                _ => self.missing(SqlState::JsonObjectNotFound, || {
                    "jsonpath wildcard member accessor can only be applied to an object".to_owned()
                }),
            },
            Step::AnyElement => match &**item {
                Node::Array(_) => self.elements((!rest.is_empty()).then_some(rest), item, found, self.lax),
                _ if self.lax => self.next(rest, Rc::clone(item), found),
                _ => self.missing(SqlState::JsonArrayNotFound, || {
                    "jsonpath wildcard array accessor can only be applied to an array".to_owned()
                }),
            },
            Step::Elements(subscripts) => self.subscripts(subscripts, rest, item, found),
            Step::AnyLevel(first, last) => self.any_level(*first, *last, rest, item, found),
            Step::Method(method) => self.method(*method, steps, rest, item, found, unwraps),
            Step::Datetime(_) if unwraps => self.elements(Some(steps), item, found, false),
            Step::Datetime(wanted) => {
                let Node::String(text) = &**item else {
                    let message = "jsonpath item method .datetime() can only be applied to a string";
                    return self.failed(SqlState::InvalidJsonDatetimeArgument, message);
                };
                match self.or_failed(template::read(text, wanted.as_deref())?)? {
                    Some(moment) => self.next(rest, Rc::new(Node::Time(moment)), found),
                    None => Ok(Outcome::Error),
                }
            }
        }
    }

    /// A predicate as a value.
    fn truth_value(&mut self, step: &Step, rest: &[Step], item: &Item, found: Found<'_>) -> SqlResult<Outcome> {
        let truth = self.truth(step, item)?;
        self.next(rest, Rc::new(truth.map_or(Node::Null, Node::Bool)), found)
    }

    /// Steps over the elements of an array or the values of an object.
    fn elements(
        &mut self,
        steps: Option<&[Step]>,
        item: &Item,
        found: Found<'_>,
        unwrap_next: bool,
    ) -> SqlResult<Outcome> {
        self.levels(steps, item, found, (1, 1, 1), false, unwrap_next)
    }

    /// Steps over what stands `first` to `last` levels below a value, which is at the one before `level`.
    fn levels(
        &mut self,
        steps: Option<&[Step]>,
        item: &Item,
        mut found: Found<'_>,
        (level, first, last): (u32, u32, u32),
        forgiving: bool,
        unwrap_next: bool,
    ) -> SqlResult<Outcome> {
        let mut outcome = Outcome::NotFound;
        if level > last {
            return Ok(outcome);
        }
        let below: Vec<Item> = match &**item {
            Node::Array(elements) => elements.clone(),
            Node::Object(fields) => fields.iter().map(|(_, value)| Rc::clone(value)).collect(),
            _ => return Ok(outcome),
        };
        for value in below {
            let is_container = matches!(*value, Node::Array(_) | Node::Object(_));
            if level >= first || (first == LEVEL_LAST && last == LEVEL_LAST && !is_container) {
                match (steps, found.as_deref_mut()) {
                    (Some(steps), found) => {
                        let before = self.forgiving;
                        self.forgiving |= forgiving;
                        let result = self.run_target(steps, &value, found, unwrap_next);
                        self.forgiving = before;
                        outcome = result?;
                    }
                    (None, Some(found)) => {
                        push(found, Rc::clone(&value))?;
                        outcome = Outcome::Found;
                    }
                    (None, None) => return Ok(Outcome::Found),
                }
                if outcome == Outcome::Error || (outcome == Outcome::Found && found.is_none()) {
                    break;
                }
            }
            if level < last && is_container {
                let levels = (level + 1, first, last);
                let found = found.as_deref_mut();
                outcome = stacker::maybe_grow(STACK_LEFT, STACK_MORE, || {
                    self.levels(steps, &value, found, levels, forgiving, unwrap_next)
                })?;
                if outcome == Outcome::Error {
                    break;
                }
            }
            if outcome == Outcome::Found && found.is_none() {
                break;
            }
        }
        Ok(outcome)
    }

    fn any_level(
        &mut self,
        first: u32,
        last: u32,
        rest: &[Step],
        item: &Item,
        mut found: Found<'_>,
    ) -> SqlResult<Outcome> {
        let mut outcome = Outcome::NotFound;
        if first == 0 {
            let before = std::mem::replace(&mut self.forgiving, true);
            let result = self.next(rest, Rc::clone(item), found.as_deref_mut());
            self.forgiving = before;
            outcome = result?;
            if outcome == Outcome::Found && found.is_none() {
                return Ok(outcome);
            }
        }
        if matches!(**item, Node::Array(_) | Node::Object(_)) {
            let steps = (!rest.is_empty()).then_some(rest);
            outcome = self.levels(steps, item, found, (1, first, last), true, self.lax)?;
        }
        Ok(outcome)
    }

    fn subscripts(
        &mut self,
        subscripts: &[(Chain, Option<Chain>)],
        rest: &[Step],
        item: &Item,
        mut found: Found<'_>,
    ) -> SqlResult<Outcome> {
        let elements: &[Item] = match &**item {
            Node::Array(elements) => elements,
            _ if self.lax => std::slice::from_ref(item),
            _ => {
                return self.missing(SqlState::JsonArrayNotFound, || {
                    "jsonpath array accessor can only be applied to an array".to_owned()
                });
            }
        };
        let length = elements.len() as i64;
        let mut outcome = Outcome::NotFound;
        for (from, to) in subscripts {
            let before = self.array_length.replace(elements.len());
            let range = self.range(from, to.as_ref(), item);
            let Some((from, to)) = range.inspect_err(|_| self.array_length = before)? else {
                self.array_length = before;
                return Ok(Outcome::Error);
            };
            if !self.forgiving && (from < 0 || from > to || to >= length) {
                self.array_length = before;
                return self.failed(SqlState::InvalidJsonSubscript, "jsonpath array subscript is out of bounds");
            }
            outcome = Outcome::NotFound;
            for at in from.max(0)..=to.min(length - 1) {
                let Some(element) = usize::try_from(at).ok().and_then(|at| elements.get(at)) else { continue };
                let result = self.next(rest, Rc::clone(element), found.as_deref_mut());
                outcome = result.inspect_err(|_| self.array_length = before)?;
                if outcome == Outcome::Error || (outcome == Outcome::Found && found.is_none()) {
                    break;
                }
            }
            self.array_length = before;
            if outcome == Outcome::Error || (outcome == Outcome::Found && found.is_none()) {
                break;
            }
        }
        Ok(outcome)
    }

    /// A subscript's first and last place; `None` for an error that nobody wants to see.
    fn range(&mut self, from: &Chain, to: Option<&Chain>, item: &Item) -> SqlResult<Option<(i64, i64)>> {
        let Some(from) = self.place(from, item)? else { return Ok(None) };
        match to {
            None => Ok(Some((from, from))),
            Some(to) => Ok(self.place(to, item)?.map(|to| (from, to))),
        }
    }

    fn place(&mut self, chain: &Chain, item: &Item) -> SqlResult<Option<i64>> {
        let mut found = Vec::new();
        if self.run(chain, item, Some(&mut found))? == Outcome::Error {
            return Ok(None);
        }
        let [value] = found.as_slice() else { return self.no_place("is not a single numeric value") };
        let Some(number) = value.number() else { return self.no_place("is not a single numeric value") };
        match number::truncated(number) {
            Some(place) => Ok(Some(i64::from(place))),
            None => self.no_place("is out of integer range"),
        }
    }

    fn no_place(&self, why: &str) -> SqlResult<Option<i64>> {
        self.failed(SqlState::InvalidJsonSubscript, format!("jsonpath array subscript {why}")).map(|_| None)
    }

    fn calculate(
        &mut self,
        op: Binary,
        left: &Chain,
        right: &Chain,
        rest: &[Step],
        item: &Item,
        found: Found<'_>,
    ) -> SqlResult<Outcome> {
        let mut sides = [Vec::new(), Vec::new()];
        for (chain, values) in [left, right].into_iter().zip(&mut sides) {
            if self.run_elements(chain, item, values)? == Outcome::Error {
                return Ok(Outcome::Error);
            }
        }
        let single = |values: &[Item]| match values {
            [value] => value.number().map(str::to_owned),
            _ => None,
        };
        let mut numbers = Vec::with_capacity(2);
        for (values, which) in sides.iter().zip(["left", "right"]) {
            let Some(number) = single(values) else {
                let symbol = op.symbol();
                let message = format!("{which} operand of jsonpath operator {symbol} is not a single numeric value");
                return self.failed(SqlState::SingletonJsonItemRequired, message);
            };
            numbers.push(number);
        }
        match self.or_failed(number::calculate(op, &numbers[0], &numbers[1]))? {
            Some(result) => self.next(rest, Rc::new(Node::Number(result.into())), found),
            None => Ok(Outcome::Error),
        }
    }

    fn signed(
        &mut self,
        op: Unary,
        value: &Chain,
        rest: &[Step],
        item: &Item,
        mut found: Found<'_>,
    ) -> SqlResult<Outcome> {
        let mut values = Vec::new();
        if self.run_elements(value, item, &mut values)? == Outcome::Error {
            return Ok(Outcome::Error);
        }
        let mut outcome = Outcome::NotFound;
        let any_will_do = found.is_none() && rest.is_empty();
        for value in values {
            let Some(number) = value.number() else {
                if any_will_do {
                    continue;
                }
                let symbol = if op == Unary::Minus { '-' } else { '+' };
                let message = format!("operand of unary jsonpath operator {symbol} is not a numeric value");
                return self.failed(SqlState::JsonNumberNotFound, message);
            };
            if any_will_do {
                return Ok(Outcome::Found);
            }
            let number = if op == Unary::Minus { number::negated(number) } else { number.to_owned() };
            match self.next(rest, Rc::new(Node::Number(number.into())), found.as_deref_mut())? {
                Outcome::Error => return Ok(Outcome::Error),
                Outcome::Found if found.is_none() => return Ok(Outcome::Found),
                Outcome::Found => outcome = Outcome::Found,
                Outcome::NotFound => {}
            }
        }
        Ok(outcome)
    }

    fn method(
        &mut self,
        method: Method,
        steps: &[Step],
        rest: &[Step],
        item: &Item,
        found: Found<'_>,
        unwraps: bool,
    ) -> SqlResult<Outcome> {
        let name = method.name();
        match method {
            Method::Type => self.next(rest, Rc::new(Node::String(item.type_name().into())), found),
            Method::Size => match &**item {
                Node::Array(elements) => {
                    let size = elements.len().to_string();
                    self.next(rest, Rc::new(Node::Number(size.into())), found)
                }
                _ if self.lax => self.next(rest, Rc::new(Node::Number("1".into())), found),
                _ => self.missing(SqlState::JsonArrayNotFound, || {
                    format!("jsonpath item method .{name}() can only be applied to an array")
                }),
            },
            _ if unwraps => self.elements(Some(steps), item, found, false),
            Method::Abs | Method::Floor | Method::Ceiling => {
                let Some(number) = item.number() else {
                    let message = format!("jsonpath item method .{name}() can only be applied to a numeric value");
                    return self.failed(SqlState::NonNumericJsonItem, message);
                };
                let result = match method {
                    Method::Abs => Ok(number.trim_start_matches('-').to_owned()),
                    method => number::rounded(number, method == Method::Ceiling),
                };
                match self.or_failed(result)? {
                    Some(result) => self.next(rest, Rc::new(Node::Number(result.into())), found),
                    None => Ok(Outcome::Error),
                }
            }
            Method::Double => self.double(rest, item, found),
            Method::KeyValue => self.key_values(rest, item, found),
        }
    }

    fn double(&mut self, rest: &[Step], item: &Item, found: Found<'_>) -> SqlResult<Outcome> {
        let state = SqlState::NonNumericJsonItem;
        match &**item {
            Node::Number(number) => {
                if number.parse::<f64>().is_ok_and(f64::is_finite) {
                    return self.next(rest, Rc::clone(item), found);
                }
                let message =
                    "numeric argument of jsonpath item method .double() is out of range for type double precision";
                self.failed(state, message)
            }
            Node::String(text) => {
                match perigee_types::text::number::parse_float8(text).ok().filter(|value| value.is_finite()) {
                    Some(value) => {
                        let number = number::of_double(value)?;
                        self.next(rest, Rc::new(Node::Number(number.into())), found)
                    }
                    None => self.failed(
                        state,
                        "string argument of jsonpath item method .double() is not a valid representation of a double \
                         precision number",
                    ),
                }
            }
            _ => self.failed(state, "jsonpath item method .double() can only be applied to a string or numeric value"),
        }
    }

    fn key_values(&mut self, rest: &[Step], item: &Item, mut found: Found<'_>) -> SqlResult<Outcome> {
        let Node::Object(fields) = &**item else {
            let message = "jsonpath item method .keyvalue() can only be applied to an object";
            return self.failed(SqlState::JsonObjectNotFound, message);
        };
        let (document, number) = &self.document;
        let offsets = self.offsets.entry(Rc::as_ptr(document)).or_insert_with(|| item::offsets(document));
        let id = number * DOCUMENT_IDS + offsets.get(&Rc::as_ptr(item)).copied().unwrap_or(0);
        let id = Rc::new(Node::Number(id.to_string().into()));
        let mut outcome = Outcome::NotFound;
        for (key, value) in fields {
            outcome = Outcome::Found;
            if found.is_none() && rest.is_empty() {
                break;
            }
            let pair = Rc::new(Node::Object(vec![
                ("id".into(), Rc::clone(&id)),
                ("key".into(), Rc::new(Node::String(key.clone()))),
                ("value".into(), Rc::clone(value)),
            ]));
            if rest.is_empty() {
                self.next(rest, pair, found.as_deref_mut())?;
                continue;
            }
            let document = (Rc::clone(&pair), self.documents);
            self.documents += 1;
            push(&mut self.made, Rc::clone(&pair))?;
            outcome = self.next_of(document, rest, pair, found.as_deref_mut())?;
            if outcome == Outcome::Error || (outcome == Outcome::Found && found.is_none()) {
                break;
            }
        }
        Ok(outcome)
    }
}

/// Appends to what was found.
///
/// # Errors
/// `54000` where it is too much.
fn push(found: &mut Vec<Item>, item: Item) -> SqlResult<()> {
    if found.len() == FOUND_MAX {
        let message = format!("a jsonpath finds more than {FOUND_MAX} values");
        return Err(SqlError::new(SqlState::ProgramLimitExceeded, message));
    }
    found.push(item);
    Ok(())
}
