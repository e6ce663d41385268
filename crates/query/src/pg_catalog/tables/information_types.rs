//! `information_schema`: domains.

use perigee_types::catalog::TypeKind;

use super::information::{database, facts_name};
use crate::pg_catalog::builder::{Rows, text, text_or_null};
use crate::pg_catalog::scope::Scope;

/// `domains`
pub(super) fn domains(scope: &Scope, rows: &mut Rows) {
    for ty in scope.user_types() {
        let TypeKind::Domain(domain) = &ty.kind else { continue };
        rows.push([
            ("domain_catalog", text(database(scope))),
            ("domain_schema", text(scope.schema_name(ty.schema))),
            ("domain_name", text(ty.name.as_str())),
            ("data_type", text(if domain.of.is_some() { "USER-DEFINED".to_owned() } else { facts_name(&domain.base) })),
            ("domain_default", text_or_null(domain.default.as_deref())),
            ("udt_catalog", text(database(scope))),
            ("udt_schema", text("pg_catalog")),
            ("udt_name", text(domain.base.internal_name())),
            ("dtd_identifier", text("1")),
        ]);
    }
}

/// `domain_constraints`
pub(super) fn domain_constraints(scope: &Scope, rows: &mut Rows) {
    for ty in scope.user_types() {
        let TypeKind::Domain(domain) = &ty.kind else { continue };
        for check in &domain.checks {
            rows.push([
                ("constraint_catalog", text(database(scope))),
                ("constraint_schema", text(scope.schema_name(ty.schema))),
                ("constraint_name", text(check.name.as_str())),
                ("domain_catalog", text(database(scope))),
                ("domain_schema", text(scope.schema_name(ty.schema))),
                ("domain_name", text(ty.name.as_str())),
                ("is_deferrable", text("NO")),
                ("initially_deferred", text("NO")),
            ]);
        }
    }
}
