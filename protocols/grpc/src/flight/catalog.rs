//! What there is: catalogs, schemas and tables. A catalog is a database, and each session sees what is in its own.

use arrow::datatypes::{Field, Schema};
use arrow::record_batch::RecordBatch;
use arrow_flight::sql::{CommandGetCatalogs, CommandGetDbSchemas, CommandGetTableTypes, CommandGetTables};
use perigee_engine::ObjectNames;
use perigee_engine::exchange::field;
use perigee_types::SqlType;
use perigee_types::catalog::{Object, Schema as DbSchema, Table};
use tonic::Status;

use super::query::internal;

/// The metadata of a column that names its SQL type.
const TYPE_NAME: &str = "ARROW:FLIGHT:SQL:TYPE_NAME";
/// The kinds of tables.
const KINDS: [&str; 3] = ["MATERIALIZED VIEW", "TABLE", "VIEW"];

/// The name of the database that a session is in.
pub(crate) fn database(names: &ObjectNames) -> String {
    let databases = names.catalog.objects().filter_map(|object| match object {
        Object::Database(database) if database.tenant == names.tenant => Some(database.name.clone()),
        _ => None,
    });
    databases.min().unwrap_or_default()
}

/// The schemas that a session sees, but for those of temporary tables.
fn schemas(names: &ObjectNames) -> impl Iterator<Item = &DbSchema> {
    names.catalog.objects().filter_map(|object| match object {
        Object::Schema(schema) if schema.tenant == names.tenant && !names.catalog.is_temporary(schema.oid) => {
            Some(schema.as_ref())
        }
        _ => None,
    })
}

/// The schema of a table, where the session sees that; and its name.
pub(crate) fn schema_of<'a>(names: &'a ObjectNames, table: &Table) -> Option<&'a str> {
    schemas(names).find(|schema| schema.oid == table.schema).map(|schema| schema.name.as_str())
}

/// A column, with the name of its SQL type where clients look for it.
fn column(name: &str, ty: &SqlType, is_nullable: bool) -> Field {
    let column = field(name, ty).with_nullable(is_nullable);
    let mut metadata = column.metadata().clone();
    metadata.insert(TYPE_NAME.to_owned(), ty.to_string());
    column.with_metadata(metadata)
}

pub(crate) fn catalogs(names: &ObjectNames, wanted: CommandGetCatalogs) -> Result<RecordBatch, Status> {
    let mut builder = wanted.into_builder();
    for object in names.catalog.objects() {
        if let Object::Database(database) = object {
            builder.append(&database.name);
        }
    }
    builder.build().map_err(internal)
}

pub(crate) fn db_schemas(names: &ObjectNames, wanted: CommandGetDbSchemas) -> Result<RecordBatch, Status> {
    let (mut builder, database) = (wanted.into_builder(), database(names));
    for schema in schemas(names) {
        builder.append(&database, &schema.name);
    }
    builder.build().map_err(internal)
}

pub(crate) fn tables(names: &ObjectNames, wanted: CommandGetTables) -> Result<RecordBatch, Status> {
    let (mut builder, database) = (wanted.into_builder(), database(names));
    for schema in schemas(names) {
        for object in names.catalog.objects() {
            let (name, kind, columns) = match object {
                Object::Table(table) if table.schema == schema.oid => {
                    let columns = table.columns.iter().filter(|column| !column.is_hidden());
                    let columns = columns.map(|of| column(&of.name, &of.ty, !of.not_null));
                    let kind = if table.materialized.is_some() { KINDS[0] } else { KINDS[1] };
                    (&table.name, kind, columns.collect::<Vec<_>>())
                }
                Object::View(view) if view.schema == schema.oid => {
                    let columns = view.columns.iter().map(|(name, ty)| column(name, ty, true));
                    (&view.name, KINDS[2], columns.collect())
                }
                _ => continue,
            };
            builder.append(&database, &schema.name, name, kind, &Schema::new(columns)).map_err(internal)?;
        }
    }
    builder.build().map_err(internal)
}

pub(crate) fn table_types(wanted: CommandGetTableTypes) -> Result<RecordBatch, Status> {
    let mut builder = wanted.into_builder();
    KINDS.iter().for_each(|kind| builder.append(kind));
    builder.build().map_err(internal)
}
