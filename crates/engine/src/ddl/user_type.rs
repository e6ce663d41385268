//! CREATE TYPE, ALTER TYPE; CREATE DOMAIN, ALTER DOMAIN.
//!
//! A column holds its enumerated type whole, so that what reads and writes values needs no catalog. When the type
//! changes, so do the tables that have it; their rows stay as they are.

use std::collections::BTreeSet;
use std::sync::Arc;

use perigee_plan::ddl::{AlterType, CheckConstraint, TypeDefinition};
use perigee_types::catalog::{
    Catalog, CatalogChange, Check, ColumnDefault, Domain, Index, Object, Table, TypeKind, UserType, View,
};
use perigee_types::enum_type::EnumType;
use perigee_types::range::UserRange;
use perigee_types::{CompositeType, Oid, SqlError, SqlResult, SqlState, SqlType};

use super::Oids;
use crate::session::Session;

impl Session {
    pub(super) fn create_type(&mut self, schema: Oid, name: &str, definition: &TypeDefinition) -> SqlResult<()> {
        let schema = self.creation_schema(schema)?;
        let catalog = self.latest_catalog();
        refuse_taken(&catalog, schema, name)?;
        let mut oids = Oids::new(&catalog);
        let (oid, array) = (oids.next(), oids.next());
        let mut others = Vec::new();
        let kind = match definition {
            TypeDefinition::Enum(labels) => {
                let labels: Vec<_> = labels.iter().map(|label| (oids.next(), label.clone())).collect();
                TypeKind::Enum(Arc::new(EnumType::new(oid, array, name, &labels)?))
            }
            TypeDefinition::Composite(attributes) => {
                let (name, attributes) = (name.to_owned(), attributes.clone());
                TypeKind::Composite(Arc::new(CompositeType { oid, array, relation: oids.next(), name, attributes }))
            }
            TypeDefinition::Range { subtype, subtype_diff, multirange } => {
                let several = match multirange {
                    Some(given) => given.clone(),
                    None => super::names::multirange(name),
                };
                if several == name {
                    return Err(taken(name));
                }
                refuse_taken(&catalog, schema, &several).map_err(|error| match multirange {
                    Some(_) => error,
                    None => error
                        .detail(format!("It would be the name of the multirange type of type \"{name}\"."))
                        .hint("Give it another one with multirange_type_name."),
                })?;
                let of = Arc::new(UserRange {
                    oid,
                    array,
                    name: name.to_owned(),
                    multirange: oids.next(),
                    multirange_array: oids.next(),
                    multirange_name: several.clone(),
                    subtype: subtype.clone(),
                    subtype_diff: *subtype_diff,
                });
                others.push((of.multirange, of.multirange_array, several, TypeKind::Multirange(Arc::clone(&of))));
                TypeKind::Range(of)
            }
            TypeDefinition::Domain { base, of, default, not_null, checks } => {
                let mut domain = Domain {
                    base: base.clone(),
                    of: *of,
                    default: default.clone(),
                    not_null: *not_null,
                    checks: Vec::new(),
                };
                for check in checks {
                    add_check(&mut domain, name, check, oids.next())?;
                }
                TypeKind::Domain(domain)
            }
        };
        let (tenant, owner) = (self.tenant, self.current_role());
        let made =
            std::iter::once((oid, array, name.to_owned(), kind)).chain(others).map(|(oid, array, name, kind)| {
                let ty = UserType { oid, array, tenant, schema, name, owner, kind, comment: None };
                CatalogChange::Put(Object::Type(Arc::new(ty)))
            });
        self.change(made.collect())
    }

    pub(super) async fn alter_type(&mut self, oid: Oid, action: &AlterType) -> SqlResult<()> {
        let catalog = self.latest_catalog();
        let Some(Object::Type(old)) = catalog.object(oid) else {
            return Err(SqlError::new(SqlState::UndefinedObject, format!("type with OID {oid} does not exist")));
        };
        let mut new = UserType::clone(old);
        let of = match &old.kind {
            TypeKind::Enum(of) => of,
            TypeKind::Domain(_) => return self.alter_domain(&catalog, new, action).await,
            TypeKind::Composite(_) | TypeKind::Range(_) => return self.alter_owner(&catalog, new, action),
            TypeKind::Multirange(_) => {
                let text = format!("{} is not an enum", old.name);
                return Err(match action {
                    AlterType::AddValue { .. } | AlterType::RenameValue { .. } => {
                        SqlError::new(SqlState::WrongObjectType, text)
                    }
                    _ => SqlError::unsupported("ALTER TYPE of a multirange type"),
                });
            }
        };
        match action {
            AlterType::AddValue { label, if_not_exists, place } => {
                if of.labels().iter().any(|known| known.label == *label) && *if_not_exists {
                    self.notify(format!("enum label \"{label}\" already exists, skipping"));
                    return Ok(());
                }
                new.kind = TypeKind::Enum(Arc::new(of.with_label(Oids::new(&catalog).next(), label, place)?));
            }
            AlterType::RenameValue { from, to } => new.kind = TypeKind::Enum(Arc::new(of.with_renamed(from, to)?)),
            AlterType::Rename { to } => {
                refuse_taken(&catalog, old.schema, to)?;
                new.name.clone_from(to);
                new.kind = TypeKind::Enum(Arc::new(of.renamed(to)));
            }
            AlterType::SetSchema { schema } if *schema == old.schema => return Ok(()),
            AlterType::SetSchema { schema } => {
                refuse_taken(&catalog, *schema, &old.name)?;
                new.schema = *schema;
            }
            AlterType::Owner(role) => {
                new.owner = catalog.role(role).map(|role| role.oid).ok_or_else(|| {
                    SqlError::new(SqlState::UndefinedObject, format!("role \"{role}\" does not exist"))
                })?;
            }
            _ => return Err(SqlError::new(SqlState::WrongObjectType, format!("\"{}\" is not a domain", old.name))),
        }
        let changed = new.kind != old.kind;
        let kind = new.kind.clone();
        self.change(vec![CatalogChange::Put(Object::Type(Arc::new(new)))])?;
        match kind {
            TypeKind::Enum(of) if changed => {
                self.spread_enum(&catalog, &of).await?;
                match action {
                    AlterType::RenameValue { from, to } => self.rename_in_expressions(&of, from, to),
                    _ => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }

    /// What can be altered of composite types and of ranges.
    fn alter_owner(&mut self, catalog: &Catalog, mut new: UserType, action: &AlterType) -> SqlResult<()> {
        let mut several = None;
        match action {
            AlterType::Owner(role) => {
                new.owner = catalog.role(role).map(|role| role.oid).ok_or_else(|| {
                    SqlError::new(SqlState::UndefinedObject, format!("role \"{role}\" does not exist"))
                })?;
                if let TypeKind::Range(of) = &new.kind
                    && let Some(Object::Type(ty)) = catalog.object(of.multirange)
                {
                    several = Some(UserType { owner: new.owner, ..UserType::clone(ty) });
                }
            }
            AlterType::AddValue { .. } | AlterType::RenameValue { .. } => {
                return Err(SqlError::new(SqlState::WrongObjectType, format!("{} is not an enum", new.name)));
            }
            _ => {
                let what = format!("ALTER TYPE of {}, other than its owner,", described(&new.kind));
                return Err(SqlError::unsupported(what));
            }
        }
        let changed = [Some(new), several].into_iter().flatten();
        self.change(changed.map(|ty| CatalogChange::Put(Object::Type(Arc::new(ty)))).collect())
    }

    async fn alter_domain(&mut self, catalog: &Catalog, mut new: UserType, action: &AlterType) -> SqlResult<()> {
        let TypeKind::Domain(domain) = &mut new.kind else { return Ok(()) };
        let mut tightens = false;
        match action {
            AlterType::SetDefault(default) => domain.default.clone_from(default),
            AlterType::SetNotNull(not_null) => {
                tightens = *not_null && !domain.not_null;
                domain.not_null = *not_null;
            }
            AlterType::AddCheck(check) => {
                add_check(domain, &new.name, check, Oids::new(catalog).next())?;
                tightens = true;
            }
            AlterType::DropConstraint { name, if_exists } => {
                let before = domain.checks.len();
                domain.checks.retain(|check| check.name != *name);
                if domain.checks.len() == before {
                    let text = format!("constraint \"{name}\" of domain \"{}\" does not exist", new.name);
                    if !if_exists {
                        return Err(SqlError::new(SqlState::UndefinedObject, text));
                    }
                    self.notify(format!("{text}, skipping"));
                    return Ok(());
                }
            }
            AlterType::RenameConstraint { from, to } => {
                if domain.checks.iter().any(|check| check.name == *to) {
                    let text = format!("constraint \"{to}\" for domain {} already exists", new.name);
                    return Err(SqlError::new(SqlState::DuplicateObject, text));
                }
                let found = domain.checks.iter_mut().find(|check| check.name == *from).ok_or_else(|| {
                    let text = format!("constraint \"{from}\" for domain {} does not exist", new.name);
                    SqlError::new(SqlState::UndefinedObject, text)
                })?;
                found.name.clone_from(to);
            }
            AlterType::Rename { to } => {
                refuse_taken(catalog, new.schema, to)?;
                new.name.clone_from(to);
            }
            AlterType::SetSchema { schema } if *schema == new.schema => return Ok(()),
            AlterType::SetSchema { schema } => {
                refuse_taken(catalog, *schema, &new.name)?;
                new.schema = *schema;
            }
            AlterType::Owner(role) => {
                new.owner = catalog.role(role).map(|role| role.oid).ok_or_else(|| {
                    SqlError::new(SqlState::UndefinedObject, format!("role \"{role}\" does not exist"))
                })?;
            }
            AlterType::AddValue { .. } | AlterType::RenameValue { .. } => {
                return Err(SqlError::new(SqlState::WrongObjectType, format!("{} is not an enum", new.name)));
            }
        }
        let oid = new.oid;
        self.change(vec![CatalogChange::Put(Object::Type(Arc::new(new)))])?;
        self.spread_domain(oid, tightens).await
    }

    /// Lets the tables with columns of a domain know that it has changed; `tightens`: tests their rows.
    async fn spread_domain(&mut self, domain: Oid, tightens: bool) -> SqlResult<()> {
        let catalog = self.latest_catalog();
        let is_of = |oid: Option<Oid>| catalog.domains(oid).any(|(ty, _)| ty.oid == domain);
        for object in catalog.objects() {
            let Object::Table(table) = object else { continue };
            if !table.columns.iter().any(|column| is_of(column.domain)) {
                continue;
            }
            let mut table = Table::clone(&*self.lock_table(table.oid, &table.name).await?);
            table.version += 1;
            let table = Arc::new(table);
            self.change_table(table.clone(), Vec::new(), |row| row)?;
            if !tightens {
                continue;
            }
            let target = self.target_to_test(table.clone())?;
            let rules: Vec<_> = target.rules.checks.iter().filter(|check| check.domain.is_some()).cloned().collect();
            let mut all = self.all_rows(&table).await?;
            while let Some(rows) = all.next().await? {
                let Some((_, check)) = self.find_violation(&target, &rules, &rows).await? else { continue };
                let column = table.columns.iter().find(|column| is_of(column.domain));
                let of = format!("column \"{}\" of table \"{}\"", column.map_or("", |c| &c.name), table.name);
                return Err(if check.domain.as_ref().is_some_and(|rule| rule.not_null) {
                    SqlError::new(SqlState::NotNullViolation, format!("{of} contains null values"))
                } else {
                    let text = format!("{of} contains values that violate the new constraint");
                    SqlError::new(SqlState::CheckViolation, text)
                });
            }
        }
        Ok(())
    }

    /// Drops the columns whose types go, or refuses without CASCADE.
    pub(super) async fn drop_columns_of(&mut self, gone: &BTreeSet<Oid>, cascade: bool) -> SqlResult<()> {
        let catalog = self.latest_catalog();
        let types: Vec<_> = gone
            .iter()
            .filter_map(|oid| match catalog.object(*oid) {
                Some(Object::Type(ty)) => Some(ty),
                _ => None,
            })
            .collect();
        if types.is_empty() {
            return Ok(());
        }
        for object in catalog.objects() {
            let Object::Table(table) = object else { continue };
            // A view may have gone with a column of its table.
            if gone.contains(&table.oid) || self.latest_catalog().table(table.oid).is_none() {
                continue;
            }
            for column in &table.columns {
                let uses = |ty: &&&Arc<UserType>| column.domain.or(column.ty.user_type()) == Some(ty.oid);
                let Some(ty) = types.iter().find(uses) else { continue };
                if !cascade {
                    return Err(SqlError::new(
                        SqlState::DependentObjectsStillExist,
                        format!("cannot drop type {} because other objects depend on it", ty.name),
                    )
                    .detail(format!("column {} of table {} depends on type {}", column.name, table.name, ty.name))
                    .hint("Use DROP ... CASCADE to drop the dependent objects too."));
                }
                self.notify(format!("drop cascades to column {} of table {}", column.name, table.name));
                let table = self.lock_table(table.oid, &table.name).await?;
                self.drop_column(&table, &column.name, true, true).await?;
            }
        }
        Ok(())
    }

    /// Lets expressions that are kept as text follow the new text of a label: those that cannot be read with the old one.
    fn rename_in_expressions(&mut self, of: &Arc<EnumType>, from: &str, to: &str) -> SqlResult<()> {
        let catalog = self.latest_catalog();
        for object in catalog.objects() {
            let Object::Table(table) = object else { continue };
            if !table.columns.iter().any(|column| column.ty.user_type() == Some(of.oid())) {
                continue;
            }
            let renamed = |text: &str| perigee_query::sql::renamed_literal(text, from, to);
            let mut changed = Table::clone(table);
            for check in &mut changed.checks {
                let mut alone = Table::clone(table);
                alone.checks = vec![check.clone()];
                if self.plan_rules(&Arc::new(alone)).is_err() {
                    check.expression = renamed(&check.expression)?;
                }
            }
            for place in 0..changed.columns.len() {
                let mut alone = Table::clone(table);
                alone.checks.clear();
                for (at, column) in alone.columns.iter_mut().enumerate() {
                    if at != place {
                        column.default = None;
                    }
                }
                let alone = Arc::new(alone);
                let fails = self.plan_rules(&alone).is_err()
                    || self
                        .with_plan_context(&[], |_, c| perigee_query::sql::column_default(&alone, place, c))
                        .is_err();
                let Some(column) = changed.columns.get_mut(place).filter(|_| fails) else { continue };
                if let Some(ColumnDefault::Expression(text) | ColumnDefault::Generated(text)) = &mut column.default {
                    *text = renamed(text)?;
                }
            }
            let mut others = Vec::new();
            let is_changed = |index: &Index| {
                changed
                    .columns
                    .iter()
                    .zip(&table.columns)
                    .any(|(new, old)| new != old && index.columns.contains(&new.number))
            };
            for index in catalog.indexes_of(table).filter(|index| is_changed(index)) {
                let mut index = Index::clone(index);
                let expressions = index.definition.keys.iter_mut().filter_map(|key| key.expression.as_mut());
                for text in expressions.chain(index.definition.predicate.as_mut()) {
                    *text = renamed(text)?;
                }
                others.push(CatalogChange::Put(Object::Index(Arc::new(index))));
            }
            if changed != **table {
                changed.version += 1;
                self.change_table(Arc::new(changed), others, |row| row)?;
            }
        }
        Ok(())
    }

    /// Puts the new definition of an enumerated type into the tables and views that have it.
    async fn spread_enum(&mut self, catalog: &Catalog, of: &Arc<EnumType>) -> SqlResult<()> {
        let concerned = |ty: &SqlType| ty.with_enum(of).is_some();
        for object in catalog.objects() {
            match object {
                Object::Table(table) if table.columns.iter().any(|column| concerned(&column.ty)) => {
                    let mut table = Table::clone(&*self.lock_table(table.oid, &table.name).await?);
                    for column in &mut table.columns {
                        if let Some(ty) = column.ty.with_enum(of) {
                            column.ty = ty;
                        }
                    }
                    table.version += 1;
                    self.change_table(Arc::new(table), Vec::new(), |row| row)?;
                }
                Object::View(view) if view.columns.iter().any(|(_, ty)| concerned(ty)) => {
                    let mut view = View::clone(view);
                    for (_, ty) in &mut view.columns {
                        if let Some(new) = ty.with_enum(of) {
                            *ty = new;
                        }
                    }
                    self.change(vec![CatalogChange::Put(Object::View(Arc::new(view)))])?;
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Adds a CHECK to a domain under its own name or one that is free.
fn add_check(domain: &mut Domain, name: &str, check: &CheckConstraint, oid: Oid) -> SqlResult<()> {
    let taken = |name: &str| domain.checks.iter().any(|known| known.name == name);
    let chosen = match &check.name {
        Some(given) if taken(given) => {
            let text = format!("constraint \"{given}\" for domain \"{name}\" already exists");
            return Err(SqlError::new(SqlState::DuplicateObject, text));
        }
        Some(given) => given.clone(),
        None => {
            let mut chosen = format!("{name}_check");
            let mut number = 0;
            while taken(&chosen) {
                number += 1;
                chosen = format!("{name}_check{number}");
            }
            chosen
        }
    };
    let expression = perigee_query::sql::check_text(&check.expression, name, None)?;
    domain.checks.push(Check { oid, name: chosen, expression, inherited: 0, local: true, not_valid: false });
    Ok(())
}

/// Types and relations share their names: a relation's rows are of a type of its name.
fn refuse_taken(catalog: &Catalog, schema: Oid, name: &str) -> SqlResult<()> {
    let is_row_type = matches!(catalog.relation(schema, name), Some(Object::Table(_) | Object::View(_)));
    if is_row_type || catalog.user_type(schema, name).is_some() { Err(taken(name)) } else { Ok(()) }
}

fn taken(name: &str) -> SqlError {
    SqlError::new(SqlState::DuplicateObject, format!("type \"{name}\" already exists"))
}

fn described(kind: &TypeKind) -> &'static str {
    if matches!(kind, TypeKind::Range(_)) { "a range type" } else { "a composite type" }
}
