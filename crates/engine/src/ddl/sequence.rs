//! CREATE SEQUENCE and ALTER SEQUENCE, and the sequences of identity columns.

use std::sync::Arc;

use perigee_plan::Ddl;
use perigee_plan::ddl::SequenceClauses;
use perigee_types::acl::AclKind;
use perigee_types::catalog::{CatalogChange, ColumnDefault, Object, Sequence, Table};
use perigee_types::{Oid, SqlError, SqlResult, SqlState, SqlType};

use super::alter::number_of;
use super::{Oids, names};
use crate::session::Session;

/// The smallest and the greatest value of a sequence's type.
pub(super) fn bounds(ty: &SqlType) -> (i64, i64) {
    match ty {
        SqlType::Int2 => (i64::from(i16::MIN), i64::from(i16::MAX)),
        SqlType::Int4 => (i64::from(i32::MIN), i64::from(i32::MAX)),
        _ => (i64::MIN, i64::MAX),
    }
}

/// What the clauses make of a sequence; `made`: it is new, and what they do not say is chosen.
///
/// # Errors
/// `22023`
pub(super) fn defined(base: Sequence, clauses: &SequenceClauses, made: bool) -> SqlResult<Sequence> {
    fn wrong<T>(text: String) -> SqlResult<T> {
        Err(SqlError::new(SqlState::InvalidParameterValue, text))
    }
    let mut sequence = base;
    let old = bounds(&sequence.ty);
    let (mut new_minimum, mut new_maximum) = (made, made);
    if let Some(ty) = &clauses.ty {
        if !ty.is_integer() {
            return wrong("sequence type must be smallint, integer, or bigint".to_owned());
        }
        // A bound that was the type's follows the type.
        new_minimum |= sequence.minimum == old.0;
        new_maximum |= sequence.maximum == old.1;
        sequence.ty = ty.clone();
    }
    if let Some(increment) = clauses.increment {
        sequence.increment = increment;
    }
    if sequence.increment == 0 {
        return wrong("INCREMENT must not be zero".to_owned());
    }
    let (ascends, (low, high)) = (sequence.increment > 0, bounds(&sequence.ty));
    match clauses.maximum {
        Some(Some(maximum)) => sequence.maximum = maximum,
        None if !new_maximum => {}
        Some(None) | None => sequence.maximum = if ascends { high } else { -1 },
    }
    match clauses.minimum {
        Some(Some(minimum)) => sequence.minimum = minimum,
        None if !new_minimum => {}
        Some(None) | None => sequence.minimum = if ascends { 1 } else { low },
    }
    let (minimum, maximum) = (sequence.minimum, sequence.maximum);
    for (what, value) in [("MAXVALUE", maximum), ("MINVALUE", minimum)] {
        if value < low || value > high {
            return wrong(format!("{what} ({value}) is out of range for sequence data type {}", sequence.ty));
        }
    }
    if minimum >= maximum {
        return wrong(format!("MINVALUE ({minimum}) must be less than MAXVALUE ({maximum})"));
    }
    if let Some(start) = clauses.start {
        sequence.start = start;
    } else if made {
        sequence.start = if ascends { minimum } else { maximum };
    }
    let inside = |what: &str, value: i64| {
        if value < minimum {
            return wrong(format!("{what} value ({value}) cannot be less than MINVALUE ({minimum})"));
        }
        if value > maximum {
            return wrong(format!("{what} value ({value}) cannot be greater than MAXVALUE ({maximum})"));
        }
        Ok(())
    };
    inside("START", sequence.start)?;
    if let Some(restart) = clauses.restart {
        inside("RESTART", restart.unwrap_or(sequence.start))?;
    }
    if let Some(cache) = clauses.cache
        && cache <= 0
    {
        return wrong(format!("CACHE ({cache}) must be greater than zero"));
    }
    if let Some(cycle) = clauses.cycle {
        sequence.cycle = cycle;
    }
    if let Some(owner) = clauses.owned_by {
        sequence.owned_by = owner;
    }
    Ok(sequence)
}

impl Session {
    pub(super) fn create_sequence(&mut self, ddl: &Ddl) -> SqlResult<()> {
        let Ddl::CreateSequence { schema, name, if_not_exists, clauses } = ddl else {
            return Err(SqlError::internal("not CREATE SEQUENCE"));
        };
        let schema = self.creation_schema(*schema)?;
        let catalog = self.latest_catalog();
        if self.name_is_taken(&catalog, schema, name, *if_not_exists)? {
            return Ok(());
        }
        let base = self.new_sequence(Oids::new(&catalog).next(), schema, name.clone(), SqlType::Int8);
        let sequence = Arc::new(defined(base, clauses, true)?);
        self.change(vec![CatalogChange::Put(Object::Sequence(sequence))])
    }

    /// A sequence of which nothing is said yet.
    pub(super) fn new_sequence(&self, oid: Oid, schema: Oid, name: String, ty: SqlType) -> Sequence {
        Sequence {
            oid,
            tenant: self.tenant,
            schema,
            name,
            owner: self.current_role(),
            comment: None,
            acl: self.acl_of_new(AclKind::Sequence, Some(schema)),
            ty,
            start: 1,
            increment: 1,
            minimum: 1,
            maximum: i64::MAX,
            cycle: false,
            owned_by: None,
        }
    }

    pub(super) fn alter_sequence(&mut self, sequence: &Sequence, clauses: &SequenceClauses) -> SqlResult<()> {
        let catalog = self.latest_catalog();
        if let (Some(_), Some((table, number))) = (clauses.owned_by, sequence.owned_by)
            && let Some(table) = catalog.table(table)
            && table.columns.iter().any(|c| c.number == number && c.identity_always.is_some())
        {
            return Err(SqlError::new(SqlState::FeatureNotSupported, "cannot change ownership of identity sequence")
                .detail(format!("Sequence \"{}\" is linked to table \"{}\".", sequence.name, table.name)));
        }
        let changed = Arc::new(defined(sequence.clone(), clauses, false)?);
        self.change(vec![CatalogChange::Put(Object::Sequence(changed.clone()))])?;
        if let Some(restart) = clauses.restart {
            let next = restart.unwrap_or(changed.start);
            self.services.own_sequence(changed, next);
        }
        Ok(())
    }

    /// ADD GENERATED … AS IDENTITY
    pub(super) fn add_identity(
        &mut self,
        table: &Table,
        column: &str,
        always: bool,
        clauses: &SequenceClauses,
    ) -> SqlResult<()> {
        let number = number_of(table, column)?;
        let refuse = |what: &str| {
            let text = format!("column \"{column}\" of relation \"{}\" {what}", table.name);
            Err(SqlError::new(SqlState::ObjectNotInPrerequisiteState, text))
        };
        let Some(found) = table.columns.iter().find(|c| c.number == number) else { return Ok(()) };
        if !found.ty.is_integer() {
            let text = "identity column type must be smallint, integer, or bigint";
            return Err(SqlError::new(SqlState::InvalidParameterValue, text));
        }
        if !found.not_null {
            return refuse("must be declared NOT NULL before identity can be added");
        }
        if found.identity_always.is_some() {
            return refuse("is already an identity column");
        }
        if found.default.is_some() {
            return refuse("already has a default value");
        }
        let catalog = self.latest_catalog();
        let name = match &clauses.name {
            Some(name) if catalog.relation(table.schema, name).is_some() => {
                let text = format!("relation \"{name}\" already exists");
                return Err(SqlError::new(SqlState::DuplicateTable, text));
            }
            Some(name) => name.clone(),
            None => names::choose(&catalog, table.schema, &[], &table.name, column, "seq"),
        };
        let base = self.new_sequence(Oids::new(&catalog).next(), table.schema, name, found.ty.clone());
        let base = Sequence { owned_by: Some((table.oid, number)), ..base };
        let sequence = Arc::new(defined(base, clauses, true)?);
        let oid = sequence.oid;
        self.change(vec![CatalogChange::Put(Object::Sequence(sequence))])?;
        self.edit_column(table, column, |column| {
            column.default = Some(ColumnDefault::Sequence(oid));
            column.identity_always = Some(always);
        })
    }

    /// SET GENERATED, and clauses of the column's sequence
    pub(super) fn set_identity(
        &mut self,
        table: &Table,
        column: &str,
        always: Option<bool>,
        clauses: &SequenceClauses,
    ) -> SqlResult<()> {
        let Some(sequence) = self.identity_sequence(table, column)? else { return Err(not_identity(table, column)) };
        if *clauses != SequenceClauses::default() {
            self.alter_sequence(&sequence, clauses)?;
        }
        match always {
            Some(always) => self.edit_column(table, column, |column| column.identity_always = Some(always)),
            None => Ok(()),
        }
    }

    /// DROP IDENTITY
    pub(super) fn drop_identity(&mut self, table: &Table, column: &str, if_exists: bool) -> SqlResult<()> {
        let Some(sequence) = self.identity_sequence(table, column)? else {
            let error = not_identity(table, column);
            if !if_exists {
                return Err(error);
            }
            self.notify(format!("{}, skipping", error.message()));
            return Ok(());
        };
        self.edit_column(table, column, |column| {
            column.default = None;
            column.identity_always = None;
        })?;
        self.change(vec![CatalogChange::Remove(sequence.oid)])
    }

    fn identity_sequence(&self, table: &Table, column: &str) -> SqlResult<Option<Arc<Sequence>>> {
        let number = number_of(table, column)?;
        let found = table.columns.iter().find(|c| c.number == number && c.identity_always.is_some());
        Ok(match found.and_then(|column| column.default.as_ref()) {
            Some(ColumnDefault::Sequence(oid)) => self.latest_catalog().sequence(*oid).cloned(),
            _ => None,
        })
    }
}

fn not_identity(table: &Table, column: &str) -> SqlError {
    let text = format!("column \"{column}\" of relation \"{}\" is not an identity column", table.name);
    SqlError::new(SqlState::ObjectNotInPrerequisiteState, text)
}
