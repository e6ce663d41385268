//! Objects as the SQL that makes them.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use perigee_types::catalog::{Check, Deferral, ForeignKey, Index, Object, ReferentialAction, Table};
use perigee_types::partition::{Datum, PartitionBound, PartitionKey};
use perigee_types::text::OutputSettings;
use perigee_types::{Oid, SqlType, Value};
use sqlparser::ast::{DataType, Expr, Ident, ObjectName, visit_expressions, visit_expressions_mut};
use sqlparser::parser::Parser;

use super::expression;
use super::scope::{Relation, Scope};
use crate::sql::PerigeeDialect;

/// A name as SQL needs it: in quotes where it would be read as another.
pub(crate) fn quote_ident(name: &str) -> String {
    let plain = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        && !is_reserved(name);
    if plain { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

/// Words that PostgreSQL 15 does not take as a name of a column or table without quotes.
fn is_reserved(word: &str) -> bool {
    const RESERVED: &[&str] = &[
        "all",
        "analyse",
        "analyze",
        "and",
        "any",
        "array",
        "as",
        "asc",
        "asymmetric",
        "authorization",
        "between",
        "bigint",
        "binary",
        "bit",
        "boolean",
        "both",
        "case",
        "cast",
        "char",
        "character",
        "check",
        "coalesce",
        "collate",
        "collation",
        "column",
        "concurrently",
        "constraint",
        "create",
        "cross",
        "current_catalog",
        "current_date",
        "current_role",
        "current_schema",
        "current_time",
        "current_timestamp",
        "current_user",
        "dec",
        "decimal",
        "default",
        "deferrable",
        "desc",
        "distinct",
        "do",
        "else",
        "end",
        "except",
        "exists",
        "extract",
        "false",
        "fetch",
        "float",
        "for",
        "foreign",
        "freeze",
        "from",
        "full",
        "grant",
        "greatest",
        "group",
        "grouping",
        "having",
        "ilike",
        "in",
        "initially",
        "inner",
        "inout",
        "int",
        "integer",
        "intersect",
        "interval",
        "into",
        "is",
        "isnull",
        "join",
        "lateral",
        "leading",
        "least",
        "left",
        "like",
        "limit",
        "localtime",
        "localtimestamp",
        "national",
        "natural",
        "nchar",
        "none",
        "normalize",
        "not",
        "notnull",
        "null",
        "nullif",
        "numeric",
        "offset",
        "on",
        "only",
        "or",
        "order",
        "out",
        "outer",
        "overlaps",
        "overlay",
        "placing",
        "position",
        "precision",
        "primary",
        "real",
        "references",
        "returning",
        "right",
        "row",
        "select",
        "session_user",
        "setof",
        "similar",
        "smallint",
        "some",
        "substring",
        "symmetric",
        "table",
        "tablesample",
        "then",
        "time",
        "timestamp",
        "to",
        "trailing",
        "treat",
        "trim",
        "true",
        "union",
        "unique",
        "user",
        "using",
        "values",
        "varchar",
        "variadic",
        "verbose",
        "when",
        "where",
        "window",
        "with",
        "xmlattributes",
        "xmlconcat",
        "xmlelement",
        "xmlexists",
        "xmlforest",
        "xmlnamespaces",
        "xmlparse",
        "xmlpi",
        "xmlroot",
        "xmlserialize",
        "xmltable",
    ];
    RESERVED.binary_search(&word).is_ok()
}

/// A relation's name, with its schema.
pub(super) fn qualified(scope: &Scope, relation: Relation) -> String {
    format!("{}.{}", quote_ident(scope.schema_name(relation.schema(scope))), quote_ident(relation.name()))
}

/// A relation's name, with its schema where the bare name means something else: regclass as text.
pub(super) fn short(scope: &Scope, relation: Relation) -> String {
    if scope.is_visible(relation) { quote_ident(relation.name()) } else { qualified(scope, relation) }
}

/// The default of a column with a sequence.
pub(super) fn nextval(scope: &Scope, sequence: Oid) -> String {
    let name = scope.relation(sequence).map_or_else(|| sequence.to_string(), |relation| short(scope, relation));
    format!("nextval('{}'::regclass)", name.replace('\'', "''"))
}

/// A column's default: a string literal has the column's type.
pub(super) fn default(scope: &Scope, expression: &str, ty: &SqlType) -> String {
    let literal = expression.len() > 1
        && expression.starts_with('\'')
        && closing_quote(expression, 1).is_some_and(|end| end + 1 == expression.len());
    let name = match ty {
        SqlType::Varchar(_) => "character varying".to_owned(),
        SqlType::Char(_) => "bpchar".to_owned(),
        SqlType::Numeric(_) => "numeric".to_owned(),
        SqlType::Enum(of) => super::functions::type_name(scope, of.oid()),
        ty => ty.without_second_digits().to_string(),
    };
    if literal { format!("{expression}::{name}") } else { with_type_names(expression) }
}

/// An expression whose casts name their types as PostgreSQL prints them: `'a'::text`, where it is kept as `'a'::TEXT`.
fn with_type_names(expression: &str) -> String {
    let parsed = Parser::new(&PerigeeDialect).try_with_sql(expression).and_then(|mut parser| parser.parse_expr());
    let Ok(mut parsed) = parsed else { return expression.to_owned() };
    let mut named = false;
    let _: ControlFlow<()> = visit_expressions_mut(&mut parsed, |expr| {
        if let Expr::Cast { data_type, .. } = expr
            && let Ok(ty) = crate::exec::sql_type_of(data_type)
        {
            *data_type = DataType::Custom(ObjectName::from(vec![Ident::new(ty.to_string())]), Vec::new());
            named = true;
        }
        ControlFlow::Continue(())
    });
    if named { parsed.to_string() } else { expression.to_owned() }
}

/// The quote that closes a text in quotes which begins before `at`: two of them stand for one.
fn closing_quote(text: &str, mut at: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    while let Some(byte) = bytes.get(at) {
        match (byte, bytes.get(at + 1)) {
            (b'\'', Some(b'\'')) => at += 2,
            (b'\'', _) => return Some(at),
            _ => at += 1,
        }
    }
    None
}

/// The names of an index's columns, separated by commas.
fn column_list(table: &Table, columns: &[u16]) -> String {
    let names = columns.iter().filter_map(|n| Some(quote_ident(&table.columns.get(table.number_position(*n)?)?.name)));
    names.collect::<Vec<_>>().join(", ")
}

/// CREATE INDEX. `pretty`: without the table's schema where its bare name means it.
pub(super) fn index(scope: &Scope, table: &std::sync::Arc<Table>, index: &Index, pretty: bool) -> String {
    let unique = if index.unique { "UNIQUE " } else { "" };
    let relation = Relation::Table(table);
    let name = if pretty { short(scope, relation) } else { qualified(scope, relation) };
    let keys: Vec<_> = index
        .key_texts(table, quote_ident)
        .enumerate()
        .map(|(at, text)| {
            let is_expression = text.starts_with('(') && !pretty;
            let text = if is_expression { format!("({})", in_parentheses(&text[1..text.len() - 1])) } else { text };
            format!("{text}{}", key_order(index, at))
        })
        .collect();
    let only = if table.partitioning.is_some() { "ONLY " } else { "" };
    let mut text =
        format!("CREATE {unique}INDEX {} ON {only}{name} USING btree ({})", quote_ident(&index.name), keys.join(", "));
    if !index.definition.include.is_empty() {
        text.push_str(&format!(" INCLUDE ({})", column_list(table, &index.definition.include)));
    }
    if let Some(predicate) = &index.definition.predicate {
        let predicate = if pretty { predicate.clone() } else { in_parentheses(predicate) };
        text.push_str(&format!(" WHERE {predicate}"));
    }
    text
}

/// An expression with PostgreSQL's parentheses around an operator.
fn in_parentheses(expression: &str) -> String {
    let parsed = Parser::new(&PerigeeDialect).try_with_sql(expression).and_then(|mut parser| parser.parse_expr());
    match parsed {
        Ok(
            Expr::BinaryOp { .. }
            | Expr::UnaryOp { .. }
            | Expr::IsNull(_)
            | Expr::IsNotNull(_)
            | Expr::Between { .. }
            | Expr::Like { .. },
        ) => format!("({expression})"),
        _ => expression.to_owned(),
    }
}

/// What stands behind a key in CREATE INDEX.
fn key_order(index: &Index, at: usize) -> &'static str {
    match index.definition.keys.get(at).map(|key| (key.descending, key.nulls_first)) {
        Some((true, true)) => " DESC",
        Some((true, false)) => " DESC NULLS LAST",
        Some((false, true)) => " NULLS FIRST",
        Some((false, false)) | None => "",
    }
}

/// The partition key of a table, as behind PARTITION BY.
pub(super) fn partition_key(table: &Table) -> Option<String> {
    let partitioning = table.partitioning.as_ref()?;
    let parts: Vec<String> = partitioning.keys.iter().map(|key| key_part(table, key)).collect();
    Some(format!("{} ({})", partitioning.strategy.name().to_uppercase(), parts.join(", ")))
}

/// A part of a partition key: a column's name, or an expression, in parentheses where it is no call.
fn key_part(table: &Table, key: &PartitionKey) -> String {
    let column = key.column.and_then(|number| table.columns.get(table.number_position(number)?));
    match (column, &key.expression) {
        (Some(column), _) => quote_ident(&column.name),
        (None, Some(text)) => {
            let parsed = Parser::new(&PerigeeDialect).try_with_sql(text).and_then(|mut p| p.parse_expr());
            match parsed {
                Ok(Expr::Function(_)) => text.clone(),
                Ok(Expr::BinaryOp { .. }) => format!("(({text}))"),
                _ => format!("({text})"),
            }
        }
        (None, None) => String::new(),
    }
}

/// A value as a constant of SQL.
fn constant(value: &Value, ty: &SqlType) -> String {
    let text = perigee_types::text::format(value, ty, &OutputSettings::default());
    match value {
        Value::Null => "NULL".to_owned(),
        Value::Bool(_) => if text == "t" { "true" } else { "false" }.to_owned(),
        Value::Int2(_) | Value::Int4(_) if !text.starts_with('-') => text,
        _ => format!("'{}'", text.replace('\'', "''")),
    }
}

/// One end of a range, as `(1, MAXVALUE)`.
pub fn bound_end(end: &[Datum], parent: &Table) -> String {
    let keys = parent.partitioning.iter().flat_map(|partitioning| &partitioning.keys);
    let parts: Vec<String> = end
        .iter()
        .zip(keys)
        .map(|(datum, key)| match datum {
            Datum::Minimum => "MINVALUE".to_owned(),
            Datum::Maximum => "MAXVALUE".to_owned(),
            Datum::Value(value) => constant(value, &key.ty),
        })
        .collect();
    format!("({})", parts.join(", "))
}

/// Which rows of `parent` a partition takes, as behind PARTITION OF.
pub(super) fn bound(bound: &PartitionBound, parent: &Table) -> String {
    match bound {
        PartitionBound::Default => "DEFAULT".to_owned(),
        PartitionBound::Hash { modulus, remainder } => {
            format!("FOR VALUES WITH (modulus {modulus}, remainder {remainder})")
        }
        PartitionBound::Range { from, to } => {
            format!("FOR VALUES FROM {} TO {}", bound_end(from, parent), bound_end(to, parent))
        }
        PartitionBound::List(values) => {
            let ty = parent.partitioning.as_ref().and_then(|p| p.keys.first()).map_or(SqlType::Text, |k| k.ty.clone());
            let values: Vec<String> = values.iter().map(|value| constant(value, &ty)).collect();
            format!("FOR VALUES IN ({})", values.join(", "))
        }
    }
}

/// What is true of all rows of a partition, of its own bound and of those of the tables above it.
pub(super) fn partition_constraint(scope: &Scope, table: &Table) -> Option<String> {
    let mut parts = Vec::new();
    let (mut child, mut levels) = (table, Vec::new());
    while let Some(bound) = &child.bound {
        let parent = scope.catalog().table(*child.parents.first()?)?;
        levels.push((parent, bound));
        child = parent;
    }
    for (parent, bound) in levels.into_iter().rev() {
        bound_conditions(scope, parent, bound, &mut parts);
    }
    match parts.len() {
        0 => None,
        1 => parts.pop(),
        _ => Some(format!("({})", parts.join(" AND "))),
    }
}

fn bound_conditions(scope: &Scope, parent: &Table, bound: &PartitionBound, parts: &mut Vec<String>) {
    let Some(partitioning) = &parent.partitioning else { return };
    let names: Vec<String> = partitioning.keys.iter().map(|key| key_part(parent, key)).collect();
    let typed = |value: &Value, at: usize| {
        let ty = partitioning.keys.get(at).map_or(SqlType::Text, |key| key.ty.clone());
        let text = constant(value, &ty);
        if text.starts_with('\'') { format!("{text}::{ty}") } else { text }
    };
    match bound {
        PartitionBound::Default => {
            let mut others = Vec::new();
            for other in scope.catalog().children(parent.oid).filter_map(|child| child.bound.as_ref()) {
                let mut conditions = Vec::new();
                if *other != PartitionBound::Default {
                    bound_conditions(scope, parent, other, &mut conditions);
                    others.push(format!("({})", conditions.join(" AND ")));
                }
            }
            if !others.is_empty() {
                parts.push(format!("(NOT ({}))", others.join(" OR ")));
            }
        }
        PartitionBound::Hash { modulus, remainder } => parts.push(format!(
            "satisfies_hash_partition('{}'::oid, {modulus}, {remainder}, {})",
            parent.oid,
            names.join(", ")
        )),
        PartitionBound::List(values) => {
            let name = names.first().cloned().unwrap_or_default();
            let others: Vec<String> = values.iter().filter(|v| !v.is_null()).map(|value| typed(value, 0)).collect();
            let any = match others.as_slice() {
                [] => None,
                [one] => Some(format!("({name} = {one})")),
                many => Some(format!("({name} = ANY (ARRAY[{}]))", many.join(", "))),
            };
            match (values.iter().any(Value::is_null), any) {
                (true, Some(any)) => parts.push(format!("(({name} IS NULL) OR {any})")),
                (true, None) => parts.push(format!("({name} IS NULL)")),
                (false, any) => {
                    parts.push(format!("({name} IS NOT NULL)"));
                    parts.extend(any);
                }
            }
        }
        PartitionBound::Range { from, to } => {
            parts.extend(names.iter().map(|name| format!("({name} IS NOT NULL)")));
            for (end, operator) in [(from, ">"), (to, "<")] {
                let mut alternatives = Vec::new();
                for at in 0..end.len() {
                    let Some(Datum::Value(value)) = end.get(at) else { break };
                    let equal = end.iter().take(at).enumerate().filter_map(|(before, datum)| match datum {
                        Datum::Value(value) => Some(format!("({} = {})", names[before], typed(value, before))),
                        _ => None,
                    });
                    let last = at + 1 == end.len() || !matches!(end.get(at + 1), Some(Datum::Value(_)));
                    let inclusive = if operator == ">" && last { "=" } else { "" };
                    let own = format!("({} {operator}{inclusive} {})", names[at], typed(value, at));
                    let all: Vec<String> = equal.chain([own]).collect();
                    alternatives.push(match all.as_slice() {
                        [one] => one.clone(),
                        many => format!("({})", many.join(" AND ")),
                    });
                }
                match alternatives.as_slice() {
                    [] => {}
                    [one] => parts.push(one.clone()),
                    many => parts.push(format!("({})", many.join(" OR "))),
                }
            }
        }
    }
}

/// The constraint that an index upholds.
pub(super) fn index_constraint(table: &Table, index: &Index) -> String {
    let kind = if table.primary_key == Some(index.oid) { "PRIMARY KEY" } else { "UNIQUE" };
    format!("{kind} ({}){}", column_list(table, &index.columns), deferral(index.definition.deferral))
}

/// A CHECK constraint: of a table, or of a domain where there is none.
pub(super) fn check(scope: &Scope, table: Option<&Table>, check: &Check, pretty: bool) -> String {
    let not_valid = if check.not_valid { " NOT VALID" } else { "" };
    let typed = table.and_then(|table| typed_condition(scope, table, &check.expression, pretty));
    let text = typed.unwrap_or_else(|| parenthesized(&with_type_names(&check.expression)));
    format!("CHECK ({text}){not_valid}")
}

/// A condition over the columns of a table as PostgreSQL prints it; `None` where it is not known well enough.
pub(super) fn typed_condition(scope: &Scope, table: &Table, expression: &str, pretty: bool) -> Option<String> {
    let parsed = crate::sql::parse_expression(expression).ok()?;
    let column = |parts: &[Ident]| {
        let name = crate::sql::fold(parts.last()?);
        let column = table.visible_columns().iter().find(|column| column.name == name)?;
        Some((expression::column_text(None, &column.name), column.ty.clone()))
    };
    let names = expression::Names { scope, column: &column };
    expression::condition(&parsed, &names).map(|node| node.text(pretty))
}

/// An expression as PostgreSQL prints it: operations stand in parentheses.
pub(super) fn parenthesized(expression: &str) -> String {
    let parsed = Parser::new(&PerigeeDialect).try_with_sql(expression).and_then(|mut parser| parser.parse_expr());
    match parsed {
        Ok(Expr::Function(_) | Expr::Identifier(_) | Expr::Nested(_) | Expr::Value(_)) => expression.to_owned(),
        _ => format!("({expression})"),
    }
}

/// A foreign key.
pub(super) fn foreign_key(scope: &Scope, table: &Table, key: &ForeignKey) -> Option<String> {
    let parent = scope.catalog().table(key.references)?;
    let mut text = format!(
        "FOREIGN KEY ({}) REFERENCES {}({})",
        column_list(table, &key.columns),
        short(scope, Relation::Table(parent)),
        column_list(parent, &key.referenced)
    );
    if key.match_full {
        text.push_str(" MATCH FULL");
    }
    for (word, action) in [("UPDATE", key.on_update), ("DELETE", key.on_delete)] {
        let action = match action {
            ReferentialAction::NoAction => continue,
            ReferentialAction::Restrict => "RESTRICT",
            ReferentialAction::Cascade => "CASCADE",
            ReferentialAction::SetNull => "SET NULL",
            ReferentialAction::SetDefault => "SET DEFAULT",
        };
        text.push_str(&format!(" ON {word} {action}"));
    }
    text.push_str(deferral(key.deferral));
    if key.not_valid {
        text.push_str(" NOT VALID");
    }
    Some(text)
}

fn deferral(deferral: Deferral) -> &'static str {
    match deferral {
        Deferral::Never => "",
        Deferral::Immediate => " DEFERRABLE",
        Deferral::Deferred => " DEFERRABLE INITIALLY DEFERRED",
    }
}

/// The definition of a constraint by its oid.
pub(super) fn constraint(scope: &Scope, oid: Oid, pretty: bool) -> Option<String> {
    if let Some(Object::Index(index)) = scope.catalog().object(oid) {
        let table = scope.catalog().table(index.table)?;
        return index.constraint.then(|| index_constraint(table, index));
    }
    let of_domains =
        scope.user_types().filter_map(|ty| ty.kind.as_domain()?.checks.iter().find(|check| check.oid == oid));
    let of_tables = scope.tables().flat_map(|table| table.checks.iter().map(move |check| (Some(&**table), check)));
    let mut checks = of_tables.chain(of_domains.map(|check| (None, check)));
    if let Some((table, found)) = checks.find(|(_, check)| check.oid == oid) {
        return Some(self::check(scope, table, found, pretty));
    }
    let mut keys = scope.tables().flat_map(|table| table.foreign_keys.iter().map(move |key| (table, key)));
    keys.find(|(_, key)| key.oid == oid).and_then(|(table, key)| foreign_key(scope, table, key))
}

/// Numbers of the columns of `table` that an expression names.
pub(crate) fn columns_in(table: &Table, expression: &str) -> Vec<u16> {
    let parsed = Parser::new(&PerigeeDialect).try_with_sql(expression).and_then(|mut parser| parser.parse_expr());
    let Ok(parsed) = parsed else { return Vec::new() };
    let mut found = BTreeSet::new();
    let _: ControlFlow<()> = visit_expressions(&parsed, |expr| {
        let ident = match expr {
            Expr::Identifier(ident) => Some(ident),
            Expr::CompoundIdentifier(idents) => idents.last(),
            _ => None,
        };
        if let Some(ident) = ident {
            let name = if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_lowercase() };
            found.extend(table.column_position(&name).and_then(|at| Some(table.columns.get(at)?.number)));
        }
        ControlFlow::Continue(())
    });
    found.into_iter().collect()
}

/// Splits `a`, `a.b`, `"A"."b"` as PostgreSQL reads a name in a string; `None` where it is no name.
pub(crate) fn parse_ident(text: &str) -> Option<Vec<String>> {
    let mut parts = Vec::new();
    let mut rest = text.trim();
    loop {
        let part;
        if let Some(quoted) = rest.strip_prefix('"') {
            let mut name = String::new();
            let mut chars = quoted.char_indices().peekable();
            let end = loop {
                match chars.next()? {
                    (_, '"') if chars.peek().is_some_and(|(_, c)| *c == '"') => {
                        chars.next();
                        name.push('"');
                    }
                    (at, '"') => break at + 1,
                    (_, c) => name.push(c),
                }
            };
            part = name;
            rest = quoted[end..].trim_start();
        } else {
            let end = rest.find(['.', ' ', '"']).unwrap_or(rest.len());
            part = rest[..end].to_lowercase();
            rest = rest[end..].trim_start();
        }
        if part.is_empty() {
            return None;
        }
        parts.push(part);
        match rest.strip_prefix('.') {
            Some(next) => rest = next.trim_start(),
            None if rest.is_empty() => return Some(parts),
            None => return None,
        }
    }
}

/// A name in a string as messages tell it, `A.b`: without its quotes, folded where it has none.
pub(crate) fn told_name(text: &str) -> String {
    parse_ident(text).map_or_else(|| text.to_owned(), |parts| parts.join("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_where_they_must_be() {
        for (name, quoted) in
            [("t", "t"), ("T", "\"T\""), ("select", "\"select\""), ("a\"b", "\"a\"\"b\""), ("_1", "_1")]
        {
            assert_eq!(quote_ident(name), quoted);
        }
    }

    #[test]
    fn names_in_strings_are_split() {
        let check = |text: &str, want: Option<&[&str]>| {
            let got = parse_ident(text);
            let got: Option<Vec<&str>> = got.as_ref().map(|p| p.iter().map(String::as_str).collect());
            assert_eq!(got.as_deref(), want, "{text}");
        };
        check("T", Some(&["t"]));
        check("public.\"T.x\"", Some(&["public", "T.x"]));
        check("\"a\"\"b\"", Some(&["a\"b"]));
        check("a b", None);
        check("", None);
        check("a.", None);
        assert_eq!([told_name("\"A\".B"), told_name("a b")], ["A.b", "a b"]);
    }
}
