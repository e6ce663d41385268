//! The REST door.

mod api_keys;
mod attacks;
mod changes;
mod console;
mod examples;
mod idempotency;
mod identity;
mod ingest;
mod jwt;
mod keys;
mod limits;
mod load;
mod otlp;
mod sql;
mod tables;
mod transactions;

use perigee_testkit::Server;
use perigee_testkit::http::{self, Answer};
use perigee_tests::options;
use serde_json::{Value, json};

/// A node with the REST door open.
pub(crate) fn server() -> Server {
    options().with_rest().start().unwrap()
}

/// A request with a body of JSON, or none where it is null.
pub(crate) fn call(server: &Server, method: &str, path: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
    let text = if body.is_null() { String::new() } else { body.to_string() };
    let mut all = vec![("Content-Type", "application/json")];
    all.extend_from_slice(headers);
    http::request(server.rest(), method, path, &all, text.as_bytes()).unwrap()
}

/// The value of a metric, all its labels together.
pub(crate) fn metric(server: &Server, name: &str) -> u64 {
    let (_, text) = http::get(server.ops(), "/metrics").unwrap();
    let lines = text.lines().filter(|line| line.split(['{', ' ']).next() == Some(name));
    lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap() as u64).sum()
}

/// What `Authorization: Basic` has for a role.
pub(crate) fn basic(user: &str, password: &str) -> String {
    perigee_api::client::Access::basic(user, password)
}

/// A request with a statement and this `Authorization`.
pub(crate) fn ask(server: &Server, authorization: &str, statement: &str) -> Answer {
    call(server, "POST", "/v1/sql", &[("Authorization", authorization)], &json!({"sql": statement}))
}

/// A node that asks for passwords; the superuser's is [`PASSWORD`].
pub(crate) fn asking() -> perigee_testkit::ServerOptions {
    options()
        .with_rest()
        .env("PERIGEE_SECURITY__AUTHENTICATION", "scram-sha-256")
        .env("PERIGEE_SECURITY__SUPERUSER_PASSWORD", PASSWORD)
}

/// The superuser's password.
pub(crate) const PASSWORD: &str = "correct horse";

/// Runs a statement and gives the document of its result.
pub(crate) fn sql(server: &Server, statement: &str) -> Value {
    let answer = call(server, "POST", "/v1/sql", &[], &json!({"sql": statement}));
    assert_eq!(answer.status, 200, "{statement}: {}", answer.text());
    answer.json()
}

/// The status of an answer and the SQLSTATE of its problem, which has to be one.
pub(crate) fn problem(answer: &Answer) -> (u16, String) {
    assert_eq!(answer.headers["content-type"], "application/problem+json", "{}", answer.text());
    let document = answer.json();
    assert_eq!(document["status"], answer.status, "{document}");
    assert!(document["detail"].is_string() && document["title"].is_string(), "{document}");
    (answer.status, document["sqlstate"].as_str().unwrap_or_default().to_owned())
}
