//! SQL/JSON path over jsonb: `jsonb_path_…`, `@?`, `@@`.
//!
//! - [`item`]: what a path works on
//! - [`machine`]: steps and values
//! - [`predicate`]: truth values
//! - [`number`]: arithmetic on numbers of any length
//! - [`moment`]: what `.datetime()` gives
//! - [`template`]: how `.datetime()` reads

mod item;
mod machine;
mod moment;
mod number;
mod predicate;
mod template;

use std::cell::RefCell;
use std::sync::Arc;

use datafusion::logical_expr::ScalarUDF;
use perigee_types::text::jsonpath::{self, JsonPath};
use perigee_types::{SqlError, SqlResult, SqlState, SqlType, Value};
use rustc_hash::FxHashMap;

use super::super::function::{Call, Eval, Function, overload};
use item::{Item, Node};
use machine::{Machine, Outcome};

use SqlType as T;

/// Paths that a thread keeps parsed.
const CACHED_MAX: usize = 64;

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    let of = |name: &str, returns: &T, plain: Eval, zoned: Eval| {
        let signatures =
            [vec![T::Text, T::Text], vec![T::Text, T::Text, T::Text], vec![T::Text, T::Text, T::Text, T::Bool]];
        let overloads = |eval: Eval| signatures.iter().map(move |s| overload(s, returns.clone(), eval));
        [
            Function::new(name, overloads(plain).collect()),
            Function::new(&format!("{name}_tz"), overloads(zoned).map(|o| o.with_zone()).collect()),
        ]
    };
    let set = T::Array(Box::new(T::Jsonb));
    let mut all = Vec::new();
    all.extend(of("jsonb_path_exists", &T::Bool, exists::<false>, exists::<true>));
    all.extend(of("jsonb_path_match", &T::Bool, matches::<false>, matches::<true>));
    all.extend(of("jsonb_path_query_array", &T::Jsonb, array::<false>, array::<true>));
    all.extend(of("jsonb_path_query_first", &T::Jsonb, first::<false>, first::<true>));
    all.extend(of("jsonb_path_query", &set, query::<false>, query::<true>).map(Function::set_returning));
    all.into_iter().map(Function::udf).collect()
}

/// `jsonb @? jsonpath`
pub(super) fn exists_operator(args: &[Value], call: &Call<'_>) -> SqlResult<Value> {
    Run::new(&args[0], &args[1], None, true, None, call)?.exists()
}

/// `jsonb @@ jsonpath`
pub(super) fn match_operator(args: &[Value], call: &Call<'_>) -> SqlResult<Value> {
    Run::new(&args[0], &args[1], None, true, None, call)?.matches()
}

fn exists<const ZONED: bool>(args: &[Value], call: &Call<'_>) -> SqlResult<Value> {
    Run::of::<ZONED>(args, call)?.exists()
}

fn matches<const ZONED: bool>(args: &[Value], call: &Call<'_>) -> SqlResult<Value> {
    Run::of::<ZONED>(args, call)?.matches()
}

fn query<const ZONED: bool>(args: &[Value], call: &Call<'_>) -> SqlResult<Value> {
    let found = Run::of::<ZONED>(args, call)?.all()?;
    Ok(Value::Array(found.iter().map(|item| Value::Text(item.text())).collect()))
}

fn array<const ZONED: bool>(args: &[Value], call: &Call<'_>) -> SqlResult<Value> {
    let found = Run::of::<ZONED>(args, call)?.all()?;
    Ok(Value::Text(Node::Array(found).text()))
}

fn first<const ZONED: bool>(args: &[Value], call: &Call<'_>) -> SqlResult<Value> {
    let found = Run::of::<ZONED>(args, call)?.all()?;
    Ok(found.first().map_or(Value::Null, |item| Value::Text(item.text())))
}

/// A path that has been read; the last ones of this thread are kept.
fn path(text: &str) -> SqlResult<Arc<JsonPath>> {
    thread_local! {
        static KNOWN: RefCell<FxHashMap<String, Arc<JsonPath>>> = RefCell::new(FxHashMap::default());
    }
    if let Some(known) = KNOWN.with_borrow(|known| known.get(text).cloned()) {
        return Ok(known);
    }
    let path = Arc::new(jsonpath::parse(text)?);
    KNOWN.with_borrow_mut(|known| {
        if known.len() == CACHED_MAX {
            known.clear();
        }
        known.insert(text.to_owned(), Arc::clone(&path));
    });
    Ok(path)
}

/// One evaluation of a path.
struct Run<'a> {
    path: Arc<JsonPath>,
    machine: Machine<'a>,
    silent: bool,
}

impl<'a> Run<'a> {
    /// The arguments of a function: target, path, variables, whether it is silent, and for `ZONED` the session's zone.
    fn of<const ZONED: bool>(args: &[Value], call: &'a Call<'_>) -> SqlResult<Self> {
        let (args, zone) = match args.split_last() {
            Some((Value::Text(zone), front)) if ZONED => (front, Some(super::super::cast::time_zone(zone)?)),
            _ => (args, None),
        };
        let none = Value::Text("{}".to_owned());
        let silent = args.get(3) == Some(&Value::Bool(true));
        Self::new(&args[0], &args[1], Some(args.get(2).unwrap_or(&none)), silent, zone, call)
    }

    fn new(
        target: &Value,
        path: &Value,
        variables: Option<&Value>,
        silent: bool,
        zone: Option<perigee_types::text::TimeZone>,
        call: &'a Call<'_>,
    ) -> SqlResult<Self> {
        let path = self::path(super::str(path))?;
        let root = item::read(target)?;
        let variables = variables.map(item::read).transpose()?;
        if variables.as_ref().is_some_and(|vars| !matches!(**vars, Node::Object(_))) {
            return Err(SqlError::new(SqlState::InvalidParameterValue, "\"vars\" argument is not an object")
                .detail("Jsonpath parameters should be encoded as key-value pairs of \"vars\" object."));
        }
        let machine = Machine::new(path.lax, !silent, root, variables, zone, call.view);
        Ok(Self { path, machine, silent })
    }

    fn exists(mut self) -> SqlResult<Value> {
        let outcome = if self.machine.is_lax() {
            self.machine.start(&self.path.root, None)?
        } else {
            // All of it is looked at: there may be an error behind the first value.
            let mut found = Vec::new();
            match self.machine.start(&self.path.root, Some(&mut found))? {
                Outcome::Error => Outcome::Error,
                _ if found.is_empty() => Outcome::NotFound,
                _ => Outcome::Found,
            }
        };
        Ok(match outcome {
            Outcome::Error => Value::Null,
            outcome => Value::Bool(outcome == Outcome::Found),
        })
    }

    fn matches(self) -> SqlResult<Value> {
        let silent = self.silent;
        let found = self.all()?;
        if let [item] = found.as_slice() {
            match **item {
                Node::Bool(value) => return Ok(Value::Bool(value)),
                Node::Null => return Ok(Value::Null),
                _ => {}
            }
        }
        if silent {
            return Ok(Value::Null);
        }
        Err(SqlError::new(SqlState::SingletonJsonItemRequired, "single boolean result is expected"))
    }

    fn all(mut self) -> SqlResult<Vec<Item>> {
        let mut found = Vec::new();
        self.machine.start(&self.path.root, Some(&mut found))?;
        Ok(found)
    }
}
