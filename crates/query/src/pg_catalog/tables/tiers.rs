//! `perigee.tiers`: what of each table is in memory, in the LSM and in the object store.

use perigee_storage::table::Tier;
use perigee_types::catalog::Table;
use perigee_types::{SqlType, Value};

use crate::pg_catalog::builder::{Rows, int8, text, text_or_null};
use crate::pg_catalog::scope::Scope;

const MICROS_PER_DAY: i64 = 86_400_000_000;
const TIMES: [SqlType; 3] = [SqlType::Timestamptz(None), SqlType::Timestamp(None), SqlType::Date];

pub(super) fn fill(scope: &Scope, rows: &mut Rows) {
    let store = scope.view().snapshot.store();
    for table in scope.tables() {
        let Some(tiers) = store.tiers(table.storage, time_column(scope, table)) else { continue };
        for (tier, found) in tiers {
            let export = store.cold().ok().filter(|_| tier == Tier::Cold).and_then(|cold| cold.export_of(table.oid));
            let (exported_at, exported) = export.unzip();
            let (oldest, newest) = found.range.map_or((Value::Null, Value::Null), |(a, b)| (moment(a), moment(b)));
            rows.push([
                ("schema_name", text(scope.schema_name(table.schema))),
                ("table_name", text(table.name.as_str())),
                (
                    "tier",
                    text(match tier {
                        Tier::Hot => "hot",
                        Tier::Warm => "warm",
                        Tier::Cold => "cold",
                    }),
                ),
                ("rows", int8(found.rows)),
                ("bytes", int8(found.bytes)),
                ("files", int8(found.files)),
                ("oldest", oldest),
                ("newest", newest),
                ("iceberg", text_or_null(exported)),
                ("iceberg_at", exported_at.map_or(Value::Null, Value::Timestamptz)),
            ]);
        }
    }
}

/// The column that says how old a row is: one of the primary key, else the first that is a time.
fn time_column(scope: &Scope, table: &Table) -> Option<u16> {
    let is_time =
        |number: &u16| table.number_position(*number).is_some_and(|place| TIMES.contains(&table.columns[place].ty));
    let key = table.primary_key.and_then(|index| scope.catalog().index(index));
    let of_key = key.and_then(|index| index.columns.iter().copied().find(is_time));
    of_key.or_else(|| table.visible_columns().iter().map(|column| column.number).find(is_time))
}

fn moment(value: Value) -> Value {
    match value {
        Value::Timestamp(micros) => Value::Timestamptz(micros),
        Value::Date(days) => i64::from(days).checked_mul(MICROS_PER_DAY).map_or(Value::Null, Value::Timestamptz),
        other => other,
    }
}
