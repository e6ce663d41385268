//! What a scan of the keyspace may leave out: `key = '…'`, `key IN (…)` and `db = n`.

use datafusion::common::ScalarValue;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};

/// What filters ask for. Rows are filtered again above the scan.
#[derive(Clone, Debug, Default)]
pub(super) struct Wanted {
    /// Only these keys.
    pub(super) keys: Option<Vec<String>>,
    /// Only this database.
    pub(super) db: Option<i64>,
}

impl Wanted {
    pub(super) fn of(filters: &[Expr]) -> Self {
        let mut wanted = Self::default();
        filters.iter().for_each(|filter| wanted.add(filter));
        wanted
    }

    fn add(&mut self, filter: &Expr) {
        match filter {
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => {
                self.add(left);
                self.add(right);
            }
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) => {
                self.equal(left, right);
                self.equal(right, left);
            }
            Expr::InList(list) if !list.negated && column(&list.expr) == Some("key") => {
                let keys: Option<Vec<String>> = list.list.iter().map(text).collect();
                self.only(keys);
            }
            _ => {}
        }
    }

    fn equal(&mut self, side: &Expr, value: &Expr) {
        match column(side) {
            Some("key") => self.only(text(value).map(|key| vec![key])),
            Some("db") => self.db = number(value).or(self.db),
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

fn column(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Column(column) => Some(&column.name),
        Expr::Cast(cast) => column(&cast.expr),
        _ => None,
    }
}

fn text(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Literal(ScalarValue::Utf8(text) | ScalarValue::Utf8View(text) | ScalarValue::LargeUtf8(text), _) => {
            text.clone()
        }
        _ => None,
    }
}

fn number(expr: &Expr) -> Option<i64> {
    match expr {
        Expr::Literal(ScalarValue::Int32(value), _) => value.map(i64::from),
        Expr::Literal(ScalarValue::Int64(value), _) => *value,
        Expr::Literal(ScalarValue::Int16(value), _) => value.map(i64::from),
        _ => None,
    }
}
