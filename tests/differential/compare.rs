//! When two replies are the same.

use perigee_testkit::session::{Answer, Reply, Row};

/// Oids from here on are given out as objects are made.
const FIRST_OID_OF_USERS: u32 = 16_384;

/// What differs between PostgreSQL's reply and Perigee's; `None` when nothing does.
///
/// Rows come in any order where nothing in the statement orders them. Messages of errors are not compared, nor oids of
/// types that the file has made.
pub(super) fn difference(sql: &str, wanted: &Reply, got: &Reply) -> Option<String> {
    for (wanted, got) in wanted.answers.iter().zip(&got.answers) {
        let why = answers(sql, wanted, got);
        if why.is_some() {
            return why;
        }
    }
    if wanted.answers.len() != got.answers.len() {
        return Some(format!("{} results, not {}", got.answers.len(), wanted.answers.len()));
    }
    if wanted.parameters != got.parameters {
        return Some(format!("types of parameters: {:?}, not {:?}", got.parameters, wanted.parameters));
    }
    (wanted.status != got.status).then(|| format!("transaction: {}, not {}", got.status, wanted.status))
}

fn answers(sql: &str, wanted: &Answer, got: &Answer) -> Option<String> {
    match (wanted, got) {
        (Answer::Rows { columns, rows, tag }, Answer::Rows { columns: got_columns, rows: got_rows, tag: got_tag }) => {
            let (wanted_rows, got_rows) = (ordered(sql, rows), ordered(sql, got_rows));
            if let Some((wanted, got)) = wanted_rows.iter().zip(&got_rows).find(|(wanted, got)| wanted != got) {
                return Some(format!("rows: {}, not {}", show(got), show(wanted)));
            }
            if wanted_rows.len() != got_rows.len() {
                return Some(format!("{} rows, not {}", got_rows.len(), wanted_rows.len()));
            }
            let names = |columns: &[_]| names(columns).join(", ");
            if names(columns) != names(got_columns) {
                return Some(format!("columns: {}, not {}", names(got_columns), names(columns)));
            }
            let types = |columns: &[perigee_testkit::session::Column]| -> Vec<u32> {
                columns.iter().map(|column| column.type_oid.min(FIRST_OID_OF_USERS)).collect()
            };
            if types(columns) != types(got_columns) {
                return Some(format!("types: {:?}, not {:?}", types(got_columns), types(columns)));
            }
            (tag != got_tag).then(|| format!("tag: {got_tag}, not {tag}"))
        }
        (Answer::Error { sqlstate, message }, Answer::Error { sqlstate: got_state, message: got_message }) => {
            (sqlstate != got_state).then(|| format!("{got_state} {got_message}, not {sqlstate} {message}"))
        }
        (wanted, got) if wanted == got => None,
        (wanted, got) => Some(format!("{}, not {}", kind(got), kind(wanted))),
    }
}

fn names(columns: &[perigee_testkit::session::Column]) -> Vec<&str> {
    columns.iter().map(|column| column.name.as_str()).collect()
}

fn ordered(sql: &str, rows: &[Row]) -> Vec<Row> {
    let mut rows = rows.to_vec();
    if !is_ordered(sql) {
        rows.sort();
    }
    rows
}

/// Whether ORDER BY stands outside of all parentheses.
fn is_ordered(sql: &str) -> bool {
    let sql = sql.to_ascii_lowercase();
    let mut depth = 0_i32;
    sql.char_indices().any(|(at, c)| {
        depth += i32::from(c == '(') - i32::from(c == ')');
        depth == 0 && sql[at..].starts_with("order by")
    })
}

fn show(row: &Row) -> String {
    let value = |value: &Option<Vec<u8>>| match value {
        None => "NULL".to_owned(),
        Some(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) if !text.contains('\0') => text.to_owned(),
            _ => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
        },
    };
    format!("({})", row.iter().map(value).collect::<Vec<_>>().join(", "))
}

fn kind(answer: &Answer) -> String {
    match answer {
        Answer::Rows { rows, .. } => format!("{} rows {}", rows.len(), rows.first().map(show).unwrap_or_default()),
        Answer::Done(tag) => tag.clone(),
        Answer::Empty => "an empty statement".to_owned(),
        Answer::Copied(data, tag) => format!("{tag} {:?}", String::from_utf8_lossy(data)),
        Answer::Error { sqlstate, message } => format!("{sqlstate} {message}"),
        Answer::Lost(why) => format!("no answer ({why})"),
    }
}
