//! Primary keys and foreign keys.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, StringArray, UInt8Array};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::record_batch::RecordBatch;
use perigee_engine::ObjectNames;
use perigee_types::catalog::{ForeignKey, Object, ReferentialAction, Table};
use tonic::Status;

use super::catalog::{database, schema_of};
use super::query::internal;

/// A table, as a client names it; what it does not say fits.
#[derive(Clone, Debug)]
pub(crate) struct Which {
    pub(crate) catalog: Option<String>,
    pub(crate) schema: Option<String>,
    pub(crate) table: String,
}

impl Which {
    fn is(&self, names: &ObjectNames, table: &Table) -> bool {
        let fits = |said: &Option<String>, found: &str| said.as_deref().is_none_or(|said| said == found);
        self.table == table.name
            && fits(&self.catalog, &database(names))
            && schema_of(names, table).is_some_and(|schema| fits(&self.schema, schema))
    }
}

fn tables(names: &ObjectNames) -> impl Iterator<Item = &Arc<Table>> {
    names.catalog.objects().filter_map(|object| match object {
        Object::Table(table) if table.tenant == names.tenant => Some(table),
        _ => None,
    })
}

fn column_name(table: &Table, number: u16) -> String {
    let column = table.columns.iter().find(|column| column.number == number);
    column.map(|column| column.name.clone()).unwrap_or_default()
}

fn texts(values: impl Iterator<Item = String>) -> ArrayRef {
    Arc::new(values.map(Some).collect::<StringArray>())
}

fn of_name(name: &str, nullable: bool) -> Field {
    Field::new(name, DataType::Utf8, nullable)
}

fn build(fields: Vec<Field>, columns: Vec<ArrayRef>) -> Result<RecordBatch, Status> {
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).map_err(internal)
}

/// The columns of primary keys, in their order.
pub(crate) fn primary(names: &ObjectNames, which: &Which) -> Result<RecordBatch, Status> {
    struct Part {
        schema: String,
        table: String,
        column: String,
        key: String,
        sequence: i32,
    }
    let mut parts = Vec::new();
    for table in tables(names).filter(|table| which.is(names, table)) {
        let Some(index) = table.primary_key.and_then(|index| names.catalog.index(index)) else { continue };
        parts.extend(index.columns.iter().zip(1..).map(|(number, sequence)| Part {
            schema: schema_of(names, table).unwrap_or_default().to_owned(),
            table: table.name.clone(),
            column: column_name(table, *number),
            key: index.name.clone(),
            sequence,
        }));
    }
    let database = database(names);
    let fields = vec![
        of_name("catalog_name", true),
        of_name("db_schema_name", true),
        of_name("table_name", false),
        of_name("column_name", false),
        of_name("key_name", true),
        Field::new("key_sequence", DataType::Int32, false),
    ];
    let columns = vec![
        texts(parts.iter().map(|_| database.clone())),
        texts(parts.iter().map(|part| part.schema.clone())),
        texts(parts.iter().map(|part| part.table.clone())),
        texts(parts.iter().map(|part| part.column.clone())),
        texts(parts.iter().map(|part| part.key.clone())),
        Arc::new(parts.iter().map(|part| Some(part.sequence)).collect::<Int32Array>()),
    ];
    build(fields, columns)
}

/// The columns of foreign keys from one table, or any, to another, or any.
pub(crate) fn foreign(names: &ObjectNames, from: Option<&Which>, to: Option<&Which>) -> Result<RecordBatch, Status> {
    struct Part<'a> {
        from: &'a Table,
        to: &'a Table,
        key: &'a ForeignKey,
        place: usize,
    }
    let fits = |which: Option<&Which>, table: &Table| which.is_none_or(|which| which.is(names, table));
    let mut parts = Vec::new();
    for table in tables(names).filter(|table| fits(from, table)) {
        for key in &table.foreign_keys {
            let Some(referenced) = names.catalog.table(key.references).filter(|table| fits(to, table)) else {
                continue;
            };
            parts.extend((0..key.columns.len()).map(|place| Part { from: table, to: referenced, key, place }));
        }
    }
    let database = database(names);
    let schema = |table: &Table| schema_of(names, table).unwrap_or_default().to_owned();
    let index =
        |part: &Part<'_>| names.catalog.index(part.key.index).map(|index| index.name.clone()).unwrap_or_default();
    let rule = |action: ReferentialAction| match action {
        ReferentialAction::Cascade => 0u8,
        ReferentialAction::Restrict => 1,
        ReferentialAction::SetNull => 2,
        ReferentialAction::NoAction => 3,
        ReferentialAction::SetDefault => 4,
    };
    let fields = vec![
        of_name("pk_catalog_name", true),
        of_name("pk_db_schema_name", true),
        of_name("pk_table_name", false),
        of_name("pk_column_name", false),
        of_name("fk_catalog_name", true),
        of_name("fk_db_schema_name", true),
        of_name("fk_table_name", false),
        of_name("fk_column_name", false),
        Field::new("key_sequence", DataType::Int32, false),
        of_name("fk_key_name", true),
        of_name("pk_key_name", true),
        Field::new("update_rule", DataType::UInt8, false),
        Field::new("delete_rule", DataType::UInt8, false),
    ];
    let column = |table: &Table, numbers: &[u16], place: usize| {
        numbers.get(place).map(|number| column_name(table, *number)).unwrap_or_default()
    };
    let columns = vec![
        texts(parts.iter().map(|_| database.clone())),
        texts(parts.iter().map(|part| schema(part.to))),
        texts(parts.iter().map(|part| part.to.name.clone())),
        texts(parts.iter().map(|part| column(part.to, &part.key.referenced, part.place))),
        texts(parts.iter().map(|_| database.clone())),
        texts(parts.iter().map(|part| schema(part.from))),
        texts(parts.iter().map(|part| part.from.name.clone())),
        texts(parts.iter().map(|part| column(part.from, &part.key.columns, part.place))),
        Arc::new(parts.iter().map(|part| i32::try_from(part.place + 1).ok()).collect::<Int32Array>()) as ArrayRef,
        texts(parts.iter().map(|part| part.key.name.clone())),
        texts(parts.iter().map(index)),
        Arc::new(parts.iter().map(|part| Some(rule(part.key.on_update))).collect::<UInt8Array>()),
        Arc::new(parts.iter().map(|part| Some(rule(part.key.on_delete))).collect::<UInt8Array>()),
    ];
    build(fields, columns)
}
