//! Plans by normalized text.
//!
//! A statement is kept under its text with the literals lifted where its plan is a point read or write; else under its
//! text as it is. The key also holds what names and types depend on: tenant, search path, declared parameter types. A
//! plan belongs to one version of the catalog and is planned again for another.

use std::fmt::Write as _;
use std::sync::{Arc, Weak};

use perigee_plan::{Plan, Prepared, SessionCommand};
use perigee_types::catalog::Catalog;
use perigee_types::numeric::Numeric;
use perigee_types::{SqlResult, SqlType, Value};
use quick_cache::sync::Cache;

use super::context::PlanContext;
use super::normalize::{Class, Literal, Normalized, normalize, trimmed};
use super::parse::parse;
use super::plan::{plan, plan_point, untyped_value};
use super::statement::Statement;

/// Texts longer than this are not kept.
const TEXT_BYTES_MAX: usize = 64 << 10;

/// Plans by normalized text, search path, declared types and catalog version. Shared by all sessions.
#[derive(Debug)]
pub struct StatementCache {
    plans: Cache<Box<str>, Entry>,
}

#[derive(Clone, Debug)]
enum Entry {
    /// A plan, and the catalog it was made for: a transaction's own catalog may have the version of the shared one.
    Plan(Arc<Prepared>, Weak<Catalog>),
    /// The text with lifted literals makes no point plan: the statement is kept under its own text.
    Unlifted,
}

impl StatementCache {
    /// A cache of about `capacity` plans.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self { plans: Cache::new(capacity) }
    }

    /// The plan of a text that holds one statement and was planned before, and the values of its literals: they are the
    /// plan's parameters (such a statement has none of its own). No parser runs. `None`: parse it and ask [`Self::plan`].
    ///
    /// # Errors
    /// `22P02` and the like where a literal is no value of the type that it stands for.
    pub fn lookup(&self, text: &str, context: &PlanContext) -> SqlResult<Option<(Arc<Prepared>, Vec<Value>)>> {
        let text = trimmed(text);
        if text.len() > TEXT_BYTES_MAX {
            return Ok(None);
        }
        if context.declared.is_empty()
            && let Some(normalized) = normalize(text)
        {
            match self.get(&lifted_key(&normalized, context), context) {
                Some(Entry::Plan(prepared, _)) => {
                    let values = values(text, &normalized.literals, &prepared.parameters, context)?;
                    return Ok(Some((prepared, values)));
                }
                Some(Entry::Unlifted) => {}
                None => return Ok(None),
            }
        }
        match self.get(&exact_key(text, context), context) {
            Some(Entry::Plan(prepared, _)) => Ok(Some((prepared, Vec::new()))),
            _ => Ok(None),
        }
    }

    /// The plan of a parsed statement, from the cache or new, and the values of its lifted literals.
    ///
    /// # Errors
    /// What planning refuses.
    pub fn plan(&self, statement: &Statement, context: &PlanContext) -> SqlResult<(Arc<Prepared>, Vec<Value>)> {
        // A literal that does not fit is reported by planning the statement as it is.
        if let Ok(Some(found)) = self.lookup(&statement.text, context) {
            return Ok(found);
        }
        if context.declared.is_empty()
            && let Some(normalized) = normalize(&statement.text)
        {
            let key = lifted_key(&normalized, context);
            if let Some(prepared) = plan_lifted(&normalized, context) {
                self.insert(key, &prepared, context);
                if let Ok(values) = values(&statement.text, &normalized.literals, &prepared.parameters, context) {
                    return Ok((prepared, values));
                }
            } else {
                self.plans.insert(key.into_boxed_str(), Entry::Unlifted);
            }
        }
        let prepared = plan(statement, context)?;
        if is_kept(&prepared) && statement.text.len() <= TEXT_BYTES_MAX {
            self.insert(exact_key(&statement.text, context), &prepared, context);
        }
        Ok((prepared, Vec::new()))
    }

    /// How many plans are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.plans.len()
    }

    /// Whether nothing is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.plans.is_empty()
    }

    /// Forgets all plans.
    pub fn clear(&self) {
        self.plans.clear();
    }

    /// An entry that holds for the context's catalog; one of an older catalog is dropped.
    fn get(&self, key: &str, context: &PlanContext) -> Option<Entry> {
        let entry = self.plans.get(key)?;
        if let Entry::Plan(_, catalog) = &entry
            && !std::ptr::eq(catalog.as_ptr(), Arc::as_ptr(context.catalog))
        {
            self.plans.remove(key);
            return None;
        }
        Some(entry)
    }

    fn insert(&self, key: String, prepared: &Arc<Prepared>, context: &PlanContext) {
        let entry = Entry::Plan(Arc::clone(prepared), Arc::downgrade(context.catalog));
        self.plans.insert(key.into_boxed_str(), entry);
    }
}

/// Whether a plan serves for the same text again. EXECUTE holds values that the session read; DDL ends its catalog.
fn is_kept(prepared: &Prepared) -> bool {
    match &prepared.plan {
        Plan::Point(_) | Plan::Query(_) | Plan::Write(_) | Plan::With(_) | Plan::Transaction(_) => true,
        Plan::Session(command) => !matches!(command, SessionCommand::Execute { .. } | SessionCommand::Declare { .. }),
        Plan::Ddl(_) | Plan::Copy(_) | Plan::Explain(_) | Plan::Admin(_) => false,
    }
}

/// The point plan of a normalized statement, if it is one.
fn plan_lifted(normalized: &Normalized, context: &PlanContext) -> Option<Arc<Prepared>> {
    // In a result a constant shows its own places, which a parameter's type does not say.
    let shown = |literal: &Literal| literal.class == Class::Numeric;
    let statement = parse(&normalized.text).ok()?.pop()?;
    let declared: Vec<_> = normalized.literals.iter().map(|literal| declared_type(literal.class)).collect();
    let context = PlanContext { declared: &declared, ..*context };
    let prepared = plan_point(&statement, &context).ok()??;
    if prepared.columns.is_some() && normalized.literals.iter().any(shown) {
        return None;
    }
    Some(prepared)
}

fn declared_type(class: Class) -> Option<SqlType> {
    match class {
        Class::Integer => Some(SqlType::Int4),
        Class::Bigint => Some(SqlType::Int8),
        Class::Numeric => Some(SqlType::Numeric(None)),
        Class::Text => None,
    }
}

/// The values of literals as parameters of these types.
fn values(text: &str, literals: &[Literal], types: &[SqlType], context: &PlanContext) -> SqlResult<Vec<Value>> {
    literals.iter().zip(types).map(|(literal, ty)| value(&text[literal.range.clone()], literal, ty, context)).collect()
}

fn value(text: &str, literal: &Literal, ty: &SqlType, context: &PlanContext) -> SqlResult<Value> {
    let integer = || text.parse::<i64>().map(|v| if literal.negative { -v } else { v });
    match literal.class {
        Class::Text => {
            if text.contains('\'') {
                return untyped_value(&text.replace("''", "'"), ty, context);
            }
            untyped_value(text, ty, context)
        }
        Class::Integer => match integer().ok().and_then(|v| i32::try_from(v).ok()) {
            Some(v) => Ok(Value::Int4(v)),
            None => Err(perigee_types::text::out_of_range("integer", text)),
        },
        Class::Bigint => integer().map(Value::Int8).map_err(|_| perigee_types::text::out_of_range("bigint", text)),
        Class::Numeric => {
            let number = Numeric::parse(text)?;
            Ok(if literal.negative { number.negate() } else { number }.into_value())
        }
    }
}

/// The key of a statement with lifted literals.
fn lifted_key(normalized: &Normalized, context: &PlanContext) -> String {
    let mut key = String::with_capacity(normalized.text.len() + normalized.literals.len() + 32);
    key.push_str(&normalized.text);
    key.push('\0');
    key.extend(normalized.literals.iter().map(|literal| match literal.class {
        Class::Integer => 'i',
        Class::Bigint => 'l',
        Class::Numeric => 'n',
        Class::Text => 's',
    }));
    add_context(&mut key, context);
    key
}

/// The key of a statement as it is written.
fn exact_key(text: &str, context: &PlanContext) -> String {
    let mut key = String::with_capacity(text.len() + 32);
    key.push_str(trimmed(text));
    key.push_str("\0=");
    for ty in context.declared {
        match ty {
            // Written as the type's oid: modifiers are not declared.
            Some(ty) => {
                let _ = write!(key, "{},", ty.oid());
            }
            None => key.push(','),
        }
    }
    add_context(&mut key, context);
    key
}

fn add_context(key: &mut String, context: &PlanContext) {
    let _ = write!(key, "\0{}", context.tenant);
    for schema in context.search_path {
        key.push('\0');
        key.push_str(schema);
    }
}

#[cfg(test)]
#[path = "cache_tests.rs"]
mod tests;
