//! Columns of the system tables, and rows that never change.
//!
//! `data/columns.txt` holds a line `schema.table oid kind` for each table and a line `  column type [!]` for each of its
//! columns (`!`: never NULL). `data/TABLE.tsv` holds rows in COPY's text format. Both are part of the program and are
//! read once; a damaged line would fail the tests and is left out otherwise.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use arrow::datatypes::{Field, Schema, SchemaRef};
use perigee_plan::vector_oid;
use perigee_types::{Row, SqlType, Value, text};

use super::VECTOR_METADATA_KEY;

const COLUMNS: &str = include_str!("data/columns.txt");

/// Rows of tables that are the same in every database, by the table's name in `pg_catalog`.
const FIXED: &[(&str, &str)] = &[
    ("pg_aggregate", include_str!("data/pg_aggregate.tsv")),
    ("pg_am", include_str!("data/pg_am.tsv")),
    ("pg_cast", include_str!("data/pg_cast.tsv")),
    ("pg_collation", include_str!("data/pg_collation.tsv")),
    ("pg_language", include_str!("data/pg_language.tsv")),
    ("pg_opclass", include_str!("data/pg_opclass.tsv")),
    ("pg_operator", include_str!("data/pg_operator.tsv")),
    ("pg_opfamily", include_str!("data/pg_opfamily.tsv")),
    ("pg_proc", include_str!("data/pg_proc.tsv")),
    ("pg_range", include_str!("data/pg_range.tsv")),
    ("pg_tablespace", include_str!("data/pg_tablespace.tsv")),
    ("pg_type", include_str!("data/pg_type.tsv")),
];

/// A column of a system table.
#[derive(Clone, Debug)]
pub(super) struct SystemColumn {
    pub(super) name: &'static str,
    pub(super) ty: SqlType,
    pub(super) not_null: bool,
    /// An array that PostgreSQL has as int2vector or oidvector.
    pub(super) vector: bool,
}

impl SystemColumn {
    /// `atttypid`
    pub(super) fn type_oid(&self) -> u32 {
        if self.vector { vector_oid(&self.ty) } else { self.ty.oid() }
    }

    fn field(&self) -> Field {
        let field = self.ty.field(self.name, !self.not_null);
        if !self.vector {
            return field;
        }
        let mut metadata = field.metadata().clone();
        metadata.insert(VECTOR_METADATA_KEY.to_owned(), String::new());
        field.with_metadata(metadata)
    }
}

/// A system table.
#[derive(Debug)]
pub(super) struct Definition {
    /// Its schema's name.
    pub(super) schema: &'static str,
    pub(super) name: &'static str,
    pub(super) oid: u32,
    /// `relkind`: `r` or `v`
    pub(super) kind: &'static str,
    pub(super) columns: Vec<SystemColumn>,
    pub(super) arrow: SchemaRef,
}

impl Definition {
    /// The place of a column.
    pub(super) fn position(&self, column: &str) -> Option<usize> {
        self.columns.iter().position(|c| c.name == column)
    }

    /// The rows that never change.
    pub(super) fn fixed_rows(&self) -> &'static [Row] {
        static ROWS: LazyLock<HashMap<&'static str, Vec<Row>>> = LazyLock::new(|| {
            let read = |(name, text): &(&'static str, &str)| Some((*name, read_rows(find("pg_catalog", name)?, text)));
            FIXED.iter().filter_map(read).collect()
        });
        if self.schema != "pg_catalog" {
            return &[];
        }
        ROWS.get(self.name).map_or(&[], Vec::as_slice)
    }
}

/// All system tables.
pub(super) fn all() -> impl Iterator<Item = &'static Definition> {
    definitions().all.iter()
}

/// The system table `schema.name`.
pub(super) fn find(schema: &str, name: &str) -> Option<&'static Definition> {
    let definitions = definitions();
    definitions.by_name.get(&(schema, name)).and_then(|at| definitions.all.get(*at))
}

struct Definitions {
    all: Vec<Definition>,
    by_name: HashMap<(&'static str, &'static str), usize>,
}

fn definitions() -> &'static Definitions {
    static DEFINITIONS: LazyLock<Definitions> = LazyLock::new(|| {
        let all = read_columns(COLUMNS);
        Definitions { by_name: all.iter().enumerate().map(|(at, d)| ((d.schema, d.name), at)).collect(), all }
    });
    &DEFINITIONS
}

fn read_columns(text: &'static str) -> Vec<Definition> {
    let mut all: Vec<Definition> = Vec::new();
    let mut columns: Vec<SystemColumn> = Vec::new();
    // Backwards, so that a table's columns are known when its own line comes.
    for line in text.lines().rev() {
        let mut words = line.split_ascii_whitespace();
        let (Some(name), Some(second)) = (words.next(), words.next()) else { continue };
        if line.starts_with(' ') {
            let Some(ty) = column_type(second) else { continue };
            let vector = second.ends_with("vector");
            columns.push(SystemColumn { name, ty, not_null: words.next() == Some("!"), vector });
            continue;
        }
        columns.reverse();
        let columns = std::mem::take(&mut columns);
        let (Some((schema, name)), Ok(oid)) = (name.split_once('.'), second.parse()) else { continue };
        let fields: Vec<Field> = columns.iter().map(SystemColumn::field).collect();
        let kind = words.next().unwrap_or("r");
        all.push(Definition { schema, name, oid, kind, columns, arrow: Arc::new(Schema::new(fields)) });
    }
    all.reverse();
    all
}

fn column_type(name: &str) -> Option<SqlType> {
    if let Some(element) = name.strip_suffix("[]").or_else(|| name.strip_suffix("vector")) {
        return Some(SqlType::Array(Box::new(column_type(element)?)));
    }
    Some(match name {
        "bool" => SqlType::Bool,
        "bytea" => SqlType::Bytea,
        "char" => SqlType::InternalChar,
        "float4" => SqlType::Float4,
        "float8" => SqlType::Float8,
        "int2" => SqlType::Int2,
        "int4" => SqlType::Int4,
        "int8" => SqlType::Int8,
        "interval" => SqlType::Interval,
        "name" => SqlType::Name,
        "numeric" => SqlType::Numeric(None),
        "oid" => SqlType::Oid,
        "regproc" => SqlType::Regproc,
        "regtype" => SqlType::Regtype,
        "text" => SqlType::Text,
        "timestamptz" => SqlType::Timestamptz(None),
        "varchar" => SqlType::Varchar(None),
        "xid" => SqlType::Xid,
        _ => return None,
    })
}

fn read_rows(definition: &Definition, text: &str) -> Vec<Row> {
    text.lines()
        .filter_map(|line| {
            let cells: Row = line
                .split('\t')
                .zip(&definition.columns)
                .map(|(cell, c)| read_cell(cell, &c.ty))
                .collect::<Option<_>>()?;
            (cells.len() == definition.columns.len()).then_some(cells)
        })
        .collect()
}

fn read_cell(cell: &str, ty: &SqlType) -> Option<Value> {
    if cell == "\\N" {
        return Some(Value::Null);
    }
    text::parse(&cell.replace("\\\\", "\\"), ty).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_read() {
        let tables = COLUMNS.lines().filter(|l| !l.starts_with(' ')).count();
        assert_eq!(all().count(), tables);
        let columns = COLUMNS.lines().filter(|l| l.starts_with(' ')).count();
        assert_eq!(all().map(|d| d.columns.len()).sum::<usize>(), columns);
        for (name, text) in FIXED {
            let definition = find("pg_catalog", name).unwrap();
            assert_eq!(definition.fixed_rows().len(), text.lines().count(), "{name}");
        }
    }
}
