//! `pg_type` and `pg_enum`: the types that users made. PostgreSQL's own are rows that never change.

use perigee_types::catalog::{BOOTSTRAP_ROLE, Domain, EXTENSIONS, PG_CATALOG_SCHEMA, TypeKind, UserType};
use perigee_types::range::UserRange;
use perigee_types::{CompositeType, Oid, Value};

use super::constraints::operator_class;
use crate::pg_catalog::builder::{Rows, bool, oid, text, text_or_null};
use crate::pg_catalog::functions::type_cell;
use crate::pg_catalog::scope::Scope;

/// Oids of the functions of arrays.
const ARRAY_IN: u32 = 750;
const ARRAY_OUT: u32 = 751;
const ARRAY_RECV: u32 = 2400;
const ARRAY_SEND: u32 = 2401;
const ARRAY_TYPANALYZE: u32 = 3816;
const ARRAY_SUBSCRIPT_HANDLER: u32 = 6179;
/// Oids of the functions of domains.
const DOMAIN_IN: u32 = 2597;
const DOMAIN_RECV: u32 = 2598;
/// Oids of the functions of enumerated types.
const ENUM_IN: u32 = 3506;
const ENUM_OUT: u32 = 3507;
const ENUM_RECV: u32 = 3532;
const ENUM_SEND: u32 = 3533;

/// Oids of the functions of records.
const RECORD_IN: u32 = 2290;
const RECORD_OUT: u32 = 2291;
const RECORD_RECV: u32 = 2402;
const RECORD_SEND: u32 = 2403;

/// Oids of the functions of ranges: in, out, receive, send, analyze.
const RANGE_FUNCTIONS: [u32; 5] = [3834, 3835, 3836, 3837, 3916];
/// Oids of the functions of several ranges, as well.
const MULTIRANGE_FUNCTIONS: [u32; 5] = [4231, 4232, 4233, 4234, 4242];

/// `pg_type`
pub(super) fn types(scope: &Scope, rows: &mut Rows) {
    for ty in scope.user_types() {
        match &ty.kind {
            TypeKind::Enum(_) => enumerated(ty, rows),
            TypeKind::Domain(domain) => self::domain(ty, domain, rows),
            TypeKind::Composite(of) => composite(ty, of, rows),
            TypeKind::Range(of) => of_ranges(ty, of, false, rows),
            TypeKind::Multirange(of) => of_ranges(ty, of, true, rows),
        }
        array(scope, ty, rows);
    }
}

/// `pg_extension`: what is built in.
pub(super) fn extensions(rows: &mut Rows) {
    for extension in EXTENSIONS {
        rows.push([
            ("oid", oid(extension.oid)),
            ("extname", text(extension.name)),
            ("extowner", oid(BOOTSTRAP_ROLE.0)),
            ("extnamespace", oid(PG_CATALOG_SCHEMA.0)),
            ("extrelocatable", bool(false)),
            ("extversion", text(extension.version)),
        ]);
    }
}

/// `pg_available_extensions`
pub(super) fn available_extensions(rows: &mut Rows) {
    for extension in EXTENSIONS {
        rows.push([
            ("name", text(extension.name)),
            ("default_version", text(extension.version)),
            ("installed_version", text(extension.version)),
            ("comment", text(extension.comment)),
        ]);
    }
}

fn enumerated(ty: &UserType, rows: &mut Rows) {
    rows.push([
        ("oid", oid(ty.oid.0)),
        ("typname", text(ty.name.as_str())),
        ("typnamespace", oid(ty.schema.0)),
        ("typowner", oid(ty.owner.0)),
        ("typlen", Value::Int2(4)),
        ("typbyval", bool(true)),
        ("typtype", text("e")),
        ("typcategory", text("E")),
        ("typisdefined", bool(true)),
        ("typdelim", text(",")),
        ("typarray", oid(ty.array.0)),
        ("typinput", oid(ENUM_IN)),
        ("typoutput", oid(ENUM_OUT)),
        ("typreceive", oid(ENUM_RECV)),
        ("typsend", oid(ENUM_SEND)),
        ("typalign", text("i")),
        ("typstorage", text("p")),
        ("typtypmod", Value::Int4(-1)),
    ]);
}

fn composite(ty: &UserType, of: &CompositeType, rows: &mut Rows) {
    rows.push([
        ("oid", oid(ty.oid.0)),
        ("typname", text(ty.name.as_str())),
        ("typnamespace", oid(ty.schema.0)),
        ("typowner", oid(ty.owner.0)),
        ("typlen", Value::Int2(-1)),
        ("typbyval", bool(false)),
        ("typtype", text("c")),
        ("typcategory", text("C")),
        ("typisdefined", bool(true)),
        ("typdelim", text(",")),
        ("typrelid", oid(of.relation.0)),
        ("typarray", oid(ty.array.0)),
        ("typinput", oid(RECORD_IN)),
        ("typoutput", oid(RECORD_OUT)),
        ("typreceive", oid(RECORD_RECV)),
        ("typsend", oid(RECORD_SEND)),
        ("typalign", text("d")),
        ("typstorage", text("x")),
        ("typtypmod", Value::Int4(-1)),
    ]);
}

/// A type of ranges, or of several of them.
fn of_ranges(ty: &UserType, of: &UserRange, several: bool, rows: &mut Rows) {
    let [input, output, receive, send, analyze] = if several { MULTIRANGE_FUNCTIONS } else { RANGE_FUNCTIONS };
    // Bounds of eight bytes stand where such values do.
    let align = type_cell(Oid(of.subtype.oid()), "typalign");
    let is_wide = align.as_ref().and_then(Value::as_str) == Some("d");
    rows.push([
        ("oid", oid(ty.oid.0)),
        ("typname", text(ty.name.as_str())),
        ("typnamespace", oid(ty.schema.0)),
        ("typowner", oid(ty.owner.0)),
        ("typlen", Value::Int2(-1)),
        ("typbyval", bool(false)),
        ("typtype", text(if several { "m" } else { "r" })),
        ("typcategory", text("R")),
        ("typisdefined", bool(true)),
        ("typdelim", text(",")),
        ("typarray", oid(ty.array.0)),
        ("typinput", oid(input)),
        ("typoutput", oid(output)),
        ("typreceive", oid(receive)),
        ("typsend", oid(send)),
        ("typanalyze", oid(analyze)),
        ("typalign", text(if is_wide { "d" } else { "i" })),
        ("typstorage", text("x")),
        ("typtypmod", Value::Int4(-1)),
    ]);
}

/// `pg_range`: the types that users made. Those that are built in are rows that never change.
pub(super) fn ranges(scope: &Scope, rows: &mut Rows) {
    for ty in scope.user_types() {
        let TypeKind::Range(of) = &ty.kind else { continue };
        rows.push([
            ("rngtypid", oid(of.oid.0)),
            ("rngsubtype", oid(of.subtype.oid())),
            ("rngmultitypid", oid(of.multirange.0)),
            ("rngcollation", type_cell(Oid(of.subtype.oid()), "typcollation").unwrap_or(Value::Oid(0))),
            ("rngsubopc", oid(operator_class(&of.subtype))),
            ("rngsubdiff", oid(of.subtype_diff.map_or(0, |function| function.0))),
        ]);
    }
}

fn domain(ty: &UserType, domain: &Domain, rows: &mut Rows) {
    let base = Oid(domain.base.oid());
    // A domain's values look like those of the type below.
    let below = |column: &str| type_cell(base, column).unwrap_or(Value::Null);
    rows.push([
        ("oid", oid(ty.oid.0)),
        ("typname", text(ty.name.as_str())),
        ("typnamespace", oid(ty.schema.0)),
        ("typowner", oid(ty.owner.0)),
        ("typlen", Value::Int2(domain.base.type_length())),
        ("typbyval", bool(matches!(domain.base.type_length(), 1..=8))),
        ("typtype", text("d")),
        ("typcategory", below("typcategory")),
        ("typisdefined", bool(true)),
        ("typdelim", text(",")),
        ("typarray", oid(ty.array.0)),
        ("typinput", oid(DOMAIN_IN)),
        ("typoutput", below("typoutput")),
        ("typreceive", oid(DOMAIN_RECV)),
        ("typsend", below("typsend")),
        ("typalign", below("typalign")),
        ("typstorage", below("typstorage")),
        ("typnotnull", bool(domain.not_null)),
        ("typbasetype", oid(domain.of.unwrap_or(base).0)),
        ("typtypmod", Value::Int4(domain.base.modifier())),
        ("typcollation", below("typcollation")),
        ("typdefault", text_or_null(domain.default.as_deref())),
    ]);
}

fn array(scope: &Scope, ty: &UserType, rows: &mut Rows) {
    rows.push([
        ("oid", oid(ty.array.0)),
        ("typname", text(array_name(scope, ty))),
        ("typnamespace", oid(ty.schema.0)),
        ("typowner", oid(ty.owner.0)),
        ("typlen", Value::Int2(-1)),
        ("typtype", text("b")),
        ("typcategory", text("A")),
        ("typisdefined", bool(true)),
        ("typdelim", text(",")),
        ("typsubscript", oid(ARRAY_SUBSCRIPT_HANDLER)),
        ("typelem", oid(ty.oid.0)),
        ("typinput", oid(ARRAY_IN)),
        ("typoutput", oid(ARRAY_OUT)),
        ("typreceive", oid(ARRAY_RECV)),
        ("typsend", oid(ARRAY_SEND)),
        ("typanalyze", oid(ARRAY_TYPANALYZE)),
        ("typalign", text("i")),
        ("typstorage", text("x")),
        ("typtypmod", Value::Int4(-1)),
    ]);
}

/// The name of the type of its arrays: one more `_` while a type has that name.
fn array_name(scope: &Scope, ty: &UserType) -> String {
    let mut name = format!("_{}", ty.name);
    while scope.catalog().user_type(ty.schema, &name).is_some() {
        name.insert(0, '_');
    }
    name
}

/// `pg_enum`
pub(super) fn enums(scope: &Scope, rows: &mut Rows) {
    for ty in scope.user_types() {
        let TypeKind::Enum(of) = &ty.kind else { continue };
        for label in of.labels() {
            rows.push([
                ("oid", oid(label.oid.0)),
                ("enumtypid", oid(ty.oid.0)),
                ("enumsortorder", Value::Float4(label.shown_order())),
                ("enumlabel", text(label.label.as_str())),
            ]);
        }
    }
}
