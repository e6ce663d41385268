//! `perigee admin key`: API keys, by the statements that make and revoke them.

use perigee_api::client::Admin;
use perigee_config::Span;
use serde_json::{Value, json};

use crate::admin_command::{answer, failure};
use crate::cli::{AnswerForm, KeyCommand};
use crate::failure::Failure;

/// Runs the command and prints what it gives. The key is all that goes to standard output: scripts keep it.
pub(crate) async fn run(admin: &mut Admin, command: &KeyCommand, form: AnswerForm) -> Result<(), Failure> {
    match command {
        KeyCommand::Create { role, name, expires_in, read_only } => {
            let mut call = format!("CALL perigee.create_api_key({}", constant(role));
            if let Some(name) = name {
                call.push_str(&format!(", name => {}", constant(name)));
            }
            if let Some(span) = expires_in {
                call.push_str(&format!(", expires => {}", constant(&end(admin, span).await?)));
            }
            if *read_only {
                call.push_str(", scope => 'read'");
            }
            let rows = admin.rows(&format!("{call})")).await.map_err(failure)?;
            let [row] = rows.as_slice() else { return Err(Failure::fatal("the node has given no key")) };
            let [Some(id), Some(key)] = row.as_slice() else { return Err(Failure::fatal("the node has given no key")) };
            let text = || {
                eprintln!("API key {id} of role {role}. It is shown this once:");
                println!("{key}");
            };
            answer(form, || json!({"id": id, "role": role, "key": key}), text);
        }
        KeyCommand::List => {
            let statement = "SELECT id, rolname, scope, coalesce(expires_at::text, 'never'), created_at::text, name \
                             FROM perigee.api_keys ORDER BY rolname, created_at, id";
            let rows = admin.rows(statement).await.map_err(failure)?;
            answer(
                form,
                || Value::Array(rows.iter().map(|row| shown(row)).collect()),
                || rows.iter().for_each(|row| print(row)),
            );
        }
        KeyCommand::Revoke { id } => {
            admin.rows(&format!("CALL perigee.revoke_api_key({})", constant(id))).await.map_err(failure)?;
            answer(form, || json!({"id": id, "revoked": true}), || println!("API key {id} is revoked"));
        }
    }
    Ok(())
}

fn cell(row: &[Option<String>], at: usize) -> &str {
    row.get(at).and_then(Option::as_deref).unwrap_or_default()
}

fn print(row: &[Option<String>]) {
    let cell = |at| cell(row, at);
    println!("{}  {}  scope {}  expires {}  made {}  {}", cell(0), cell(1), cell(2), cell(3), cell(4), cell(5));
}

fn shown(row: &[Option<String>]) -> Value {
    let cell = |at| cell(row, at);
    json!({
        "id": cell(0),
        "role": cell(1),
        "scope": cell(2),
        "expires_at": Some(cell(3)).filter(|at| *at != "never"),
        "created_at": cell(4),
        "name": Some(cell(5)).filter(|name| !name.is_empty()),
    })
}

/// When a key ends that lives for so long from now on, by the node's clock.
async fn end(admin: &mut Admin, span: &str) -> Result<String, Failure> {
    let wrong = || Failure::Refused(format!("--expires-in {span:?}: use a time such as 12h or 90d"));
    let seconds = span.parse::<Span>().ok().and_then(Span::get).ok_or_else(wrong)?.as_secs();
    let rows = admin.rows(&format!("SELECT (now() + interval '{seconds} seconds')::text")).await.map_err(failure)?;
    let end = rows.into_iter().flatten().flatten().next();
    end.ok_or_else(|| Failure::fatal("the node has told no time"))
}

/// A text as a constant of SQL.
pub(crate) fn constant(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
