//! PostgreSQL's protocol message by message: the scripts under `tests/wire/`.

use std::net::SocketAddr;
use std::path::Path;

use perigee_testkit::wire;

#[tokio::test]
async fn scripts_get_the_messages_that_they_expect() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("wire");
    let update = std::env::var("PERIGEE_WIRE_UPDATE").is_ok();
    let only = std::env::var("PERIGEE_WIRE_ONLY").unwrap_or_default();
    let other: Option<SocketAddr> = std::env::var("PERIGEE_WIRE_ADDRESS").ok().map(|text| text.parse().unwrap());
    let server = if other.is_none() { Some(perigee_tests::server()) } else { None };
    let address = other.unwrap_or_else(|| server.as_ref().unwrap().pg());
    let mut files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty());
    let mut failed = Vec::new();
    for file in files.iter().filter(|file| file.to_string_lossy().contains(&only)) {
        let script = std::fs::read_to_string(file).unwrap();
        let got = wire::run(address, &script, update).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        if update {
            std::fs::write(file, got).unwrap();
            continue;
        }
        for (number, (want, got)) in script.lines().zip(got.lines()).enumerate() {
            if want != got {
                failed.push(format!("{}:{}\n  want {want}\n  got  {got}", file.display(), number + 1));
                break;
            }
        }
        if script.lines().count() != got.lines().count() && failed.is_empty() {
            failed.push(format!("{}: {} more came", file.display(), got.lines().count()));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    if let Some(server) = server {
        assert_eq!(server.client().await.unwrap().value("SELECT 1").await.unwrap(), "1", "the node goes on");
    }
}
