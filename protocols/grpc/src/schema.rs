//! The statements that make what a database has anew, as the system tables tell of it. Comments and privileges are not among them.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use perigee_door::script::fetch;
use perigee_engine::Session;
use perigee_types::catalog::Table;
use perigee_types::value::Interval;
use perigee_types::{Oid, SqlError, SqlResult, SqlState, Value};

use crate::tiers::constant;
use crate::v1::SchemaObject;

/// What is not the system's. `n` is the schema.
const OWN: &str = "n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast', 'perigee', 'redis') \
     AND n.nspname NOT LIKE 'pg\\_temp%' AND n.nspname NOT LIKE 'pg\\_toast%'";
/// The name of relation `c` in schema `n`, as statements have it.
const NAME: &str = "quote_ident(n.nspname) || '.' || quote_ident(c.relname)";

/// A row of texts.
type Texts = Vec<Option<String>>;
/// What stands behind a relation's head, by its oid.
type Lines = HashMap<String, Vec<String>>;

/// The objects of a database, each behind what it needs; or those of one relation, as `schema.name`.
///
/// # Errors
/// `42P01` for a relation that is not there.
pub(crate) async fn objects(session: &mut Session, table: &str) -> SqlResult<Vec<SchemaObject>> {
    // Then every name is told with its schema.
    rows(session, "SELECT pg_catalog.set_config('search_path', '', false)").await?;
    let relations = relations(session).await?;
    let only = match table {
        "" => None,
        table => Some(named(&relations, table)?),
    };
    let is_wanted = |oid: &str| only.as_deref().is_none_or(|only| only == oid);
    let mut objects = Vec::new();
    if only.is_none() {
        objects.extend(schemas(session).await?);
    }
    let owned = owned_sequences(session).await?;
    let of_table: HashSet<(&str, &str)> =
        owned.iter().filter(|(oid, _)| is_wanted(oid)).map(|(_, owned)| (&*owned.schema, &*owned.name)).collect();
    let mut sequences = sequences(session).await?;
    sequences.retain(|sequence| only.is_none() || of_table.contains(&(&*sequence.schema, &*sequence.name)));
    objects.extend(sequences);
    // Numbers are given in the order in which objects are made, and none is made before what it needs.
    let mut numbered = relations_of(session, &relations).await?;
    numbered.retain(|(oid, _)| is_wanted(&oid.to_string()));
    if only.is_none() {
        numbered.extend(types(session).await?);
        numbered.extend(functions(session).await?);
    }
    numbered.sort_by_key(|(oid, _)| *oid);
    objects.extend(numbered.into_iter().map(|(_, object)| object));
    objects.extend(owned.into_iter().filter(|(oid, _)| is_wanted(oid)).map(|(_, owned)| owned));
    let behind = [indexes(session).await?, foreign_keys(session).await?];
    objects.extend(behind.into_iter().flatten().filter(|(oid, _)| is_wanted(oid)).map(|(_, object)| object));
    Ok(objects)
}

/// A table, a view or a composite type.
struct Relation {
    oid: String,
    schema: String,
    name: String,
    /// With its schema, as statements have it.
    written: String,
    /// `pg_class.relkind`
    kind: String,
    is_partition: bool,
    bound: Option<String>,
    partitioned_by: Option<String>,
    options: Option<String>,
    query: Option<String>,
    /// What makes it a hypertable, whose partitions come with its rows.
    hypertable: Option<String>,
}

fn named(relations: &[Relation], table: &str) -> SqlResult<String> {
    let (schema, name) = table.split_once('.').unwrap_or(("public", table));
    let found = relations.iter().find(|relation| relation.schema == schema && relation.name == name);
    let missing = || SqlError::new(SqlState::UndefinedTable, format!("relation \"{schema}.{name}\" does not exist"));
    found.map(|relation| relation.oid.clone()).ok_or_else(missing)
}

async fn schemas(session: &mut Session) -> SqlResult<Vec<SchemaObject>> {
    let sql = format!(
        "SELECT n.nspname::text, quote_ident(n.nspname) FROM pg_catalog.pg_namespace n \
         WHERE {OWN} AND n.nspname <> 'public' ORDER BY n.oid"
    );
    let schema = |mut row: Texts| {
        let [name, written] = [cell(&mut row, 0), cell(&mut row, 1)];
        object(&name, &name, "schema", format!("CREATE SCHEMA {written}"))
    };
    Ok(rows(session, &sql).await?.into_iter().map(schema).collect())
}

async fn sequences(session: &mut Session) -> SqlResult<Vec<SchemaObject>> {
    // Those of identities come with their columns.
    let sql = format!(
        "SELECT n.nspname::text, c.relname::text, {NAME}, format_type(s.seqtypid, NULL), s.seqincrement::text, s.seqmin::text, \
         s.seqmax::text, s.seqstart::text, s.seqcache::text, s.seqcycle::text \
         FROM pg_catalog.pg_sequence s JOIN pg_catalog.pg_class c ON c.oid = s.seqrelid \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE {OWN} AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend i \
         WHERE i.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND i.objid = c.oid AND i.deptype = 'i') ORDER BY c.oid"
    );
    let sequence = |mut row: Texts| {
        let cells: Vec<String> = (0..10).map(|at| cell(&mut row, at)).collect();
        let [schema, name, written, ty, increment, min, max, start, cache, cycle] = &cells[..] else {
            return SchemaObject::default();
        };
        let cycle = if cycle.starts_with('t') { " CYCLE" } else { "" };
        let statement = format!(
            "CREATE SEQUENCE {written} AS {ty} INCREMENT BY {increment} MINVALUE {min} MAXVALUE {max} START WITH {start} \
             CACHE {cache}{cycle}"
        );
        object(schema, name, "sequence", statement)
    };
    Ok(rows(session, &sql).await?.into_iter().map(sequence).collect())
}

/// To which columns sequences belong, with the oid of the table.
async fn owned_sequences(session: &mut Session) -> SqlResult<Vec<(String, SchemaObject)>> {
    let sql = format!(
        "SELECT t.oid::text AS id, n.nspname::text, c.relname::text, {NAME}, \
         quote_ident(m.nspname) || '.' || quote_ident(t.relname) || '.' || quote_ident(a.attname) \
         FROM pg_catalog.pg_depend i JOIN pg_catalog.pg_class c ON c.oid = i.objid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         JOIN pg_catalog.pg_class t ON t.oid = i.refobjid JOIN pg_catalog.pg_namespace m ON m.oid = t.relnamespace \
         JOIN pg_catalog.pg_attribute a ON a.attrelid = t.oid AND a.attnum = i.refobjsubid \
         WHERE i.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND i.deptype = 'a' AND c.relkind = 'S' AND {OWN} ORDER BY c.oid"
    );
    let owned = |mut row: Texts| {
        let statement = format!("ALTER SEQUENCE {} OWNED BY {}", cell(&mut row, 3), cell(&mut row, 4));
        (cell(&mut row, 0), object(&cell(&mut row, 1), &cell(&mut row, 2), "sequence", statement))
    };
    Ok(rows(session, &sql).await?.into_iter().map(owned).collect())
}

/// Enumerations and domains.
async fn types(session: &mut Session) -> SqlResult<Vec<(u32, SchemaObject)>> {
    let (columns, from) = (
        "t.oid::text AS id, n.nspname::text, t.typname::text, quote_ident(n.nspname) || '.' || quote_ident(t.typname)",
        "FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace",
    );
    let enums = format!(
        "SELECT {columns}, quote_literal(e.enumlabel) {from} JOIN pg_catalog.pg_enum e ON e.enumtypid = t.oid \
         WHERE {OWN} ORDER BY t.oid, e.enumsortorder"
    );
    let domains = format!(
        "SELECT {columns}, format_type(t.typbasetype, t.typtypmod) || coalesce(' DEFAULT ' || t.typdefault, '') \
         || CASE WHEN t.typnotnull THEN ' NOT NULL' ELSE '' END {from} WHERE t.typtype = 'd' AND {OWN} ORDER BY t.oid"
    );
    let checks = "SELECT k.contypid::text AS id, 'CONSTRAINT ' || quote_ident(k.conname) || ' ' || pg_get_constraintdef(k.oid) \
         FROM pg_catalog.pg_constraint k WHERE k.contypid <> 0 AND k.contype = 'c' ORDER BY k.contypid, k.conname";
    let mut found: Vec<(u32, [String; 3], Vec<String>)> = Vec::new();
    for mut row in rows(session, &enums).await? {
        let (oid, label) = (number(&cell(&mut row, 0)), cell(&mut row, 4));
        match found.last_mut().filter(|(last, _, _)| *last == oid) {
            Some((_, _, labels)) => labels.push(label),
            None => found.push((oid, [cell(&mut row, 1), cell(&mut row, 2), cell(&mut row, 3)], vec![label])),
        }
    }
    let enumeration = |(oid, [schema, name, written], labels): (u32, [String; 3], Vec<String>)| {
        (oid, object(&schema, &name, "type", format!("CREATE TYPE {written} AS ENUM ({})", labels.join(", "))))
    };
    let mut types: Vec<(u32, SchemaObject)> = found.into_iter().map(enumeration).collect();
    let mut checks = lines(session, checks).await?;
    for mut row in rows(session, &domains).await? {
        let oid = cell(&mut row, 0);
        let mut statement = format!("CREATE DOMAIN {} AS {}", cell(&mut row, 3), cell(&mut row, 4));
        for check in checks.remove(&oid).unwrap_or_default() {
            statement.push_str(&format!(" {check}"));
        }
        types.push((number(&oid), object(&cell(&mut row, 1), &cell(&mut row, 2), "type", statement)));
    }
    Ok(types)
}

async fn functions(session: &mut Session) -> SqlResult<Vec<(u32, SchemaObject)>> {
    let sql = format!(
        "SELECT p.oid::text AS id, n.nspname::text, p.proname::text, pg_get_functiondef(p.oid) FROM pg_catalog.pg_proc p \
         JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace WHERE p.prokind IN ('f', 'p') AND {OWN} ORDER BY p.oid"
    );
    let function = |mut row: Texts| {
        let statement = cell(&mut row, 3).trim_end().to_owned();
        (number(&cell(&mut row, 0)), object(&cell(&mut row, 1), &cell(&mut row, 2), "function", statement))
    };
    Ok(rows(session, &sql).await?.into_iter().map(function).collect())
}

async fn relations(session: &mut Session) -> SqlResult<Vec<Relation>> {
    let sql = format!(
        "SELECT c.oid::text AS id, n.nspname::text, c.relname::text, {NAME}, c.relkind::text, c.relispartition::text, \
         pg_get_expr(c.relpartbound, c.oid), pg_get_partkeydef(c.oid), array_to_string(c.reloptions, ', '), pg_get_viewdef(c.oid) \
         FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.relkind IN ('r', 'p', 'v', 'm', 'c') AND {OWN} ORDER BY c.oid"
    );
    let relation = |mut row: Texts| Relation {
        oid: cell(&mut row, 0),
        schema: cell(&mut row, 1),
        name: cell(&mut row, 2),
        written: cell(&mut row, 3),
        kind: cell(&mut row, 4),
        is_partition: cell(&mut row, 5).starts_with('t'),
        bound: some(&mut row, 6),
        partitioned_by: some(&mut row, 7),
        options: some(&mut row, 8),
        query: some(&mut row, 9),
        hypertable: None,
    };
    let mut relations: Vec<Relation> = rows(session, &sql).await?.into_iter().map(relation).collect();
    let catalog = session.object_names().catalog;
    let every = |table: &Table| table.partitioning.as_ref().and_then(|partitioning| partitioning.every);
    let is_chunk = |table: &Arc<Table>| {
        table.is_partition()
            && table.parents.iter().any(|oid| catalog.table(*oid).is_some_and(|of| every(of).is_some()))
    };
    relations.retain(|relation| !catalog.table(Oid(number(&relation.oid))).is_some_and(is_chunk));
    for relation in &mut relations {
        let Some(table) = catalog.table(Oid(number(&relation.oid))) else { continue };
        relation.options = options(table);
        if let Some(every) = every(table) {
            relation.hypertable = hypertable(relation, table, every);
            relation.partitioned_by = None;
        }
    }
    Ok(relations)
}

/// What stands in WITH: system tables have no quotes around values, and do not tell of continuous aggregates.
fn options(table: &Table) -> Option<String> {
    let is_continuous = table.materialized.as_ref().is_some_and(|materialized| materialized.continuous.is_some());
    let given = table.options.iter().map(|(name, value)| format!("{name}={}", constant(value)));
    let all: Vec<String> = is_continuous.then(|| "continuous".to_owned()).into_iter().chain(given).collect();
    (!all.is_empty()).then(|| all.join(", "))
}

fn hypertable(relation: &Relation, table: &Table, every: Interval) -> Option<String> {
    let key = table.partitioning.as_ref()?.keys.first()?;
    let column = table.columns.get(table.number_position(key.column?)?)?;
    let Interval { months, days, micros } = every;
    Some(format!(
        "SELECT create_hypertable({}, {}, chunk_time_interval => interval '{months} mons {days} days {micros} microseconds')",
        constant(&relation.written),
        constant(&column.name)
    ))
}

/// Tables with their columns and constraints, views, composite types.
async fn relations_of(session: &mut Session, relations: &[Relation]) -> SqlResult<Vec<(u32, SchemaObject)>> {
    let columns = format!(
        "SELECT c.oid::text AS id, quote_ident(a.attname) || ' ' || format_type(a.atttypid, a.atttypmod) \
         || CASE WHEN l.collname IS NOT NULL AND a.attcollation <> t.typcollation THEN ' COLLATE ' || quote_ident(l.collname) ELSE '' END \
         || CASE WHEN a.attidentity = 'a' THEN ' GENERATED ALWAYS AS IDENTITY' \
         WHEN a.attidentity = 'd' THEN ' GENERATED BY DEFAULT AS IDENTITY' \
         WHEN a.attgenerated = 's' THEN ' GENERATED ALWAYS AS (' || pg_get_expr(d.adbin, d.adrelid) || ') STORED' \
         WHEN d.adbin IS NOT NULL THEN ' DEFAULT ' || pg_get_expr(d.adbin, d.adrelid) ELSE '' END \
         || CASE WHEN a.attnotnull THEN ' NOT NULL' ELSE '' END \
         FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace JOIN pg_catalog.pg_type t ON t.oid = a.atttypid \
         LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum \
         LEFT JOIN pg_catalog.pg_collation l ON l.oid = a.attcollation \
         WHERE c.relkind IN ('r', 'p', 'c') AND a.attnum > 0 AND NOT a.attisdropped AND a.attislocal AND {OWN} ORDER BY c.oid, a.attnum"
    );
    let constraints = format!(
        "SELECT k.conrelid::text AS id, 'CONSTRAINT ' || quote_ident(k.conname) || ' ' || pg_get_constraintdef(k.oid) \
         FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_class c ON c.oid = k.conrelid \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE k.contype IN ('p', 'u', 'c', 'x') AND k.conislocal AND k.conparentid = 0 AND {OWN} ORDER BY k.conrelid, k.contype DESC, k.conname"
    );
    let parents = "SELECT i.inhrelid::text AS id, quote_ident(n.nspname) || '.' || quote_ident(c.relname) FROM pg_catalog.pg_inherits i \
         JOIN pg_catalog.pg_class c ON c.oid = i.inhparent JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.relkind IN ('r', 'p') ORDER BY i.inhrelid, i.inhseqno";
    let mut columns = lines(session, &columns).await?;
    let mut constraints = lines(session, &constraints).await?;
    let mut parents = lines(session, parents).await?;
    let take = |of: &mut Lines, relation: &Relation| of.remove(&relation.oid).unwrap_or_default();
    let mut objects = Vec::with_capacity(relations.len());
    for relation in relations {
        let (columns, constraints) = (take(&mut columns, relation), take(&mut constraints, relation));
        let parents = take(&mut parents, relation);
        objects.push((number(&relation.oid), of_relation(relation, columns, constraints, &parents)));
    }
    Ok(objects)
}

fn of_relation(
    relation: &Relation,
    columns: Vec<String>,
    constraints: Vec<String>,
    parents: &[String],
) -> SchemaObject {
    let Relation { schema, name, written, .. } = relation;
    let query = || relation.query.as_deref().unwrap_or_default().trim().trim_end_matches(';').to_owned();
    let options = relation.options.as_deref().map(|options| format!(" WITH ({options})")).unwrap_or_default();
    let (kind, statement) = match relation.kind.as_str() {
        "v" => ("view", format!("CREATE VIEW {written}{options} AS {}", query())),
        "m" => ("materialized view", format!("CREATE MATERIALIZED VIEW {written}{options} AS {}", query())),
        "c" => ("type", format!("CREATE TYPE {written} AS ({})", columns.join(", "))),
        _ => {
            let mut statement = format!("CREATE TABLE {written}");
            let of_parent = parents.first().filter(|_| relation.is_partition);
            // A partition has its parent's columns.
            let columns = if of_parent.is_some() { Vec::new() } else { columns };
            if let Some(parent) = of_parent {
                statement.push_str(&format!(" PARTITION OF {parent}"));
            }
            let inside: Vec<String> =
                columns.into_iter().chain(constraints).map(|line| format!("\n    {line}")).collect();
            if !inside.is_empty() || of_parent.is_none() {
                let end = if inside.is_empty() { "" } else { "\n" };
                statement.push_str(&format!(" ({}{end})", inside.join(",")));
            }
            match (of_parent, parents) {
                (None, [_, ..]) => statement.push_str(&format!(" INHERITS ({})", parents.join(", "))),
                _ => statement.push_str(&relation.bound.as_deref().map(|b| format!(" {b}")).unwrap_or_default()),
            }
            if let Some(key) = &relation.partitioned_by {
                statement.push_str(&format!(" PARTITION BY {key}"));
            }
            ("table", statement + &options)
        }
    };
    let mut made = object(schema, name, kind, statement);
    made.statements.extend(relation.hypertable.clone());
    made
}

/// Indexes that no constraint has, with the oid of the table.
async fn indexes(session: &mut Session) -> SqlResult<Vec<(String, SchemaObject)>> {
    let sql = format!(
        "SELECT x.indrelid::text AS id, n.nspname::text, c.relname::text, pg_get_indexdef(x.indexrelid) FROM pg_catalog.pg_index x \
         JOIN pg_catalog.pg_class c ON c.oid = x.indexrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE NOT c.relispartition AND {OWN} AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_constraint k \
         WHERE k.conindid = x.indexrelid AND k.contype IN ('p', 'u', 'x')) ORDER BY c.oid"
    );
    let index = |mut row: Texts| {
        // Partitions are there by then, and get theirs.
        let statement = cell(&mut row, 3).replacen(" ON ONLY ", " ON ", 1);
        (cell(&mut row, 0), object(&cell(&mut row, 1), &cell(&mut row, 2), "index", statement))
    };
    Ok(rows(session, &sql).await?.into_iter().map(index).collect())
}

/// Foreign keys, with the oid of the table: they may point to one that is made later.
async fn foreign_keys(session: &mut Session) -> SqlResult<Vec<(String, SchemaObject)>> {
    let sql = format!(
        "SELECT k.conrelid::text AS id, n.nspname::text, k.conname::text AS name, {NAME}, quote_ident(k.conname) || ' ' || pg_get_constraintdef(k.oid) \
         FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_class c ON c.oid = k.conrelid \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE k.contype = 'f' AND k.conislocal AND k.conparentid = 0 AND {OWN} ORDER BY k.conrelid, k.conname"
    );
    let key = |mut row: Texts| {
        let statement = format!("ALTER TABLE {} ADD CONSTRAINT {}", cell(&mut row, 3), cell(&mut row, 4));
        (cell(&mut row, 0), object(&cell(&mut row, 1), &cell(&mut row, 2), "constraint", statement))
    };
    Ok(rows(session, &sql).await?.into_iter().map(key).collect())
}

fn object(schema: &str, name: &str, kind: &str, statement: String) -> SchemaObject {
    SchemaObject {
        schema: schema.to_owned(),
        name: name.to_owned(),
        kind: kind.to_owned(),
        statements: vec![statement],
    }
}

/// The rows of a query of texts.
async fn rows(session: &mut Session, sql: &str) -> SqlResult<Vec<Texts>> {
    let text = |value: Value| match value {
        Value::Text(text) => Some(text),
        _ => None,
    };
    let fetched = fetch(session, sql, &[]).await?;
    Ok(fetched.rows.into_iter().map(|row| row.into_iter().map(text).collect()).collect())
}

/// Rows of an oid and a line.
async fn lines(session: &mut Session, sql: &str) -> SqlResult<Lines> {
    let mut lines = Lines::new();
    for mut row in rows(session, sql).await? {
        lines.entry(cell(&mut row, 0)).or_default().push(cell(&mut row, 1));
    }
    Ok(lines)
}

/// Takes a text out of a row.
fn cell(row: &mut Texts, at: usize) -> String {
    some(row, at).unwrap_or_default()
}

/// The same, where there is one that is not empty.
fn some(row: &mut Texts, at: usize) -> Option<String> {
    row.get_mut(at).and_then(Option::take).filter(|text| !text.is_empty())
}

fn number(oid: &str) -> u32 {
    oid.parse().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relation(kind: &str) -> Relation {
        Relation {
            oid: "1".to_owned(),
            schema: "s".to_owned(),
            name: "t".to_owned(),
            written: "s.t".to_owned(),
            kind: kind.to_owned(),
            is_partition: false,
            bound: None,
            partitioned_by: None,
            options: None,
            query: Some(" SELECT 1;".to_owned()),
            hypertable: None,
        }
    }

    #[test]
    fn relations_become_statements() {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let check = |relation: &Relation, columns: &[&str], constraints: &[&str], parents: &[&str], expected: &str| {
            let made = of_relation(relation, texts(columns), texts(constraints), &texts(parents));
            assert_eq!(made.statements, [expected]);
        };
        let plain = relation("r");
        check(&plain, &["a int"], &["CHECK (a > 0)"], &[], "CREATE TABLE s.t (\n    a int,\n    CHECK (a > 0)\n)");
        check(&plain, &[], &[], &[], "CREATE TABLE s.t ()");
        check(&plain, &["b int"], &[], &["s.p"], "CREATE TABLE s.t (\n    b int\n) INHERITS (s.p)");
        let partition = Relation { is_partition: true, bound: Some("DEFAULT".to_owned()), ..relation("r") };
        check(&partition, &["a int"], &[], &["s.p"], "CREATE TABLE s.t PARTITION OF s.p DEFAULT");
        let parted = Relation {
            partitioned_by: Some("RANGE (a)".to_owned()),
            options: Some("ttl='1 day'".to_owned()),
            ..relation("p")
        };
        check(
            &parted,
            &["a int"],
            &[],
            &[],
            "CREATE TABLE s.t (\n    a int\n) PARTITION BY RANGE (a) WITH (ttl='1 day')",
        );
        check(&relation("v"), &[], &[], &[], "CREATE VIEW s.t AS SELECT 1");
        check(&relation("c"), &["a int", "b text"], &[], &[], "CREATE TYPE s.t AS (a int, b text)");
    }

    #[test]
    fn a_relation_is_found_by_its_name() {
        assert_eq!(named(&[relation("r")], "s.t").unwrap(), "1");
        assert_eq!(named(&[relation("r")], "t").unwrap_err().state(), SqlState::UndefinedTable);
    }
}
