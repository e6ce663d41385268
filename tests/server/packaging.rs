//! Dashboard, alerts, images and the chart name what a node has.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use perigee_testkit::{Server, binary, http};
use perigee_tests::options;
use serde_json::Value;

fn file(path: &str) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A name that a character of belongs to.
fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// The metrics that a text names, each with the labels that it is chosen by.
fn named(text: &str) -> Vec<(&str, Vec<&str>)> {
    let mut named = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("perigee_") {
        let begins = rest[..at].chars().next_back().is_none_or(|before| !is_name(before));
        rest = &rest[at..];
        let end = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
        let (name, behind) = rest.split_at(end);
        rest = behind;
        if !begins {
            continue;
        }
        let matchers =
            behind.strip_prefix('{').and_then(|behind| behind.split_once('}')).map_or("", |(inner, _)| inner);
        let labels = matchers.split(',').filter_map(|matcher| {
            let label = matcher.trim();
            label.find(|c| !is_name(c)).map(|end| &label[..end])
        });
        named.push((name, labels.collect()));
    }
    named
}

/// What the panels and variables of a dashboard ask for.
fn expressions(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::String(text) if name == "expr" || name == "query" => found.push(text.clone()),
                    value => expressions(value, found),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| expressions(value, found)),
        _ => {}
    }
}

/// The metrics of a node with their labels.
fn metrics(server: &Server) -> BTreeMap<String, BTreeSet<String>> {
    let (_, text) = http::get(server.ops(), "/metrics").unwrap();
    let mut metrics: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (name, labels) in text.lines().filter(|line| !line.starts_with('#')).flat_map(named) {
        metrics.entry(name.to_owned()).or_default().extend(labels.into_iter().map(str::to_owned));
    }
    metrics
}

/// A node that has been used in every way that a metric shows with.
async fn used() -> Server {
    let backups = tempfile::tempdir().unwrap().keep();
    let options = options().with_rest().with_grpc().with_redis();
    let options = options
        .env("PERIGEE_BACKUP__URL", format!("file://{}", backups.display()))
        .env("PERIGEE_STORAGE__CHECKPOINT_INTERVAL", "1s")
        .env("PERIGEE_LIMITS__ADDRESS_REQUESTS_PER_MINUTE", "1");
    let server = options.start().unwrap();
    let client = server.client().await.unwrap();
    client.batch_execute("CREATE TABLE t (a int); INSERT INTO t VALUES (1)").await.unwrap();
    client.batch_execute("LOAD 'a'").await.unwrap_err();
    for expected in [200, 429] {
        assert_eq!(http::get(server.rest(), "/docs").unwrap().0, expected);
    }
    // What the node does by itself, in a moment.
    for name in ["perigee_backup_base_time_seconds", "perigee_checkpoint_seconds_count"] {
        while !metrics(&server).contains_key(name) {
            client.batch_execute("INSERT INTO t VALUES (2)").await.unwrap();
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }
    std::fs::remove_dir_all(backups).unwrap();
    server
}

#[tokio::test]
async fn every_metric_that_dashboard_and_alerts_name_is_there() {
    let server = used().await;
    let metrics = metrics(&server);
    let mut texts = vec![file("helm/perigee/files/rules.yaml")];
    expressions(&serde_json::from_str(&file("helm/perigee/files/dashboard.json")).unwrap(), &mut texts);
    assert!(texts.len() > 40, "{texts:?}");
    // Labels that Prometheus adds.
    let added = ["job", "instance"];
    for text in &texts {
        for (name, labels) in named(text) {
            let known =
                metrics.get(name).unwrap_or_else(|| panic!("there is no metric {name}, which is asked for in {text}"));
            for label in labels.into_iter().filter(|label| !added.contains(label)) {
                assert!(known.contains(label), "{name} has no label {label}: {known:?}");
            }
        }
    }
}

#[test]
fn names_and_labels_are_found() {
    let text = r#"rate(perigee_a_total{job="x", by=~"a|b"}[5m]) / perigee_b + my_perigee_c"#;
    assert_eq!(named(text), [("perigee_a_total", vec!["job", "by"]), ("perigee_b", vec![])]);
}

/// Variables of the environment that a text gives a node, with values that stand for those which are elsewhere.
fn variables(text: &str) -> BTreeMap<String, String> {
    let mut variables = BTreeMap::new();
    for line in text.lines() {
        let Some(at) = line.find("PERIGEE_").filter(|_| !line.trim_start().starts_with('#')) else { continue };
        let line = &line[at..];
        let end = line.find(|c| !is_name(c)).unwrap_or(line.len());
        let (name, behind) = line.split_at(end);
        let value = behind.strip_prefix('=').or_else(|| behind.strip_prefix(": ")).unwrap_or_default();
        let value = value.trim_end_matches('\\').trim();
        let is_elsewhere = value.is_empty() || value.contains('$');
        if name.contains("__") {
            variables.insert(name.to_owned(), if is_elsewhere { "n1".to_owned() } else { value.to_owned() });
        }
    }
    variables
}

#[test]
fn every_setting_that_images_chart_and_unit_name_is_there() {
    let image = variables(&file("docker/Dockerfile"));
    assert!(image.contains_key("PERIGEE_LISTEN__PG"), "{image:?}");
    for path in [
        "docker/compose.yaml",
        "docker/compose.cluster.yaml",
        "helm/perigee/templates/statefulset.yaml",
        "config/perigee.service",
    ] {
        let own = variables(&file(path));
        assert!(!own.is_empty(), "{path}");
        let mut command = Command::new(binary::perigee().unwrap());
        command.args(["config", "print"]).env_clear().envs(&image).envs(&own);
        // Of three nodes the last one's name is left; the variable that says so stands in all of them.
        let output = command.output().unwrap();
        assert!(output.status.success(), "{path}: {own:?}\n{}", String::from_utf8_lossy(&output.stderr));
    }
    let configuration = root().join("config/perigee.toml");
    let output =
        Command::new(binary::perigee().unwrap()).args(["config", "check", "--config"]).arg(configuration).output();
    assert!(output.unwrap().status.success());
}
