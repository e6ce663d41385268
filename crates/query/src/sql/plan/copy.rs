//! COPY.

use std::sync::Arc;

use perigee_plan::command::{CopyFormat, CopyKind};
use perigee_plan::{Copy, Plan};
use perigee_types::catalog::{Object, Table};
use perigee_types::{SqlError, SqlResult, SqlState};
use sqlparser::ast::{Ident, ObjectName, Query, SelectItem};

use super::parameters::Parameters;
use super::update::qualified;
use super::{Planned, names, query, returning, undefined_parameter};
use crate::sql::context::PlanContext;
use crate::sql::parse::fold;
use crate::sql::statement::{CopyColumns, CopyOptions, CopyStatement, CopyTarget};

/// Plans COPY.
///
/// # Errors
/// `42P01`, `42703`, `42701`; `42P10` for a generated column; `22023` for options that do not go together.
pub(super) fn plan(copy: &CopyStatement, context: &PlanContext) -> SqlResult<Planned> {
    let copied = match &copy.target {
        CopyTarget::Table(name, columns) if copy.from => {
            let table = names::table(name, context)?;
            if table.materialized.is_some() {
                let text = format!("cannot copy to materialized view \"{}\"", table.name);
                return Err(SqlError::new(SqlState::WrongObjectType, text));
            }
            let columns = places(&table, columns)?;
            let names: Vec<_> = columns.iter().map(|place| table.columns[*place].name.as_str()).collect();
            let format = format(&copy.options, &names, true)?;
            let filter = match &copy.filter {
                None => None,
                Some(expr) => {
                    let place = "COPY FROM WHERE condition";
                    super::checks::refuse_calls(expr, &format!("{place}s"), place)?;
                    let text = expr.to_string();
                    super::checks::row_condition(&table, &text, context)?;
                    Some(text)
                }
            };
            Copy::FromStdin { table, columns, format, filter }
        }
        CopyTarget::Table(name, columns) => to_stdout(table_query(name, columns, context)?, copy, context)?,
        CopyTarget::Query(query) => to_stdout((**query).clone(), copy, context)?,
    };
    Ok(Planned::command(Plan::Copy(copied), "COPY"))
}

fn to_stdout(query: Query, copy: &CopyStatement, context: &PlanContext) -> SqlResult<Copy> {
    let relational = query::relational(query, context, Parameters::default(), None)?;
    if !relational.parameters.is_empty() {
        return Err(undefined_parameter("$1"));
    }
    let (query, columns) = query::finish(&relational, None, 0, context)?;
    let names: Vec<_> = columns.iter().map(|column| column.name.as_str()).collect();
    let format = format(&copy.options, &names, false)?;
    Ok(Copy::ToStdout { query, columns, format })
}

/// Places of the listed columns; of all that are not generated where none is.
fn places(table: &Table, columns: &[Ident]) -> SqlResult<Vec<usize>> {
    if columns.is_empty() {
        return Ok((0..table.visible_columns().len())
            .filter(|place| table.columns[*place].generated().is_none())
            .collect());
    }
    let mut places = Vec::with_capacity(columns.len());
    for ident in columns {
        let name = fold(ident);
        let place = names::column(table, &name)?;
        if table.columns[place].generated().is_some() {
            return Err(SqlError::new(
                SqlState::InvalidColumnReference,
                format!("column \"{name}\" is a generated column"),
            )
            .detail("Generated columns cannot be used in COPY."));
        }
        if places.contains(&place) {
            return Err(SqlError::new(
                SqlState::DuplicateColumn,
                format!("column \"{name}\" specified more than once"),
            ));
        }
        places.push(place);
    }
    Ok(places)
}

/// `SELECT columns FROM table`
fn table_query(name: &ObjectName, columns: &[Ident], context: &PlanContext) -> SqlResult<Query> {
    let found = names::qualified(name, context)?;
    let table: Arc<Table> = match names::find(&found, context) {
        Some(Object::View(_)) => {
            return Err(SqlError::new(SqlState::WrongObjectType, format!("cannot copy from view \"{}\"", found.1))
                .hint("Try the COPY (SELECT ...) TO variant."));
        }
        Some(Object::Sequence(_)) => {
            return Err(SqlError::new(SqlState::WrongObjectType, format!("cannot copy from sequence \"{}\"", found.1)));
        }
        _ => names::table(name, context)?,
    };
    if table.partitioning.is_some() {
        return Err(SqlError::new(
            SqlState::WrongObjectType,
            format!("cannot copy from partitioned table \"{}\"", table.name),
        )
        .hint("Try the COPY (SELECT ...) TO variant."));
    }
    let item = |place: usize| SelectItem::UnnamedExpr(qualified("t", &table.columns[place].name));
    let items = places(&table, columns)?.into_iter().map(item).collect();
    let mut relation = returning::named("t");
    if let sqlparser::ast::TableFactor::Table { name: relation_name, alias, .. } = &mut relation {
        *relation_name = name.clone();
        // The table's own rows, not those of tables that inherit from it.
        if let Some(sqlparser::ast::ObjectNamePart::Identifier(last)) = relation_name.0.last_mut() {
            *last = Ident::with_quote('"', format!("{}{}", table.name, crate::exec::ONLY_MARK));
        }
        *alias = Some(sqlparser::ast::TableAlias {
            explicit: true,
            name: Ident::with_quote('"', "t"),
            columns: Vec::new(),
            at: None,
        });
    }
    let from = sqlparser::ast::TableWithJoins { relation, joins: Vec::new() };
    Ok(returning::select_query(items, vec![from], None))
}

/// The options with the defaults of their format.
fn format(options: &CopyOptions, columns: &[&str], from: bool) -> SqlResult<CopyFormat> {
    let kind = options.kind.unwrap_or(CopyKind::Text);
    let csv = kind == CopyKind::Csv;
    let only_csv = |present: bool, name: &str| {
        if present && !csv { Err(unavailable(name, "CSV mode")) } else { Ok(()) }
    };
    only_csv(options.quote.is_some(), "QUOTE")?;
    only_csv(options.escape.is_some(), "ESCAPE")?;
    only_csv(options.force_quote.is_some(), "FORCE_QUOTE")?;
    only_csv(options.force_not_null.is_some(), "FORCE_NOT_NULL")?;
    only_csv(options.force_null.is_some(), "FORCE_NULL")?;
    if from && options.force_quote.is_some() {
        return Err(unavailable("FORCE_QUOTE", "COPY TO"));
    }
    if !from && options.force_not_null.is_some() {
        return Err(unavailable("FORCE_NOT_NULL", "COPY FROM"));
    }
    if !from && options.force_null.is_some() {
        return Err(unavailable("FORCE_NULL", "COPY FROM"));
    }
    if kind == CopyKind::Binary {
        for (present, name) in
            [(options.delimiter.is_some(), "DELIMITER"), (options.null.is_some(), "NULL"), (options.header, "HEADER")]
        {
            if present {
                return Err(SqlError::syntax(format!("cannot specify {name} in BINARY mode")));
            }
        }
    }
    let quote = one_byte(options.quote.as_deref(), b'"', "quote")?;
    let format = CopyFormat {
        kind,
        delimiter: one_byte(options.delimiter.as_deref(), if csv { b',' } else { b'\t' }, "delimiter")?,
        null: options.null.clone().unwrap_or_else(|| if csv { String::new() } else { "\\N".to_owned() }),
        header: options.header,
        quote,
        escape: one_byte(options.escape.as_deref(), quote, "escape")?,
        force_quote: chosen(options.force_quote.as_ref(), columns, "FORCE_QUOTE")?,
        force_not_null: chosen(options.force_not_null.as_ref(), columns, "FORCE_NOT_NULL")?,
        force_null: chosen(options.force_null.as_ref(), columns, "FORCE_NULL")?,
    };
    check(&format)?;
    Ok(format)
}

fn check(format: &CopyFormat) -> SqlResult<()> {
    let wrong = |message: &str| Err(SqlError::new(SqlState::InvalidParameterValue, message));
    if matches!(format.delimiter, b'\n' | b'\r') {
        return wrong("COPY delimiter cannot be newline or carriage return");
    }
    if format.null.contains(['\n', '\r']) {
        return wrong("COPY null representation cannot use newline or carriage return");
    }
    match format.kind {
        CopyKind::Text if format.delimiter.is_ascii_alphanumeric() || matches!(format.delimiter, b'\\' | b'.') => {
            wrong("COPY delimiter cannot be a letter, a digit, a backslash or a dot")
        }
        CopyKind::Csv if format.delimiter == format.quote => wrong("COPY delimiter and quote must be different"),
        CopyKind::Csv if format.null.as_bytes().contains(&format.quote) => {
            wrong("CSV quote character must not appear in the NULL specification")
        }
        CopyKind::Text | CopyKind::Csv if format.null.as_bytes().contains(&format.delimiter) => {
            wrong("COPY delimiter character must not appear in the NULL specification")
        }
        _ => Ok(()),
    }
}

fn one_byte(value: Option<&str>, default: u8, name: &str) -> SqlResult<u8> {
    match value.map(str::as_bytes) {
        None => Ok(default),
        Some([byte]) => Ok(*byte),
        Some(_) => Err(SqlError::new(
            SqlState::FeatureNotSupported,
            format!("COPY {name} must be a single one-byte character"),
        )),
    }
}

/// Places of an option's columns among the copied ones.
fn chosen(option: Option<&CopyColumns>, columns: &[&str], name: &str) -> SqlResult<Vec<usize>> {
    match option {
        None => Ok(Vec::new()),
        Some(CopyColumns::All) => Ok((0..columns.len()).collect()),
        Some(CopyColumns::Some(idents)) => idents
            .iter()
            .map(|ident| {
                let column = fold(ident);
                columns.iter().position(|c| *c == column).ok_or_else(|| {
                    SqlError::new(
                        SqlState::InvalidColumnReference,
                        format!("{name} column \"{column}\" not referenced by COPY"),
                    )
                })
            })
            .collect(),
    }
}

fn unavailable(option: &str, only: &str) -> SqlError {
    SqlError::new(SqlState::FeatureNotSupported, format!("COPY {option} is only available in {only}"))
}
