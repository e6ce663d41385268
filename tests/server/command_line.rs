//! The command line that scripts depend on.

use std::process::Command;

use perigee_testkit::{Server, TestkitError, binary};
use perigee_tests::options;

fn check(arguments: &[&str], code: i32, part: &str) {
    check_with(&[], arguments, code, part);
}

fn check_with(environment: &[(&str, &str)], arguments: &[&str], code: i32, part: &str) {
    let mut command = Command::new(binary::perigee().unwrap());
    let output = command.args(arguments).env_clear().envs(environment.iter().copied()).output().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {text}");
    assert!(text.contains(part), "{arguments:?}: {text:?} lacks {part:?}");
}

#[test]
fn versions_and_configurations_are_shown() {
    check(&["--version"], 0, "perigee 0.");
    check(&["config", "check"], 0, "good");
    check(&["config", "print", "--memory", "1GB"], 0, "root = \"1GB\"");
    check(&["config", "check", "--pg-address", "0.0.0.0:5432"], 2, "--insecure");
    check(&["config", "check", "--durability", "interval", "--peers", "n1=a:1,n2=b:1,n3=c:1"], 2, "voters");
    check(&["config", "check", "--config", "no/such/file"], 2, "no/such/file");
    check(&["node", "--no-such-flag"], 2, "--no-such-flag");
    check(&["log", "verify", "--data-dir", "no/such/folder"], 3, "no/such/folder");
}

#[test]
fn a_reader_that_goes_early_is_no_panic() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = Command::new(binary::perigee().unwrap());
    let output = command.args(["config", "print"]).stdout(writer).output().unwrap();
    assert_eq!(output.status.code(), Some(141));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn sizes_and_layers_of_settings() {
    let print = ["config", "print"];
    check(&["config", "check", "--hot-memory", "256MB"], 0, "memory 768MB of which 256MB hot");
    check(&["config", "check", "--memory", "12XB"], 2, "is not a size");
    check(&["config", "check", "--memory", "1MB"], 2, "at least");
    check(&["config", "check", "--memory", "1GB", "--hot-memory", "2GB"], 2, "memory.hot (--hot-memory)");
    check_with(&[("PERIGEE_MEMORY__ROOT", "2GB")], &print, 0, "root = \"2GB\"");
    check_with(&[("PERIGEE_MEMORY__ROOT", "2GB")], &["config", "print", "--memory", "3GB"], 0, "root = \"3GB\"");
    check_with(&[("PERIGEE_MEMORY__ROOOT", "2GB")], &print, 2, "PERIGEE_MEMORY__ROOOT");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("perigee.toml");
    let with_file = ["config", "print", "--config", file.to_str().unwrap()];
    std::fs::write(&file, "[memory]\nroot = \"1GB\"\n").unwrap();
    check(&with_file, 0, "root = \"1GB\"");
    check_with(&[("PERIGEE_MEMORY__ROOT", "2GB")], &with_file, 0, "root = \"2GB\"");
    std::fs::write(&file, "[memory]\nfoo = 1\n").unwrap();
    check(&with_file, 2, "memory.foo");
    std::fs::write(&file, "[memory\n").unwrap();
    check(&with_file, 2, "line 1");
    check(&["config", "check", "--peers", "x"], 2, "is not a peer");
    check(&["config", "check", "--pg-address", "nonsense"], 2, "is not an address");
    check(&["config", "check", "--id", "a b/c"], 2, "node.id (--id)");
    check(&["node", "--skip-entry", "5"], 2, "--i-lose-data");
}

#[test]
fn passwords_are_not_printed() {
    let environment =
        [("PERIGEE_SECURITY__AUTHENTICATION", "scram-sha-256"), ("PERIGEE_SECURITY__SUPERUSER_PASSWORD", "hunter2")];
    let mut command = Command::new(binary::perigee().unwrap());
    let output = command.args(["config", "print"]).env_clear().envs(environment).output().unwrap();
    assert!(output.status.success());
    assert!(!String::from_utf8_lossy(&output.stdout).contains("hunter2"));
}

#[test]
fn a_public_address_needs_authentication() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("d");
    let node = [
        "node",
        "--data-dir",
        data.to_str().unwrap(),
        "--ops-address",
        "off",
        "--redis-address",
        "off",
        "--pg-address",
        "0.0.0.0:1",
    ];
    check(&node, 2, "--insecure");
    assert!(!data.exists(), "nothing is made before the settings are known to be good");
}

#[test]
fn a_folder_of_someone_else_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("thesis.txt"), "all of it").unwrap();
    let data = folder.path().to_str().unwrap();
    for clean in [&[][..], &["--clean"]] {
        let node =
            ["node", "--data-dir", data, "--ops-address", "off", "--redis-address", "off", "--pg-address", "off"];
        check(&[&node, clean].concat(), 3, "nothing in it was touched");
    }
    let names: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["thesis.txt"]);
}

#[test]
fn a_data_directory_is_for_one_process() {
    let server = perigee_tests::server();
    let data = server.data_dir();
    let data = data.to_str().unwrap();
    check(
        &["node", "--data-dir", data, "--pg-address", "off", "--ops-address", "off", "--redis-address", "off"],
        3,
        "in use",
    );
}

#[test]
fn an_address_in_use_is_named() {
    let server = perigee_tests::server();
    let folder = server.scratch().join("other");
    let address = server.pg().to_string();
    let arguments = [
        "node",
        "--data-dir",
        folder.to_str().unwrap(),
        "--ops-address",
        "off",
        "--redis-address",
        "off",
        "--pg-address",
        &address,
    ];
    check(&arguments, 4, &address);
}

#[tokio::test]
async fn clean_starts_anew() {
    let mut server = perigee_tests::server();
    server.client().await.unwrap().batch_execute("CREATE TABLE t (a int)").await.unwrap();
    assert!(server.stop().unwrap().status.success());
    server.options_mut().flags.push("--clean".to_owned());
    server.restart().unwrap();
    let error = server.client().await.unwrap().batch_execute("SELECT * FROM t").await.unwrap_err();
    assert_eq!(error.code().unwrap().code(), "42P01");
}

#[test]
fn another_name_on_the_same_data_is_refused() {
    let mut server = perigee_tests::server();
    server.stop().unwrap();
    server.options_mut().flags.extend(["--id".to_owned(), "other".to_owned()]);
    let Err(TestkitError::Server { log, .. }) = server.restart() else { panic!("it started") };
    assert!(log.contains("another name than \"other\""), "{log}");
}

#[tokio::test]
async fn the_log_is_verified() {
    let mut server = perigee_tests::server();
    let client = server.client().await.unwrap();
    client.batch_execute("CREATE TABLE t (a int); INSERT INTO t VALUES (1)").await.unwrap();
    server.stop().unwrap();
    check(&["log", "verify", "--data-dir", server.data_dir().to_str().unwrap()], 0, "the log is whole");
}

#[tokio::test]
async fn interval_durability_is_shown() {
    let server = options().flag(&["--durability", "interval"]).start().unwrap();
    let client = server.client().await.unwrap();
    assert!(client.value("SHOW durability").await.unwrap().starts_with("interval"));
    let server = Server::start().unwrap();
    assert_eq!(server.client().await.unwrap().value("SHOW durability").await.unwrap(), "fsync");
}

#[test]
fn a_node_is_asked_whether_it_is_ready() {
    let mut server = perigee_tests::server();
    let at = server.ops().to_string();
    check(&["ready", "--address", &at], 0, "ready");
    check(&["ready", "--address", &at, "--leader"], 0, "ready");
    server.kill();
    check(&["ready", "--address", &at], 1, "cannot reach");
    check(&["ready", "--address", &at, "--wait", "soon"], 2, "not a duration");
    // One that is on its way is waited for.
    server.spawn().unwrap();
    check(&["ready", "--address", &at, "--wait", "2min"], 0, "ready");
}

#[test]
fn certificates_that_are_there_are_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("ca");
    let dir = dir.to_str().unwrap();
    let authority = ["cert", "authority", "--dir", dir];
    check(&authority, 0, "authority.crt");
    check(&["cert", "node", "--dir", dir, "n1"], 0, "n1.crt");
    let made = std::fs::read(folder.path().join("ca/n1.key")).unwrap();
    check(&authority, 2, "authority.key");
    check(&["cert", "authority", "--dir", dir, "--missing"], 0, "is there");
    check(&["cert", "node", "--dir", dir, "--missing", "n1", "n2"], 0, "n1.crt is there");
    assert_eq!(std::fs::read(folder.path().join("ca/n1.key")).unwrap(), made);
    assert!(folder.path().join("ca/n2.key").is_file());
    std::fs::remove_file(folder.path().join("ca/n1.crt")).unwrap();
    check(&["cert", "node", "--dir", dir, "--missing", "n1"], 2, "n1.key");
}

/// A folder without a node takes statements, and is the same folder as a node's.
#[tokio::test]
async fn a_folder_takes_statements_without_ports() {
    let mut server = perigee_tests::server();
    let dir = server.data_dir().to_str().unwrap().to_owned();
    let alone = ["single-node", "--data-dir", &dir, "--memory", "512MB"];
    let run = |statements: &[&str], code: i32, part: &str| check(&[&alone[..], statements].concat(), code, part);
    run(&["-e", "SELECT 1"], 3, "in use");
    server
        .client()
        .await
        .unwrap()
        .batch_execute("CREATE TABLE t (a int PRIMARY KEY); INSERT INTO t VALUES (1)")
        .await
        .unwrap();
    server.kill();
    run(&["--format", "csv", "-e", "INSERT INTO t VALUES (2); SELECT sum(a) FROM t"], 0, "sum\n3");
    run(&["-e", "BEGIN; INSERT INTO t VALUES (3); COMMIT; INSERT INTO t VALUES (3)"], 1, "23505");
    run(&["-e", "\\d t"], 0, "t_pkey");
    run(&["--peers", "n1=127.0.0.1:1,n2=127.0.0.1:2,n3=127.0.0.1:3", "-e", "SELECT 1"], 2, "peers");
    server.restart().unwrap();
    assert_eq!(server.client().await.unwrap().value("SELECT sum(a) FROM t").await.unwrap(), "6");
}
