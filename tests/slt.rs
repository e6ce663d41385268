//! SQL: every `tests/slt/*.slt`, each on a node of its own, and the comparison with PostgreSQL in `tests/differential`.
//!
//! The files say what PostgreSQL says too, unless a `skipif perigee` or `onlyif perigee` stands before a record.

mod differential;

use std::path::{Path, PathBuf};

use perigee_testkit::{Client, slt};

fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("slt");
    let entries = std::fs::read_dir(folder).expect("tests/slt is there");
    let mut files: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "slt"));
    files.sort();
    files
}

/// `PERIGEE_SLT_POSTGRES=127.0.0.1:PORT` runs the files against a PostgreSQL instead, whose schema `public` is emptied
/// for each: that is how they are written.
async fn run(file: &Path) -> Result<(), String> {
    if let Some(address) = std::env::var("PERIGEE_SLT_POSTGRES").ok().and_then(|text| text.parse().ok()) {
        let client = Client::connect(address).await.map_err(|error| error.to_string())?;
        let reset = client.batch_execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public").await;
        reset.map_err(|error| error.to_string())?;
        return slt::run_file(address, "postgres", file).await;
    }
    let server = tokio::task::block_in_place(perigee_tests::server);
    slt::run_file(server.pg(), "perigee", file).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_file_passes() {
    let files = files();
    assert!(!files.is_empty());
    let mut failed = Vec::new();
    for file in &files {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        match run(file).await {
            Ok(()) => println!("{name}: ok"),
            Err(error) => {
                println!("{name}: FAILED");
                failed.push(format!("{name}:\n{error}"));
            }
        }
    }
    assert!(failed.is_empty(), "{} of {} files failed\n\n{}", failed.len(), files.len(), failed.join("\n\n"));
}
