//! Indexes, constraints, and which object depends on which.

use perigee_types::catalog::{
    ColumnDefault, Deferral, ForeignKey, IndexState, OWN_EXTENSION, ReferentialAction, Table, TypeKind,
};
use perigee_types::network::AddressType;
use perigee_types::{Oid, SqlType, Value};

use super::relations::default_oid;
use crate::pg_catalog::builder::{Rows, bool, int2, int4, numbers, oid, text, text_or_null};
use crate::pg_catalog::definition;
use crate::pg_catalog::deparse;
use crate::pg_catalog::scope::Scope;

/// Oid of `pg_class` as the class of an object.
const PG_CLASS: u32 = 1259;
/// Oid of `pg_attrdef` as the class of an object.
const PG_ATTRDEF: u32 = 2604;
/// Oid of `pg_constraint` as the class of an object.
const PG_CONSTRAINT: u32 = 2606;
/// Oid of `pg_type` as the class of an object.
const PG_TYPE: u32 = 1247;
/// Oid of `pg_proc` as the class of an object.
const PG_PROC: u32 = 1255;
/// Oid of `pg_extension` as the class of an object.
const PG_EXTENSION: u32 = 3079;
/// Oid of `pg_namespace` as the class of an object.
const PG_NAMESPACE: u32 = 2615;
/// Schemas of tables that PostgreSQL does not have.
const OWN_SCHEMAS: &[&str] = &["perigee", "redis"];
/// Oid of `pg_rewrite` as the class of an object.
const PG_REWRITE: u32 = 2618;

/// `pg_index`
pub(super) fn indexes(scope: &Scope, rows: &mut Rows) {
    for (table, index) in scope.indexes() {
        let valid = index.state == IndexState::Valid;
        let types: Vec<&SqlType> = index
            .key_columns()
            .iter()
            .filter_map(|n| Some(&table.columns.get(table.number_position(*n)?)?.ty))
            .collect();
        let definition = &index.definition;
        // An expression is no column.
        let is_visible = |n: &u16| table.visible_columns().iter().any(|column| column.number == *n);
        let keys = index.key_columns().iter().chain(&definition.include);
        let keys: Vec<u16> = keys.map(|n| if is_visible(n) { *n } else { 0 }).collect();
        let expressions: Vec<&str> = definition.keys.iter().filter_map(|key| key.expression.as_deref()).collect();
        let options = (0..types.len()).map(|at| {
            let key = definition.keys.get(at);
            let bits = key.map_or(0, |key| usize::from(key.descending) | (usize::from(key.nulls_first) << 1));
            int2(bits)
        });
        rows.push([
            ("indexrelid", oid(index.oid.0)),
            ("indrelid", oid(table.oid.0)),
            ("indnatts", int2(keys.len())),
            ("indnkeyatts", int2(types.len())),
            ("indisunique", bool(index.unique)),
            ("indisprimary", bool(table.primary_key == Some(index.oid))),
            ("indimmediate", bool(definition.deferral == Deferral::Never)),
            ("indisvalid", bool(valid)),
            ("indisready", bool(true)),
            ("indislive", bool(true)),
            ("indkey", numbers(&keys)),
            ("indcollation", Value::Array(types.iter().map(|_| oid(0u32)).collect())),
            ("indclass", Value::Array(types.iter().map(|ty| oid(operator_class(ty))).collect())),
            ("indoption", Value::Array(options.collect())),
            ("indexprs", text_or_null((!expressions.is_empty()).then(|| expressions.join(", ")))),
            ("indpred", text_or_null(definition.predicate.as_deref())),
        ]);
    }
}

/// The default btree operator class of a type.
pub(super) fn operator_class(ty: &SqlType) -> u32 {
    let wanted = match ty {
        // Both use text's.
        SqlType::Varchar(_) => SqlType::Text.oid(),
        SqlType::Address(AddressType::Cidr) => SqlType::Address(AddressType::Inet).oid(),
        _ => ty.oid(),
    };
    let Some(classes) = definition::find("pg_catalog", "pg_opclass") else { return 0 };
    let cell = |row: &[Value], column: &str| {
        classes.position(column).and_then(|at| row.get(at)).cloned().unwrap_or(Value::Null)
    };
    classes
        .fixed_rows()
        .iter()
        .find(|row| {
            cell(row, "opcintype") == Value::Oid(wanted)
                && cell(row, "opcmethod") == Value::Oid(403)
                && cell(row, "opcdefault") == Value::Bool(true)
        })
        .and_then(|row| cell(row, "oid").as_i64())
        .and_then(|found| u32::try_from(found).ok())
        .unwrap_or(0)
}

/// A constraint: PRIMARY KEY, UNIQUE, CHECK or FOREIGN KEY.
pub(super) struct Constraint<'a> {
    pub(super) oid: Oid,
    pub(super) name: &'a str,
    /// `contype`
    pub(super) kind: &'static str,
    /// The index that upholds it.
    pub(super) index: Option<Oid>,
    /// Numbers of its columns.
    pub(super) columns: Vec<u16>,
    /// A CHECK's expression.
    pub(super) expression: Option<&'a str>,
    pub(super) foreign: Option<&'a ForeignKey>,
    deferral: Deferral,
    /// The constraint of the partitioned table that it belongs to.
    pub(super) parent: Option<Oid>,
    /// From how many parents it comes, and whether it would be there without them.
    pub(super) inherited: (usize, bool),
    /// NOT VALID
    pub(super) not_valid: bool,
}

impl Constraint<'_> {
    /// DEFERRABLE
    pub(super) fn deferral(&self) -> Deferral {
        self.deferral
    }
}

/// The constraints of a table. One that an index upholds has the index's oid: the two are never asked for in one list.
pub(super) fn constraints_of<'a>(scope: &Scope<'a>, table: &'a Table) -> Vec<Constraint<'a>> {
    let of_indexes = scope.catalog().indexes_of(table).filter(|i| i.constraint).map(|index| Constraint {
        oid: index.oid,
        name: &index.name,
        kind: if table.primary_key == Some(index.oid) { "p" } else { "u" },
        index: Some(index.oid),
        columns: index.columns.clone(),
        expression: None,
        foreign: None,
        deferral: index.definition.deferral,
        parent: index.parent,
        inherited: (usize::from(index.parent.is_some()), index.parent.is_none()),
        not_valid: false,
    });
    let checks = table.checks.iter().map(|check| Constraint {
        oid: check.oid,
        name: &check.name,
        kind: "c",
        index: None,
        columns: deparse::columns_in(table, &check.expression),
        expression: Some(&check.expression),
        foreign: None,
        deferral: Deferral::Never,
        parent: None,
        inherited: (usize::from(check.inherited), check.local),
        not_valid: check.not_valid,
    });
    let foreign = table.foreign_keys.iter().map(|key| Constraint {
        oid: key.oid,
        name: &key.name,
        kind: "f",
        index: Some(key.index),
        columns: key.columns.clone(),
        expression: None,
        foreign: Some(key),
        deferral: key.deferral,
        parent: key.parent,
        inherited: (usize::from(key.parent.is_some()), key.parent.is_none()),
        not_valid: key.not_valid,
    });
    of_indexes.chain(checks).chain(foreign).collect()
}

fn action(action: ReferentialAction) -> &'static str {
    match action {
        ReferentialAction::NoAction => "a",
        ReferentialAction::Restrict => "r",
        ReferentialAction::Cascade => "c",
        ReferentialAction::SetNull => "n",
        ReferentialAction::SetDefault => "d",
    }
}

/// `pg_constraint`
pub(super) fn constraints(scope: &Scope, rows: &mut Rows) {
    of_domains(scope, rows);
    for table in scope.tables() {
        for constraint in constraints_of(scope, table) {
            rows.push([
                ("oid", oid(constraint.oid.0)),
                ("conname", text(constraint.name)),
                ("connamespace", oid(table.schema.0)),
                ("contype", text(constraint.kind)),
                ("condeferrable", bool(constraint.deferral() != Deferral::Never)),
                ("condeferred", bool(constraint.deferral() == Deferral::Deferred)),
                ("convalidated", bool(!constraint.not_valid)),
                ("conrelid", oid(table.oid.0)),
                ("conindid", oid(constraint.index.map_or(0, |i| i.0))),
                ("confrelid", oid(constraint.foreign.map_or(0, |key| key.references.0))),
                ("confupdtype", text(constraint.foreign.map_or(" ", |key| action(key.on_update)))),
                ("confdeltype", text(constraint.foreign.map_or(" ", |key| action(key.on_delete)))),
                ("confmatchtype", text(constraint.foreign.map_or(" ", |key| if key.match_full { "f" } else { "s" }))),
                ("confkey", constraint.foreign.map_or(Value::Null, |key| numbers(&key.referenced))),
                ("conparentid", oid(constraint.parent.map_or(0, |parent| parent.0))),
                ("conislocal", bool(constraint.inherited.1)),
                ("coninhcount", int4(constraint.inherited.0)),
                ("connoinherit", bool(constraint.kind != "c")),
                ("conkey", numbers(&constraint.columns)),
                ("conbin", constraint.expression.map_or(Value::Null, |text| self::text(deparse::parenthesized(text)))),
            ]);
        }
    }
}

/// The CHECK constraints of domains, in `pg_constraint`.
fn of_domains(scope: &Scope, rows: &mut Rows) {
    for ty in scope.user_types() {
        let TypeKind::Domain(domain) = &ty.kind else { continue };
        for check in &domain.checks {
            rows.push([
                ("oid", oid(check.oid.0)),
                ("conname", text(check.name.as_str())),
                ("connamespace", oid(ty.schema.0)),
                ("contype", text("c")),
                ("convalidated", bool(true)),
                ("contypid", oid(ty.oid.0)),
                ("confupdtype", text(" ")),
                ("confdeltype", text(" ")),
                ("confmatchtype", text(" ")),
                ("conislocal", bool(true)),
                ("conbin", text(check.expression.as_str())),
            ]);
        }
    }
}

/// `pg_depend`: sequences and the columns that own them, indexes and their tables, views and what they read, and the tables that
/// only this server has, which are members of an extension of its own.
pub(super) fn dependencies(scope: &Scope, rows: &mut Rows) {
    let mut push = |class: u32, object: u32, on: (u32, u32, u16), kind: &str| {
        rows.push([
            ("classid", oid(class)),
            ("objid", oid(object)),
            ("refclassid", oid(on.0)),
            ("refobjid", oid(on.1)),
            ("refobjsubid", Value::Int4(i32::from(on.2))),
            ("deptype", text(kind)),
        ]);
    };
    for schema in scope.schemas().filter(|schema| OWN_SCHEMAS.contains(&schema.name.as_str())) {
        push(PG_NAMESPACE, schema.oid.0, (PG_EXTENSION, OWN_EXTENSION, 0), "e");
    }
    for definition in definition::all().filter(|definition| OWN_SCHEMAS.contains(&definition.schema)) {
        push(PG_CLASS, definition.oid, (PG_EXTENSION, OWN_EXTENSION, 0), "e");
    }
    for sequence in scope.sequences() {
        let Some((table, number)) = sequence.owned_by else { continue };
        let column = scope.catalog().table(table).and_then(|t| t.columns.get(t.number_position(number)?));
        let identity = column.is_some_and(|c| c.identity_always.is_some());
        push(PG_CLASS, sequence.oid.0, (PG_CLASS, table.0, number), if identity { "i" } else { "a" });
        if column.is_some_and(|c| c.default.is_some()) && !identity {
            push(PG_ATTRDEF, default_oid(table, number), (PG_CLASS, sequence.oid.0, 0), "n");
        }
    }
    for (table, index) in scope.indexes() {
        if index.constraint {
            push(PG_CLASS, index.oid.0, (PG_CONSTRAINT, index.oid.0, 0), "i");
            continue;
        }
        for number in &index.columns {
            push(PG_CLASS, index.oid.0, (PG_CLASS, table.oid.0, *number), "a");
        }
    }
    for table in scope.tables() {
        for parent in &table.parents {
            push(PG_CLASS, table.oid.0, (PG_CLASS, parent.0, 0), if table.is_partition() { "a" } else { "n" });
        }
    }
    for ty in scope.user_types() {
        if let TypeKind::Multirange(of) = &ty.kind {
            push(PG_TYPE, ty.oid.0, (PG_TYPE, of.oid.0, 0), "i");
        }
        if let Some(function) = ty.calls() {
            push(PG_TYPE, ty.oid.0, (PG_PROC, function.0, 0), "n");
        }
    }
    let views = scope.views().map(|view| (view.oid, &view.depends_on));
    let materialized = scope.tables().filter_map(|table| Some((table.oid, &table.materialized.as_ref()?.depends_on)));
    for (view, depends_on) in views.chain(materialized) {
        push(PG_REWRITE, view.0, (PG_CLASS, view.0, 0), "i");
        for read in depends_on {
            push(PG_REWRITE, view.0, (PG_CLASS, read.0, 0), "n");
        }
    }
    for table in scope.tables() {
        for column in &table.columns {
            let Some(ColumnDefault::Expression(text)) = &column.default else { continue };
            for sequence in sequences_in(scope, text) {
                push(PG_ATTRDEF, default_oid(table.oid, column.number), (PG_CLASS, sequence.0, 0), "n");
            }
        }
    }
}

/// The sequences whose next value an expression takes by a constant name.
fn sequences_in(scope: &Scope, expression: &str) -> Vec<Oid> {
    const CALL: &str = "nextval('";
    let named = expression.match_indices(CALL).filter_map(|(at, _)| {
        let (name, _) = expression.get(at + CALL.len()..)?.split_once('\'')?;
        match deparse::parse_ident(name)?.as_slice() {
            [name] => scope.find(None, name),
            [schema, name] => scope.find(Some(schema), name),
            _ => None,
        }
    });
    named.map(|relation| relation.oid()).collect()
}

/// `pg_rewrite`: the rule behind each view, with the view's oid.
pub(super) fn rules(scope: &Scope, rows: &mut Rows) {
    let views = scope.views().map(|view| (view.oid, view.query.as_str()));
    let materialized =
        scope.tables().filter_map(|table| Some((table.oid, table.materialized.as_ref()?.query.as_str())));
    for (view, query) in views.chain(materialized) {
        rows.push([
            ("oid", oid(view.0)),
            ("rulename", text("_RETURN")),
            ("ev_class", oid(view.0)),
            ("ev_type", text("1")),
            ("ev_enabled", text("O")),
            ("is_instead", bool(true)),
            ("ev_qual", text("<>")),
            ("ev_action", text(query)),
        ]);
    }
}
