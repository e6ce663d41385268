//! How often anybody may ask, and which web pages.

use perigee_testkit::http;
use perigee_tests::options;
use serde_json::json;

use super::{PASSWORD, ask, asking, basic, call, metric, problem};

#[tokio::test]
async fn an_address_may_ask_so_often() {
    let server = options().with_rest().env("PERIGEE_LIMITS__ADDRESS_REQUESTS_PER_MINUTE", "3").start().unwrap();
    let get = || http::request(server.rest(), "GET", "/openapi.json", &[], b"").unwrap();
    for _ in 0..3 {
        assert_eq!(get().status, 200);
    }
    let refused = get();
    assert_eq!(problem(&refused).0, 429);
    let wait: u64 = refused.headers["retry-after"].parse().unwrap();
    assert!((1..=21).contains(&wait), "{wait}");
    // Whatever is asked for.
    assert_eq!(call(&server, "POST", "/v1/sql", &[], &json!({"sql": "SELECT 1"})).status, 429);
    assert_eq!(metric(&server, "perigee_rate_limited_total"), 2);
}

#[tokio::test]
async fn an_identity_may_ask_so_often() {
    let server = asking().env("PERIGEE_LIMITS__IDENTITY_REQUESTS_PER_MINUTE", "4").start().unwrap();
    let owner = basic("postgres", PASSWORD);
    assert_eq!(ask(&server, &owner, "CREATE ROLE ann LOGIN PASSWORD 'ann'").status, 200);
    let key = |name: &str| {
        let answer = ask(&server, &owner, &format!("CALL perigee.create_api_key('ann', '{name}')"));
        answer.json()["rows"][0]["api_key"].as_str().unwrap().to_owned()
    };
    let (one, other) = (key("one"), key("other"));
    let status = |authorization: &str| ask(&server, authorization, "SELECT 1").status;
    for _ in 0..4 {
        assert_eq!(status(&format!("Bearer {one}")), 200);
    }
    assert_eq!(status(&format!("Bearer {one}")), 429);
    // Others are counted by themselves; who proves nobody takes nothing from anybody.
    for _ in 0..5 {
        assert_eq!(status(&format!("Bearer {other}0")), 401);
    }
    assert_eq!(status(&format!("Bearer {other}")), 200);
    assert_eq!(status(&basic("ann", "ann")), 200);
    assert_eq!(status(&owner), 200);
    assert_eq!(problem(&ask(&server, &owner, "SELECT 1")).0, 429);
}

#[tokio::test]
async fn pages_of_origins_that_are_configured_may_ask() {
    let app = "https://app.example";
    let server = options()
        .with_rest()
        .env("PERIGEE_LIMITS__CORS_ORIGINS", format!("{app}, http://localhost:3000"))
        .start()
        .unwrap();
    let preflight = |origin: &str, method: &str| {
        let headers = [
            ("Origin", origin),
            ("Access-Control-Request-Method", method),
            ("Access-Control-Request-Headers", "authorization,content-type"),
        ];
        http::request(server.rest(), "OPTIONS", "/v1/sql", &headers, b"").unwrap()
    };
    let told = preflight(app, "POST");
    assert_eq!((told.status, told.body.len()), (204, 0));
    assert_eq!(told.headers["access-control-allow-origin"], app);
    assert!(told.headers["access-control-allow-methods"].contains("PATCH"));
    assert!(told.headers["access-control-allow-headers"].contains("authorization"));
    assert!(told.headers["vary"].contains("origin"));
    assert!(!told.headers.contains_key("access-control-allow-credentials"));
    for other in ["https://evil.example", "http://app.example", "https://app.example.evil.example", "null"] {
        let refused = preflight(other, "POST");
        assert_eq!(refused.status, 403, "{other}");
        assert!(!refused.headers.contains_key("access-control-allow-origin"), "{other}");
    }
    let ask = |origin: &str| {
        let headers = [("Origin", origin), ("Content-Type", "text/plain")];
        http::request(server.rest(), "POST", "/v1/sql", &headers, b"SELECT 1 AS n").unwrap()
    };
    let answer = ask("http://localhost:3000");
    assert_eq!((answer.status, answer.headers["access-control-allow-origin"].as_str()), (200, "http://localhost:3000"));
    assert!(answer.headers["access-control-expose-headers"].contains("perigee-command"));
    assert_eq!(ask("https://evil.example").status, 403);
    // A page of this address needs no leave.
    let own = ask(&format!("http://{}", server.rest()));
    assert!(own.status == 200 && !own.headers.contains_key("access-control-allow-origin"));
}
