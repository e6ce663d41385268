//! `perigee admin tier | schema | migrate`: where tables are, what is defined, and files that change it.

use std::path::{Path, PathBuf};

use perigee_api::client::Admin;
use perigee_api::v1;
use serde_json::Value;

use crate::admin_command::{answer, failure};
use crate::admin_json;
use crate::backup_command::text_of;
use crate::cli::{AnswerForm, SchemaCommand, TierCommand};
use crate::failure::Failure;

/// `perigee admin … tier`
pub(crate) async fn tier(
    admin: &mut Admin,
    database: Option<&str>,
    command: Option<&TierCommand>,
    form: AnswerForm,
) -> Result<(), Failure> {
    let database = database.unwrap_or_default().to_owned();
    let tiers = match command {
        Some(TierCommand::Migrate { table, tier }) => {
            let request = v1::MigrateTierRequest { database, table: table.clone(), tier: tier.clone() };
            admin.migrate_tier(request).await
        }
        Some(TierCommand::Show { table }) => admin.tiers(v1::TiersRequest { database, table: table.clone() }).await,
        None => admin.tiers(v1::TiersRequest { database, table: String::new() }).await,
    };
    let tiers = tiers.map_err(failure)?;
    answer(form, || admin_json::tiers(&tiers), || print_tiers(&tiers));
    Ok(())
}

fn print_tiers(tiers: &[v1::TableTier]) {
    for tier in tiers {
        let files = if tier.tier == "cold" { format!(" in {} files", tier.files) } else { String::new() };
        let times = match (tier.oldest_micros, tier.newest_micros) {
            (Some(oldest), Some(newest)) => format!(", {} to {}", text_of(oldest), text_of(newest)),
            _ => String::new(),
        };
        println!(
            "{}.{} {}: {} rows, {} bytes{files}{times}",
            tier.schema, tier.table, tier.tier, tier.rows, tier.bytes
        );
    }
}

/// `perigee admin … schema`
pub(crate) async fn schema(admin: &mut Admin, command: &SchemaCommand, form: AnswerForm) -> Result<(), Failure> {
    let SchemaCommand::Show { table, database } = command;
    let request =
        v1::SchemaRequest { database: database.clone().unwrap_or_default(), table: table.clone().unwrap_or_default() };
    let objects = admin.schema(request).await.map_err(failure)?;
    answer(
        form,
        || admin_json::schema(&objects),
        || {
            for statement in objects.iter().flat_map(|object| &object.statements) {
                println!("{statement};");
            }
        },
    );
    Ok(())
}

/// `perigee admin … migrate`: the files in their order, up to the first that fails.
pub(crate) async fn migrate(
    admin: &mut Admin,
    files: &[PathBuf],
    database: Option<&str>,
    form: AnswerForm,
) -> Result<(), Failure> {
    // All are read before one runs: a name that is misspelt leaves nothing half done.
    let read = files.iter().map(|file| Ok((name_of(file)?, text_in(file)?))).collect::<Result<Vec<_>, Failure>>()?;
    let mut done = Vec::new();
    let mut failed = Ok(());
    for (name, sql) in read {
        let database = database.unwrap_or_default().to_owned();
        let request = v1::ApplyMigrationRequest { database, name: name.clone(), sql };
        match admin.apply_migration(request).await {
            Ok(applied) => done.push((name, applied)),
            Err(error) => {
                failed = Err(Failure::fatal(format!("{name}: {}", failure(error))));
                break;
            }
        }
    }
    let json = || Value::Array(done.iter().map(|(name, done)| admin_json::migration(name, done)).collect());
    let text = || {
        for (name, done) in &done {
            let at = text_of(done.applied_micros);
            match done.applied {
                true => println!("{name}: applied, {} statements", done.statements),
                false => println!("{name}: was applied at {at}"),
            }
        }
    };
    answer(form, json, text);
    failed
}

/// The last part of a path: what a migration is known by, wherever it is run from.
fn name_of(file: &Path) -> Result<String, Failure> {
    let name = file.file_name().and_then(|name| name.to_str());
    name.map(str::to_owned).ok_or_else(|| Failure::Refused(format!("{} names no file", file.display())))
}

fn text_in(file: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(file).map_err(|error| Failure::Refused(format!("{}: {error}", file.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn migrations_are_known_by_their_file() {
        assert_eq!(name_of(Path::new("migrations/001 first.sql")).unwrap(), "001 first.sql");
        assert!(matches!(name_of(Path::new("..")), Err(Failure::Refused(_))));
        assert!(matches!(text_in(Path::new("no/such/file")), Err(Failure::Refused(_))));
    }
}
