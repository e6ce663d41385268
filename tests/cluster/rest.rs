//! HTTP at any node: requests go to whoever leads.

use std::time::{Duration, Instant};

use perigee_testkit::http::{self, Answer};
use perigee_testkit::{Cluster, Server};
use serde_json::{Value, json};

use crate::{PATIENCE, options};

fn call(server: &Server, method: &str, path: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
    let text = if body.is_null() { String::new() } else { body.to_string() };
    let mut all = vec![("Content-Type", "application/json")];
    all.extend_from_slice(headers);
    http::request(server.rest(), method, path, &all, text.as_bytes()).unwrap()
}

fn sql(server: &Server, statement: &str) -> Answer {
    call(server, "POST", "/v1/sql", &[], &json!({"sql": statement}))
}

/// The one value, `n`, of a statement's result.
fn value(server: &Server, statement: &str) -> Value {
    let answer = sql(server, statement);
    assert_eq!(answer.status, 200, "{statement}: {}", answer.text());
    answer.json()["rows"][0]["n"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_go_to_the_leader_and_see_what_others_were_told() {
    let mut cluster = Cluster::start(&options().with_rest()).unwrap();
    let leader = cluster.leader().unwrap();
    let (one, two) = ((leader + 1) % 3, (leader + 2) % 3);
    let servers = cluster.servers();
    assert_eq!(sql(&servers[one], "CREATE TABLE d (a int PRIMARY KEY, b text)").status, 200);
    for number in 0..20 {
        // Each at a follower, and read at the other one right behind.
        let rows = json!([{"a": number, "b": "x"}]);
        assert_eq!(call(&servers[one], "POST", "/v1/tables/d/rows", &[], &rows).status, 201);
        assert_eq!(value(&servers[two], "SELECT count(*) AS n FROM d"), json!(number + 1));
    }
    // Errors are those of the leader's door; what is large is streamed; pages are there without a leader.
    let answer = sql(&servers[one], "INSERT INTO d VALUES (1, 'again')");
    assert_eq!((answer.status, answer.json()["sqlstate"].as_str()), (409, Some("23505")));
    let answer = sql(&servers[one], "SELECT repeat('x', 1000) FROM generate_series(1, 5000)");
    assert!(answer.status == 200 && answer.whole && answer.text().len() > 5_000_000, "{}", answer.text().len());
    assert_eq!(call(&servers[one], "GET", "/openapi.json", &[], &Value::Null).status, 200);

    // A transaction lives at the leader; any node knows it.
    let begun = call(&servers[one], "POST", "/v1/transactions", &[], &json!({}));
    assert_eq!(begun.status, 201, "{}", begun.text());
    let id = begun.json()["id"].as_str().unwrap().to_owned();
    let named = [("Perigee-Transaction", id.as_str())];
    let delete = json!({"sql": "DELETE FROM d"});
    assert_eq!(call(&servers[two], "POST", "/v1/sql", &named, &delete).status, 200);
    assert_eq!(value(&servers[one], "SELECT count(*) AS n FROM d"), json!(20));
    let commit = format!("/v1/transactions/{id}/commit");
    assert_eq!(call(&servers[one], "POST", &commit, &[], &Value::Null).status, 200);
    assert_eq!(value(&servers[two], "SELECT count(*) AS n FROM d"), json!(0));

    // Each request through the election is done once, or its problem says what became of it.
    cluster.server(leader).kill();
    let server = &cluster.servers()[one];
    let (mut done, mut open) = (0, 0);
    let started = Instant::now();
    for number in 0.. {
        assert!(started.elapsed() < PATIENCE, "{done} are done");
        let answer = sql(server, &format!("INSERT INTO d VALUES ({number}, 'behind')"));
        match (answer.status, answer.json()["sqlstate"].as_str()) {
            (200, _) => done += 1,
            (500, Some("08007")) => open += 1,
            (503, _) => {}
            other => panic!("{other:?}: {}", answer.text()),
        }
        if done == 20 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let found = value(server, "SELECT count(*) AS n FROM d").as_i64().unwrap();
    assert!((done..=done + open).contains(&found), "{found} rows of {done} done and {open} of unknown outcome");
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_with_a_key_are_done_once_through_an_election() {
    let mut cluster = Cluster::start(&options().with_rest()).unwrap();
    let leader = cluster.leader().unwrap();
    let (one, two) = ((leader + 1) % 3, (leader + 2) % 3);
    let servers = cluster.servers();
    assert_eq!(sql(&servers[one], "CREATE TABLE d (a int); CREATE ROLE ann LOGIN").status, 200);
    // A key that is made at one node counts at all, and no longer once another has revoked it.
    let made = sql(&servers[one], "CALL perigee.create_api_key('ann')").json();
    let key = made["rows"][0]["api_key"].as_str().unwrap().to_owned();
    let by_key = |server: &Server| {
        let user = json!({"sql": "SELECT current_user AS n"});
        let answer = call(server, "POST", "/v1/sql", &[("X-API-Key", &key)], &user);
        (answer.status, answer.json()["rows"][0]["n"].clone())
    };
    assert_eq!(by_key(&servers[two]), (200, json!("ann")));
    let id = &key[4..20];
    assert_eq!(sql(&servers[two], &format!("CALL perigee.revoke_api_key('{id}')")).status, 200);
    for server in servers {
        assert_eq!(by_key(server).0, 401);
    }

    cluster.server(leader).kill();
    let servers = cluster.servers();
    let mut replayed = 0;
    for number in 0..100 {
        let statement = json!({"sql": format!("INSERT INTO d VALUES ({number}) RETURNING a AS n")});
        let key = format!("insert {number}");
        // As a client does that has not heard an answer; every tenth has, and asks again.
        let mut heard = 0;
        for attempt in 0.. {
            assert!(attempt < 1_000, "{number}");
            let server = &servers[if attempt % 2 == 0 { one } else { two }];
            let answer = call(server, "POST", "/v1/sql", &[("Idempotency-Key", &key)], &statement);
            if answer.status == 200 {
                assert_eq!(answer.json()["rows"], json!([{"n": number}]));
                replayed += u32::from(answer.headers.contains_key("idempotency-replayed"));
                heard += 1;
                if heard == 1 + u32::from(number % 10 == 0) {
                    break;
                }
            } else {
                assert!([409, 500, 503].contains(&answer.status), "{}", answer.text());
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
    assert!(replayed >= 10, "{replayed}");
    assert_eq!(value(&servers[one], "SELECT count(*) AS n FROM d"), json!(100));
    assert_eq!(value(&servers[two], "SELECT count(DISTINCT a) AS n FROM d"), json!(100));
}
