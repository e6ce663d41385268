//! What a scan of the keyspace may leave out: other keys (`key = '…'`, `key IN (…)`, `key LIKE 'abc%'`), other databases
//! (`db = n`), other labels (`labels::jsonb ->> 'a' = 'b'`) and other times (`ts >= …`).

use std::fmt;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::Schema;
use datafusion::catalog::Session;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};

/// What filters ask for. Rows are filtered again above the scan.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    /// Only these keys, in order.
    pub(super) keys: Option<Vec<String>>,
    /// Only keys that begin like this.
    pub(super) prefix: Option<String>,
    /// Only this database.
    pub(super) db: Option<i64>,
    /// Only series with these labels.
    pub(super) labels: Vec<(String, String)>,
    /// Only samples of this time: the first and the last, milliseconds.
    pub(super) window: (i64, i64),
}

impl Default for Wanted {
    fn default() -> Self {
        Self { keys: None, prefix: None, db: None, labels: Vec::new(), window: (i64::MIN, i64::MAX) }
    }
}

impl fmt::Display for Wanted {
    /// As EXPLAIN shows it: each part behind a comma.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(keys) = &self.keys {
            match keys.as_slice() {
                [] => write!(f, ", no key")?,
                [key] => write!(f, ", key={key}")?,
                [key, ..] => write!(f, ", keys={} from {key}", keys.len())?,
            }
        }
        if let Some(prefix) = &self.prefix {
            write!(f, ", prefix={prefix}")?;
        }
        if let Some(db) = self.db {
            write!(f, ", db={db}")?;
        }
        for (name, value) in &self.labels {
            write!(f, ", label {name}={value}")?;
        }
        match self.window {
            (i64::MIN, i64::MAX) => Ok(()),
            (first, i64::MAX) => write!(f, ", from {first} ms"),
            (i64::MIN, last) => write!(f, ", to {last} ms"),
            (first, last) => write!(f, ", from {first} ms to {last} ms"),
        }
    }
}

impl Wanted {
    pub(super) fn of(filters: &[Expr], state: &dyn Session) -> Self {
        let mut wanted = Self::default();
        filters.iter().for_each(|filter| wanted.add(filter, state));
        wanted
    }

    fn add(&mut self, filter: &Expr, state: &dyn Session) {
        match filter {
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => {
                self.add(left, state);
                self.add(right, state);
            }
            Expr::BinaryExpr(BinaryExpr { op: Operator::Or, .. }) => {
                let mut keys = Vec::new();
                if either(filter, state, &mut keys) {
                    self.only(Some(keys));
                }
            }
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
                self.compare(left, *op, right, state);
                if let Some(op) = op.swap() {
                    self.compare(right, op, left, state);
                }
            }
            Expr::InList(list) if !list.negated && column(&list.expr) == Some("key") => {
                let keys: Option<Vec<String>> = list.list.iter().map(|key| text(key, state)).collect();
                self.only(keys);
            }
            Expr::Like(like) if !like.negated && !like.case_insensitive && column(&like.expr) == Some("key") => {
                self.prefix = self.prefix.take().or_else(|| text(&like.pattern, state).and_then(|text| prefix(&text)));
            }
            Expr::ScalarFunction(call) if call.name() == "starts_with" => {
                if let [of, prefix] = call.args.as_slice()
                    && column(of) == Some("key")
                {
                    self.prefix = self.prefix.take().or_else(|| text(prefix, state));
                }
            }
            _ => {}
        }
    }

    fn compare(&mut self, side: &Expr, op: Operator, value: &Expr, state: &dyn Session) {
        match (column(side), op) {
            (Some("key"), Operator::Eq) => self.only(text(value, state).map(|key| vec![key])),
            (Some("db"), Operator::Eq) => self.db = number(value, state).or(self.db),
            (Some("ts"), Operator::Eq | Operator::Gt | Operator::GtEq | Operator::Lt | Operator::LtEq) => {
                let Some(micros) = micros(value, state) else { return };
                // A little more than what is asked for is filtered above.
                let ms = micros.div_euclid(1_000);
                if matches!(op, Operator::Eq | Operator::Gt | Operator::GtEq) {
                    self.window.0 = self.window.0.max(ms);
                }
                if matches!(op, Operator::Eq | Operator::Lt | Operator::LtEq) {
                    self.window.1 = self.window.1.min(ms);
                }
            }
            (None, Operator::Eq) => {
                if let Some((name, value)) = label(side, state).zip(text(value, state)) {
                    self.labels.push((name, value));
                }
            }
            _ => {}
        }
    }

    /// Two conditions on the key: the first is enough, the rest is filtered above.
    fn only(&mut self, keys: Option<Vec<String>>) {
        if self.keys.is_none()
            && let Some(mut keys) = keys
        {
            keys.sort();
            keys.dedup();
            self.keys = Some(keys);
        }
    }
}

/// Whether a condition asks for one of some keys; it adds them.
fn either(filter: &Expr, state: &dyn Session, keys: &mut Vec<String>) -> bool {
    match filter {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) => {
            either(left, state, keys) && either(right, state, keys)
        }
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) => {
            let value = match (column(left), column(right)) {
                (Some("key"), _) => text(right, state),
                (_, Some("key")) => text(left, state),
                _ => None,
            };
            keys.extend(value.clone());
            value.is_some()
        }
        _ => false,
    }
}

/// What every text that a pattern matches begins with; `None` for nothing.
fn prefix(pattern: &str) -> Option<String> {
    let end = pattern.find(['%', '_', '\\'])?;
    (end > 0).then(|| pattern[..end].to_owned())
}

/// The name of a label: `labels::jsonb ->> 'name'`.
fn label(side: &Expr, state: &dyn Session) -> Option<String> {
    let Expr::ScalarFunction(ScalarFunction { func, args }) = side else { return None };
    let [object, name] = args.as_slice() else { return None };
    let Expr::ScalarFunction(ScalarFunction { func: cast, args: of }) = object else { return None };
    let [of] = of.as_slice() else { return None };
    let is_field = matches!(func.name(), "json_field_text" | "jsonb_field_text");
    let is_json = matches!(cast.name(), "json" | "jsonb");
    if is_field && is_json && column(of) == Some("labels") { text(name, state) } else { None }
}

fn column(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Column(column) => Some(&column.name),
        Expr::Cast(cast) => column(&cast.expr),
        _ => None,
    }
}

/// The value of an expression that names no column.
fn constant(expr: &Expr, state: &dyn Session) -> Option<ScalarValue> {
    if let Expr::Literal(value, _) = expr {
        return Some(value.clone());
    }
    if expr.any_column_refs() || expr.is_volatile() {
        return None;
    }
    let run = state.create_physical_expr(expr.clone(), &DFSchema::empty()).ok()?;
    let options = RecordBatchOptions::new().with_row_count(Some(1));
    let row = RecordBatch::try_new_with_options(Schema::empty().into(), Vec::new(), &options).ok()?;
    let array = run.evaluate(&row).ok()?.into_array(1).ok()?;
    ScalarValue::try_from_array(&array, 0).ok()
}

fn text(expr: &Expr, state: &dyn Session) -> Option<String> {
    match constant(expr, state)? {
        ScalarValue::Utf8(text) | ScalarValue::Utf8View(text) | ScalarValue::LargeUtf8(text) => text,
        _ => None,
    }
}

fn number(expr: &Expr, state: &dyn Session) -> Option<i64> {
    match constant(expr, state)? {
        ScalarValue::Int32(value) => value.map(i64::from),
        ScalarValue::Int64(value) => value,
        ScalarValue::Int16(value) => value.map(i64::from),
        _ => None,
    }
}

fn micros(expr: &Expr, state: &dyn Session) -> Option<i64> {
    match constant(expr, state)? {
        ScalarValue::TimestampMicrosecond(value, Some(_)) => value,
        _ => None,
    }
}
