//! Names that PostgreSQL makes for what has none, and those that no column may have.

use std::collections::HashSet;

use perigee_types::catalog::{Catalog, Object, Table};
use perigee_types::{Oid, SqlError, SqlResult, SqlState};

/// Bytes of an identifier.
const NAME_BYTES_MAX: usize = 63;

/// Names that stand for what each row has besides its columns.
const SYSTEM_COLUMNS: [&str; 6] = ["tableoid", "ctid", "xmin", "xmax", "cmin", "cmax"];

/// Refuses names of system columns.
///
/// # Errors
/// `42701`
pub(super) fn check_column(name: &str) -> SqlResult<()> {
    match SYSTEM_COLUMNS.contains(&name) {
        true => Err(SqlError::new(
            SqlState::DuplicateColumn,
            format!("column name \"{name}\" conflicts with a system column name"),
        )),
        false => Ok(()),
    }
}

/// `first_second_label`, shortened to fit and numbered until it is free in the schema.
pub(super) fn choose(
    catalog: &Catalog,
    schema: Oid,
    taken: &[String],
    first: &str,
    second: &str,
    label: &str,
) -> String {
    for number in 0.. {
        let label = if number == 0 { label.to_owned() } else { format!("{label}{number}") };
        let name = make(first, second, &label);
        if catalog.relation(schema, &name).is_none() && !taken.contains(&name) {
            return name;
        }
    }
    unreachable!("numbers do not end")
}

/// The name of a constraint of `table`: free among all constraints of its schema, as PostgreSQL chooses it.
pub(super) fn choose_constraint(
    catalog: &Catalog,
    table: &Table,
    taken: &[String],
    columns: &str,
    label: &str,
) -> String {
    let mut used: HashSet<&str> = taken.iter().map(String::as_str).collect();
    for object in catalog.objects() {
        match object {
            Object::Table(other) if other.schema == table.schema => {
                used.extend(other.checks.iter().map(|check| check.name.as_str()));
                used.extend(other.foreign_keys.iter().map(|key| key.name.as_str()));
            }
            Object::Index(index) if index.constraint && index.schema == table.schema => {
                used.insert(&index.name);
            }
            _ => {}
        }
    }
    used.extend(table.checks.iter().map(|check| check.name.as_str()));
    used.extend(table.foreign_keys.iter().map(|key| key.name.as_str()));
    for number in 0.. {
        let label = if number == 0 { label.to_owned() } else { format!("{label}{number}") };
        let name = make(&table.name, columns, &label);
        if !used.contains(name.as_str()) {
            return name;
        }
    }
    unreachable!("numbers do not end")
}

/// The name of the type of several ranges of a type.
pub(super) fn multirange(range: &str) -> String {
    let Some((front, behind)) = range.split_once("range") else { return make(range, "", "multirange") };
    let name = format!("{front}multirange{behind}");
    name[..name.floor_char_boundary(NAME_BYTES_MAX)].to_owned()
}

/// Shortens the longer of the two parts first, as PostgreSQL's makeObjectName does.
fn make(first: &str, second: &str, label: &str) -> String {
    let overhead = usize::from(!second.is_empty()) + 1 + label.len();
    let room = NAME_BYTES_MAX.saturating_sub(overhead);
    let (mut a, mut b) = (first.len(), second.len());
    while a + b > room {
        if a > b { a -= 1 } else { b -= 1 }
    }
    let cut = |text: &str, mut end: usize| {
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.get(..end).unwrap_or_default().to_owned()
    };
    let mut name = cut(first, a);
    if !second.is_empty() {
        name.push('_');
        name.push_str(&cut(second, b));
    }
    name.push('_');
    name.push_str(label);
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn multiranges_are_named_as_in_postgresql() {
        assert_eq!(multirange("floatrange"), "floatmultirange");
        assert_eq!(multirange("ranges"), "multiranges");
        assert_eq!(multirange("span"), "span_multirange");
        assert_eq!(multirange(&"x".repeat(63)), format!("{}_multirange", "x".repeat(52)));
        assert_eq!(multirange(&format!("{}range", "x".repeat(58))), format!("{}multi", "x".repeat(58)));
    }

    #[test]
    fn names_are_postgresqls() {
        let catalog = Catalog::bootstrap("postgres");
        let choose = |taken: &[String], first: &str, second: &str, label: &str| {
            super::choose(&catalog, perigee_types::catalog::PUBLIC_SCHEMA, taken, first, second, label)
        };
        assert_eq!(choose(&[], "t", "", "pkey"), "t_pkey");
        assert_eq!(choose(&[], "t", "a_b", "key"), "t_a_b_key");
        assert_eq!(choose(&["t_a_idx".to_owned()], "t", "a", "idx"), "t_a_idx1");
        let long = choose(&[], &"x".repeat(60), &"y".repeat(60), "idx");
        assert_eq!(long.len(), 63);
        assert!(long.ends_with("_idx"));
    }
}
