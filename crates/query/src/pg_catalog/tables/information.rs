//! `information_schema`: relations, columns, sequences.

use perigee_types::catalog::{ColumnDefault, TypeKind};
use perigee_types::{CodedType, SqlType, Value};

use super::{functions, information_keys, information_types, roles};
use crate::pg_catalog::builder::{Rows, int4, text, text_or_null, yes_or_no};
use crate::pg_catalog::scope::{Relation, Scope};
use crate::pg_catalog::{deparse, view_text};

/// The longest text in bytes, as PostgreSQL says it.
const OCTETS_MAX: usize = 1 << 30;

/// The rows of `information_schema.NAME`; a table of what Perigee does not have is empty.
pub(super) fn fill(name: &str, scope: &Scope, rows: &mut Rows) {
    match name {
        "tables" => tables(scope, rows),
        "columns" => columns(scope, rows),
        "column_udt_usage" => types_of_columns(scope, rows),
        "schemata" => schemata(scope, rows),
        "views" => views(scope, rows),
        "sequences" => sequences(scope, rows),
        "routines" => functions::routines(scope, rows),
        "parameters" => functions::parameters(scope, rows),
        "domains" => information_types::domains(scope, rows),
        "domain_constraints" => information_types::domain_constraints(scope, rows),
        "information_schema_catalog_name" => rows.push([("catalog_name", text(database(scope)))]),
        "enabled_roles"
        | "applicable_roles"
        | "administrable_role_authorizations"
        | "table_privileges"
        | "role_table_grants"
        | "column_privileges"
        | "role_column_grants"
        | "usage_privileges"
        | "role_usage_grants" => roles::fill(name, scope, rows),
        _ => information_keys::fill(name, scope, rows),
    }
}

/// The name of the session's database, which the standard calls catalog.
pub(super) fn database<'a>(scope: &Scope<'a>) -> &'a str {
    &scope.session().database
}

fn tables(scope: &Scope, rows: &mut Rows) {
    for relation in scope.relations() {
        let kind = match relation.kind() {
            "r" if scope.catalog().is_temporary(relation.schema(scope)) => "LOCAL TEMPORARY",
            "r" | "p" => "BASE TABLE",
            "v" => "VIEW",
            _ => continue,
        };
        let insertable = match relation {
            Relation::View(view) => scope.updatable_columns(view).is_some(),
            _ => kind != "VIEW",
        };
        rows.push([
            ("table_catalog", text(database(scope))),
            ("table_schema", text(scope.schema_name(relation.schema(scope)))),
            ("table_name", text(relation.name())),
            ("table_type", text(kind)),
            ("is_insertable_into", yes_or_no(insertable)),
            ("is_typed", yes_or_no(false)),
        ]);
    }
}

fn columns(scope: &Scope, rows: &mut Rows) {
    for relation in scope.relations() {
        if !matches!(relation.kind(), "r" | "p" | "v") {
            continue;
        }
        let schema = scope.schema_name(relation.schema(scope));
        let of_view = match relation {
            Relation::View(view) => scope.updatable_columns(view),
            _ => None,
        };
        for (at, (number, name, ty)) in relation.columns(scope).into_iter().enumerate() {
            let column = match relation {
                Relation::Table(table) => table.columns.get(at),
                _ => None,
            };
            let is_updatable = match relation {
                Relation::View(_) => of_view.as_ref().is_some_and(|columns| columns.get(at) == Some(&true)),
                _ => matches!(relation.kind(), "r" | "p"),
            };
            let not_null = match relation {
                Relation::System(d) => d.columns.get(at).is_some_and(|c| c.not_null),
                _ => column.is_some_and(|c| c.not_null),
            };
            let identity = column.and_then(|c| c.identity_always);
            let sequence = match column.and_then(|c| c.default.as_ref()) {
                Some(ColumnDefault::Sequence(sequence)) if identity.is_some() => scope.catalog().sequence(*sequence),
                _ => None,
            };
            let default = match column.and_then(|c| c.default.as_ref()) {
                _ if identity.is_some() => None,
                Some(ColumnDefault::Expression(expression)) => Some(deparse::default(scope, expression, &ty)),
                Some(ColumnDefault::Sequence(sequence)) => Some(deparse::nextval(scope, *sequence)),
                Some(ColumnDefault::Generated(_)) | None => None,
            };
            let generated = column.and_then(|c| c.generated());
            let mut facts = TypeFacts::of(&ty);
            let domain = column.and_then(|c| scope.user_type(c.domain?)).map(|(ty, _)| ty);
            if domain.is_some_and(|ty| matches!(&ty.kind, TypeKind::Domain(domain) if domain.of.is_some())) {
                facts.name = "USER-DEFINED".to_owned();
            }
            rows.push([
                ("table_catalog", text(database(scope))),
                ("table_schema", text(schema)),
                ("table_name", text(relation.name())),
                ("column_name", text(name)),
                ("ordinal_position", int4(usize::from(number))),
                ("column_default", text_or_null(default)),
                ("is_nullable", yes_or_no(!not_null)),
                ("data_type", text(facts.name)),
                ("character_maximum_length", facts.characters),
                ("character_octet_length", facts.octets),
                ("numeric_precision", facts.precision),
                ("numeric_precision_radix", facts.radix),
                ("numeric_scale", facts.scale),
                ("datetime_precision", facts.fraction),
                ("interval_type", facts.interval),
                ("domain_catalog", text_or_null(domain.map(|_| database(scope)))),
                ("domain_schema", text_or_null(domain.map(|ty| scope.schema_name(ty.schema)))),
                ("domain_name", text_or_null(domain.map(|ty| ty.name.as_str()))),
                ("udt_catalog", text(database(scope))),
                ("udt_schema", text(type_schema(scope, &ty))),
                ("udt_name", text(ty.internal_name())),
                ("dtd_identifier", text(number.to_string())),
                ("is_self_referencing", yes_or_no(false)),
                ("is_identity", yes_or_no(identity.is_some())),
                ("identity_generation", text_or_null(identity.map(|a| if a { "ALWAYS" } else { "BY DEFAULT" }))),
                ("identity_start", text_or_null(sequence.map(|s| s.start.to_string()))),
                ("identity_increment", text_or_null(sequence.map(|s| s.increment.to_string()))),
                ("identity_maximum", text_or_null(sequence.map(|s| s.maximum.to_string()))),
                ("identity_minimum", text_or_null(sequence.map(|s| s.minimum.to_string()))),
                ("identity_cycle", yes_or_no(sequence.is_some_and(|s| s.cycle))),
                ("is_generated", text(if generated.is_some() { "ALWAYS" } else { "NEVER" })),
                ("generation_expression", generated.map_or(Value::Null, |text| Value::Text(format!("({text})")))),
                ("is_updatable", yes_or_no(is_updatable)),
            ]);
        }
    }
}

/// The schema of a type.
fn type_schema<'a>(scope: &Scope<'a>, ty: &SqlType) -> &'a str {
    scope.user_type(perigee_types::Oid(ty.oid())).map_or("pg_catalog", |(ty, _)| scope.schema_name(ty.schema))
}

/// The standard's name of a type.
pub(super) fn facts_name(ty: &SqlType) -> String {
    TypeFacts::of(ty).name
}

/// How the standard describes a type.
struct TypeFacts {
    name: String,
    characters: Value,
    octets: Value,
    precision: Value,
    radix: Value,
    scale: Value,
    fraction: Value,
    interval: Value,
}

impl TypeFacts {
    fn of(ty: &SqlType) -> Self {
        let name = match ty {
            SqlType::Numeric(_) => "numeric".to_owned(),
            SqlType::Varchar(_) => "character varying".to_owned(),
            SqlType::Char(_) => "character".to_owned(),
            SqlType::Array(_) => "ARRAY".to_owned(),
            // As are those of extensions.
            SqlType::Citext
            | SqlType::Vector(_)
            | SqlType::Coded(CodedType::Hstore | CodedType::Ltree | CodedType::Lquery | CodedType::Ltxtquery) => {
                "USER-DEFINED".to_owned()
            }
            ty if ty.user_type().is_some() => "USER-DEFINED".to_owned(),
            other => other.without_second_digits().to_string(),
        };
        let null = Value::Null;
        let characters = match ty {
            SqlType::Varchar(Some(n)) | SqlType::Char(n) => int4(*n as usize),
            SqlType::Coded(CodedType::Bit(Some(n)) | CodedType::VarBit(Some(n))) => int4(*n as usize),
            _ => null.clone(),
        };
        let octets = match ty {
            SqlType::Varchar(Some(n)) | SqlType::Char(n) => int4(*n as usize * 4),
            SqlType::Text | SqlType::Varchar(None) => int4(OCTETS_MAX),
            _ => null.clone(),
        };
        let (precision, radix, scale) = match ty {
            SqlType::Int2 => (int4(16), int4(2), int4(0)),
            SqlType::Int4 => (int4(32), int4(2), int4(0)),
            SqlType::Int8 => (int4(64), int4(2), int4(0)),
            SqlType::Float4 => (int4(24), int4(2), null.clone()),
            SqlType::Float8 => (int4(53), int4(2), null.clone()),
            SqlType::Numeric(Some((p, s))) => (int4(usize::from(*p)), int4(10), Value::Int4(i32::from(*s))),
            SqlType::Numeric(None) => (null.clone(), int4(10), null.clone()),
            _ => (null.clone(), null.clone(), null.clone()),
        };
        let fraction = match ty {
            SqlType::Date => int4(0),
            SqlType::Time(digits)
            | SqlType::Timetz(digits)
            | SqlType::Timestamp(digits)
            | SqlType::Timestamptz(digits) => int4(usize::from(digits.unwrap_or(6))),
            SqlType::Interval => int4(6),
            SqlType::IntervalOf(of) => int4(usize::from(of.digits.unwrap_or(6))),
            _ => null.clone(),
        };
        let interval = match ty {
            SqlType::IntervalOf(of) if of.fields.is_some() => {
                text(of.to_string().trim_start_matches("interval ").to_uppercase())
            }
            _ => null,
        };
        Self { name, characters, octets, precision, radix, scale, fraction, interval }
    }
}

/// `column_udt_usage`
fn types_of_columns(scope: &Scope, rows: &mut Rows) {
    for relation in scope.relations().filter(|relation| matches!(relation.kind(), "r" | "p" | "v")) {
        for (_, name, ty) in relation.columns(scope) {
            rows.push([
                ("udt_catalog", text(database(scope))),
                ("udt_schema", text(type_schema(scope, &ty))),
                ("udt_name", text(ty.internal_name())),
                ("table_catalog", text(database(scope))),
                ("table_schema", text(scope.schema_name(relation.schema(scope)))),
                ("table_name", text(relation.name())),
                ("column_name", text(name)),
            ]);
        }
    }
}

fn schemata(scope: &Scope, rows: &mut Rows) {
    for schema in scope.schemas() {
        rows.push([
            ("catalog_name", text(database(scope))),
            ("schema_name", text(schema.name.as_str())),
            ("schema_owner", text(scope.role_name(schema.owner))),
        ]);
    }
}

fn views(scope: &Scope, rows: &mut Rows) {
    for view in scope.views() {
        let updatable = scope.updatable_columns(view).is_some();
        rows.push([
            ("table_catalog", text(database(scope))),
            ("table_schema", text(scope.schema_name(view.schema))),
            ("table_name", text(view.name.as_str())),
            ("view_definition", text(view_text::of_view(scope, view, false))),
            ("check_option", text(view.check_option.map_or_else(|| "NONE".to_owned(), |o| o.as_str().to_uppercase()))),
            ("is_updatable", yes_or_no(updatable)),
            ("is_insertable_into", yes_or_no(updatable)),
            ("is_trigger_updatable", yes_or_no(false)),
            ("is_trigger_deletable", yes_or_no(false)),
            ("is_trigger_insertable_into", yes_or_no(false)),
        ]);
    }
}

fn sequences(scope: &Scope, rows: &mut Rows) {
    for sequence in scope.sequences() {
        // Sequences of identity columns belong to their columns alone.
        let identity = sequence.owned_by.is_some_and(|(table, number)| {
            scope
                .catalog()
                .table(table)
                .and_then(|t| t.columns.get(t.number_position(number)?))
                .is_some_and(|c| c.identity_always.is_some())
        });
        if identity {
            continue;
        }
        let facts = TypeFacts::of(&sequence.ty);
        rows.push([
            ("sequence_catalog", text(database(scope))),
            ("sequence_schema", text(scope.schema_name(sequence.schema))),
            ("sequence_name", text(sequence.name.as_str())),
            ("data_type", text(facts.name)),
            ("numeric_precision", facts.precision),
            ("numeric_precision_radix", facts.radix),
            ("numeric_scale", facts.scale),
            ("start_value", text(sequence.start.to_string())),
            ("minimum_value", text(sequence.minimum.to_string())),
            ("maximum_value", text(sequence.maximum.to_string())),
            ("increment", text(sequence.increment.to_string())),
            ("cycle_option", yes_or_no(sequence.cycle)),
        ]);
    }
}
