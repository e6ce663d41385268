//! The files in `config/` say what the code does.

use std::path::{Path, PathBuf};

use perigee_config::{ByteSize, Config, Layers, MemoryPlan};

fn shipped(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config").join(name)
}

fn load(path: PathBuf) -> Config {
    Layers { file: Some(path), ..Layers::default() }.load().expect("the file is a configuration")
}

#[test]
fn the_annotated_file_holds_the_defaults() {
    assert_eq!(load(shipped("perigee.toml")), Config::default());
}

#[test]
fn the_annotated_file_names_every_setting() {
    let text = std::fs::read_to_string(shipped("perigee.toml")).unwrap();
    let mut config = Config::default();
    // Settings without a default stand in the file as comments.
    config.node.data_dir = Some("x".into());
    config.memory.root = Some(ByteSize::mb(1));
    config.memory.hot = Some(ByteSize::mb(1));
    config.storage.disk_reserve = Some(ByteSize::mb(1));
    config.security.superuser_password = Some(perigee_config::Secret::new("x"));
    config.security.admin_token = Some(perigee_config::Secret::new("x"));
    config.security.read_only_token = Some(perigee_config::Secret::new("y"));
    config.security.jwt_secret = Some(perigee_config::Secret::new("x"));
    config.security.jwt_secret_file = Some("x".into());
    config.security.jwt_public_key = Some("x".into());
    config.security.jwks_file = Some("x".into());
    config.security.jwt_issuer = Some("x".to_owned());
    config.security.jwt_audience = Some("x".to_owned());
    config.security.tls_certificate = Some("x".into());
    config.security.tls_key = Some("x".into());
    config.security.tls_client_authority = Some("x".into());
    config.telemetry.file = Some("x".into());
    config.telemetry.otlp_endpoint = Some("x".to_owned());
    let all = toml::Table::try_from(&config).unwrap();
    for (section, settings) in &all {
        let start = text.find(&format!("\n[{section}]\n")).unwrap_or_else(|| panic!("no section [{section}]"));
        let body = &text[start + 2..];
        let body = &body[..body.find("\n[").unwrap_or(body.len())];
        for key in settings.as_table().unwrap().keys() {
            let given = body.lines().any(|line| line.trim_start_matches("# ").starts_with(&format!("{key} = ")));
            assert!(given, "[{section}] {key} is not in config/perigee.toml");
        }
    }
}

#[test]
fn what_is_printed_reads_back() {
    let text = toml::to_string(&Config::default()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("printed.toml");
    std::fs::write(&path, text).unwrap();
    assert_eq!(load(path), Config::default());
}

#[test]
fn the_edge_file_fits_512_mb() {
    let config = load(shipped("edge.toml"));
    let plan = MemoryPlan::new(&config.memory, ByteSize::mb(512)).unwrap();
    assert!(plan.root <= ByteSize::mb(320), "{plan:?}");
}
