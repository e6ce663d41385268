//! What begins with a backslash: for people, and named as psql names it.

use crate::cli::ResultForm;
use crate::client::Client;
use crate::client::connection::SqlFailure;
use crate::client::output::Expanded;
use crate::key_command::constant;

/// What a command has done to the script that it stands in.
pub(super) enum Outcome {
    GoOn,
    End,
}

const HELP: &str = "  \\q                      leave                          \\? or \\help            this
  \\d [NAME]               tables, or one of them         \\dt \\dv \\dm \\ds \\di    tables, views, materialized views, sequences, indexes
  \\dn \\du \\df             schemas, roles, functions      \\l                     databases
  \\dk [PATTERN]           keys of the Redis door         \\dts [PATTERN]         time series
  \\tiers                  rows and bytes by tier         \\cluster               members of the cluster
  \\sessions               who is connected, and does what
  \\c DATABASE             another database               \\conninfo              where this is
  \\x [on|off|auto]        a column on each line          \\format table|json|csv how results are shown
  \\timing [on|off]        how long statements take       \\i FILE                run a file
A statement ends with a semicolon. Ctrl-C cancels it, or clears the line; Ctrl-D leaves; Ctrl-R looks in the history; Tab completes.
";

/// Relations of some kinds, by name. `%p` is the condition on the name.
const RELATIONS: &str = "SELECT n.nspname AS schema, c.relname AS name, CASE c.relkind WHEN 'r' THEN 'table' WHEN 'p' THEN 'partitioned table' \
     WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' WHEN 'S' THEN 'sequence' ELSE 'index' END AS type, \
     pg_get_userbyid(c.relowner) AS owner FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
     WHERE n.nspname NOT IN ('pg_catalog', 'information_schema', 'perigee', 'redis') AND n.nspname NOT LIKE 'pg\\_temp\\_%' AND ";

/// Runs a command, given without its backslash.
pub(super) fn run(client: &mut Client, line: &str) -> Result<Outcome, SqlFailure> {
    let (name, argument) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let argument = argument.trim().trim_end_matches(';').trim_end();
    match name {
        "q" | "quit" => return Ok(Outcome::End),
        "?" | "h" | "help" => print!("{HELP}"),
        "x" => client.output.expanded = expanded(argument, client.output.expanded)?,
        "timing" => {
            client.timing = match argument {
                "" => !client.timing,
                word => is_on(word)?,
            };
            println!("timing is {}", if client.timing { "on" } else { "off" });
        }
        "format" => client.output.form = form(argument)?,
        "c" | "connect" => connect(client, argument)?,
        "conninfo" => {
            let user = client.connection.user.as_deref().unwrap_or("by token, or as the node lets anybody");
            println!("node {}, user {user}, database {}", client.connection.address, database(client));
        }
        "i" => {
            let path = std::path::Path::new(argument);
            client.file(path).map_err(|failure| SqlFailure::of(failure.to_string()))?;
        }
        "d" if !argument.is_empty() => describe(client, argument)?,
        name => {
            let like = perigee_door::keys::like(argument).map_err(|error| SqlFailure::of(error.message()))?;
            let Some(sql) = listing(name, &like) else {
                return Err(SqlFailure::of(format!("\\{name} is not known: \\? says what is")));
            };
            client.statement(&sql)?;
        }
    }
    Ok(Outcome::GoOn)
}

/// The statement of a command that lists something: what is `like` a pattern, or everything.
fn listing(name: &str, like: &str) -> Option<String> {
    let name_like = |column: &str| {
        let matches = if like.is_empty() { "true".to_owned() } else { format!("{column} LIKE {}", constant(like)) };
        format!("{matches} ORDER BY 1, 2")
    };
    let relations = |kinds: &str| format!("{RELATIONS} c.relkind IN ({kinds}) AND {}", name_like("c.relname"));
    Some(match name {
        "d" => relations("'r', 'p', 'v', 'm', 'S'"),
        "dt" => relations("'r', 'p'"),
        "dv" => relations("'v'"),
        "dm" => relations("'m'"),
        "ds" => relations("'S'"),
        "di" => format!(
            "SELECT schemaname AS schema, indexname AS name, tablename AS table, indexdef AS definition FROM pg_indexes \
             WHERE schemaname NOT IN ('pg_catalog', 'information_schema') AND {}",
            name_like("indexname")
        ),
        "dn" => format!(
            "SELECT nspname AS name, pg_get_userbyid(nspowner) AS owner FROM pg_namespace WHERE {}",
            name_like("nspname")
        ),
        "du" => format!(
            "SELECT rolname AS name, rolsuper AS superuser, rolcreaterole AS create_roles, rolcreatedb AS create_databases, \
             rolcanlogin AS login FROM pg_roles WHERE {}",
            name_like("rolname")
        ),
        "df" => format!(
            "SELECT n.nspname AS schema, p.proname AS name, pg_get_function_result(p.oid) AS result, \
             pg_get_function_arguments(p.oid) AS arguments FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace \
             WHERE {} AND {}",
            if like.is_empty() { "n.nspname NOT IN ('pg_catalog', 'information_schema')" } else { "true" },
            name_like("p.proname")
        ),
        "l" => format!(
            "SELECT datname AS name, pg_get_userbyid(datdba) AS owner FROM pg_database WHERE {}",
            name_like("datname")
        ),
        "dk" => format!("SELECT db, key, type, expire_at FROM redis.keys WHERE {} LIMIT 1000", name_like("key")),
        "dts" => format!("SELECT * FROM redis.series WHERE {} LIMIT 1000", name_like("key")),
        "tiers" => format!("SELECT * FROM perigee.tiers WHERE {}", name_like("table_name")),
        "cluster" => "SELECT * FROM perigee.cluster_nodes ORDER BY name".to_owned(),
        "sessions" => "SELECT pid, usename AS user, datname AS database, application_name AS application, client_addr AS client, state, \
             query_start, query FROM pg_stat_activity ORDER BY query_start"
            .to_owned(),
        _ => return None,
    })
}

/// One relation: its columns, indexes and constraints, or its query.
fn describe(client: &mut Client, name: &str) -> Result<(), SqlFailure> {
    let found = client.runtime.block_on(client.connection.rows(&format!(
        "SELECT c.oid, c.relkind, n.nspname || '.' || c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.oid = {}::regclass",
        constant(name)
    )))?;
    let [row] = found.as_slice() else { return Err(SqlFailure::of(format!("there is no relation {name}"))) };
    let [oid, kind, full_name] = row.as_slice() else { return Err(SqlFailure::of("the node has answered otherwise")) };
    println!("{full_name}");
    client.statement(&format!(
        "SELECT a.attname AS column, format_type(a.atttypid, a.atttypmod) AS type, CASE WHEN a.attnotnull THEN 'not null' ELSE '' END \
         AS nullable, coalesce(pg_get_expr(d.adbin, d.adrelid), '') AS default FROM pg_attribute a \
         LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum \
         WHERE a.attrelid = {oid} AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum"
    ))?;
    let mut parts = vec![
        ("indexes", format!("SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = {oid} ORDER BY 1")),
        (
            "constraints",
            format!(
                "SELECT conname || ': ' || pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = {oid} ORDER BY 1"
            ),
        ),
    ];
    if matches!(kind.as_str(), "v" | "m") {
        parts = vec![("query", format!("SELECT pg_get_viewdef({oid})"))];
    }
    for (what, sql) in parts {
        let rows = client.runtime.block_on(client.connection.rows(&sql))?;
        if !rows.is_empty() {
            println!("{what}:");
            for line in rows.iter().flatten().flat_map(|text| text.lines()) {
                println!("  {}", crate::client::connection::clean(line));
            }
        }
    }
    Ok(())
}

fn connect(client: &mut Client, name: &str) -> Result<(), SqlFailure> {
    if client.connection.in_transaction() {
        return Err(SqlFailure::of("a transaction is open: it has its own database"));
    }
    let before = std::mem::replace(&mut client.connection.database, name.to_owned());
    let asked = client.runtime.block_on(client.connection.rows("SELECT current_database()"));
    if let Err(failure) = asked {
        client.connection.database = before;
        return Err(failure);
    }
    println!("database {}", database(client));
    Ok(())
}

/// The name of the database, for people.
pub(super) fn database(client: &Client) -> &str {
    match client.connection.database.as_str() {
        "" => "postgres",
        name => name,
    }
}

fn expanded(word: &str, now: Expanded) -> Result<Expanded, SqlFailure> {
    let next = match word {
        "" if now == Expanded::On => Expanded::Off,
        "" => Expanded::On,
        "auto" => Expanded::Auto,
        word => [Expanded::Off, Expanded::On][usize::from(is_on(word)?)],
    };
    println!("a column on each line: {}", format!("{next:?}").to_lowercase());
    Ok(next)
}

fn is_on(word: &str) -> Result<bool, SqlFailure> {
    match word {
        "on" => Ok(true),
        "off" => Ok(false),
        word => Err(SqlFailure::of(format!("{word:?} is neither on nor off"))),
    }
}

fn form(word: &str) -> Result<ResultForm, SqlFailure> {
    clap::ValueEnum::from_str(word, true).map_err(|_| SqlFailure::of(format!("{word:?} is none of table, json, csv")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_constants() {
        assert!(listing("dt", "o'%").unwrap().contains("c.relname LIKE 'o''%'"));
        assert!(listing("nothing", "").is_none());
    }
}
