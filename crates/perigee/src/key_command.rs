//! `perigee admin key`: API keys, by the statements that make and revoke them.

use perigee_api::client::Admin;
use perigee_config::Span;

use crate::admin_command::failure;
use crate::cli::KeyCommand;
use crate::failure::Failure;

/// Runs the command and prints what it gives. The key is all that goes to standard output: scripts keep it.
pub(crate) async fn run(admin: &mut Admin, command: &KeyCommand) -> Result<(), Failure> {
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
            eprintln!("API key {id} of role {role}. It is shown this once:");
            println!("{key}");
        }
        KeyCommand::List => {
            let statement = "SELECT id, rolname, scope, coalesce(expires_at::text, 'never'), created_at::text, name \
                             FROM perigee.api_keys ORDER BY rolname, created_at, id";
            for row in admin.rows(statement).await.map_err(failure)? {
                let cell = |at: usize| row.get(at).and_then(Option::as_deref).unwrap_or_default();
                println!(
                    "{}  {}  scope {}  expires {}  made {}  {}",
                    cell(0),
                    cell(1),
                    cell(2),
                    cell(3),
                    cell(4),
                    cell(5)
                );
            }
        }
        KeyCommand::Revoke { id } => {
            admin.rows(&format!("CALL perigee.revoke_api_key({})", constant(id))).await.map_err(failure)?;
            println!("API key {id} is revoked");
        }
    }
    Ok(())
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
