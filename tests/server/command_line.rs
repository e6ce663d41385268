//! The command line that scripts depend on.

use std::process::{Command, Output};

use perigee_testkit::{Server, TestkitError, binary};
use perigee_tests::options;

fn perigee(arguments: &[&str]) -> Output {
    Command::new(binary::perigee().unwrap()).args(arguments).env_clear().output().unwrap()
}

fn check(arguments: &[&str], code: i32, part: &str) {
    let output = perigee(arguments);
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
    check(&["config", "check", "--durability", "interval", "--peers", "n1=a:1,n2=b:1"], 2, "voters");
    check(&["config", "check", "--config", "no/such/file"], 2, "no/such/file");
    check(&["node", "--no-such-flag"], 2, "--no-such-flag");
    check(&["log", "verify", "--data-dir", "no/such/folder"], 3, "no/such/folder");
}

#[test]
fn a_data_directory_is_for_one_process() {
    let server = perigee_tests::server();
    let data = server.data_dir();
    let data = data.to_str().unwrap();
    check(&["node", "--data-dir", data, "--pg-address", "off", "--ops-address", "off"], 3, "in use");
}

#[test]
fn an_address_in_use_is_named() {
    let server = perigee_tests::server();
    let folder = server.scratch().join("other");
    let address = server.pg().to_string();
    let arguments = ["node", "--data-dir", folder.to_str().unwrap(), "--ops-address", "off", "--pg-address", &address];
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
