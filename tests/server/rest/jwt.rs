//! JSON Web Tokens.

use std::time::{Duration, Instant};

use perigee_testkit::Server;
use serde_json::{Value, json};

use super::{PASSWORD, ask, asking, basic, metric, problem};
use crate::jwt::{Ed25519, SECRET, claims, hs256, now_s, rs256, rsa_pem, token, with};

/// How long a node may take to read keys again.
const PATIENCE: Duration = Duration::from_secs(60);

fn user(server: &Server, token: &str) -> Value {
    let answer = ask(server, &format!("Bearer {token}"), "SELECT current_user AS u");
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["rows"][0]["u"].clone()
}

#[tokio::test]
async fn tokens_prove_roles_and_the_key_fixes_the_algorithm() {
    let folder = tempfile::tempdir().unwrap();
    let public = folder.path().join("jwt.pem");
    std::fs::write(&public, rsa_pem()).unwrap();
    let server = asking()
        .env("PERIGEE_SECURITY__JWT_SECRET", SECRET)
        .env("PERIGEE_SECURITY__JWT_PUBLIC_KEY", public.to_str().unwrap())
        .env("PERIGEE_SECURITY__JWT_ISSUER", "tests")
        .env("PERIGEE_SECURITY__JWT_AUDIENCE", "perigee")
        .start()
        .unwrap();
    let made = "CREATE ROLE ann LOGIN; CREATE ROLE shut; CREATE TABLE t (a int)";
    assert_eq!(ask(&server, &basic("postgres", PASSWORD), made).status, 200);
    let (hs, rs) = (json!({"alg": "HS256", "typ": "JWT"}), json!({"alg": "RS256"}));
    let right = |claims: &Value| token(&hs, claims, hs256(SECRET.as_bytes()));
    assert_eq!(user(&server, &right(&claims("ann"))), "ann");
    assert_eq!(user(&server, &token(&rs, &claims("ann"), rs256)), "ann");
    // Rights are the role's.
    let ann = format!("Bearer {}", right(&claims("ann")));
    assert_eq!(problem(&ask(&server, &ann, "SELECT * FROM t")), (403, "42501".into()));

    let refused = metric(&server, "perigee_rest_denials_total");
    let parts: Vec<String> = right(&claims("ann")).split('.').map(str::to_owned).collect();
    let for_postgres: Vec<String> = right(&claims("postgres")).split('.').map(str::to_owned).collect();
    let der = rsa_pem();
    let attacks = [
        // Nobody's signature, and that of somebody else.
        token(&json!({"alg": "none"}), &claims("postgres"), |_| Vec::new()),
        token(&json!({"alg": "None"}), &claims("postgres"), |_| Vec::new()),
        token(&json!({"alg": ""}), &claims("postgres"), |_| Vec::new()),
        token(&json!({}), &claims("postgres"), hs256(SECRET.as_bytes())),
        token(&hs, &claims("postgres"), |_| Vec::new()),
        token(&hs, &claims("postgres"), hs256(b"another secret that is long enough to be one")),
        // The public key, which everybody knows, as a secret.
        token(&hs, &claims("postgres"), hs256(der.as_bytes())),
        token(&hs, &claims("postgres"), hs256(der.trim().as_bytes())),
        token(&rs, &claims("postgres"), hs256(der.as_bytes())),
        token(&rs, &claims("postgres"), hs256(SECRET.as_bytes())),
        token(&hs, &claims("postgres"), rs256),
        token(&json!({"alg": "HS512"}), &claims("postgres"), hs256(SECRET.as_bytes())),
        token(&json!({"alg": "HS256", "crit": ["x"], "x": 1}), &claims("postgres"), hs256(SECRET.as_bytes())),
        // A key that the token brings along.
        token(&json!({"alg": "RS256", "jwk": {"kty": "oct", "k": "eA"}}), &claims("postgres"), hs256(b"x")),
        // Claims that were changed behind the signature.
        format!("{}.{}.{}", parts[0], for_postgres[1], parts[2]),
        format!("{}.{}.{}x", parts[0], parts[1], parts[2]),
        format!("{}.{}", parts[0], parts[1]),
        parts.join(".") + ".",
        "a.b.c".to_owned(),
        "..".to_owned(),
        // Times, issuers, audiences, roles.
        right(&with("ann", "exp", json!(now_s() - 3_600))),
        right(&with("ann", "exp", Value::Null)),
        right(&with("ann", "exp", json!("9999999999"))),
        right(&with("ann", "nbf", json!(now_s() + 3_600))),
        right(&with("ann", "iss", json!("others"))),
        right(&with("ann", "iss", Value::Null)),
        right(&with("ann", "aud", json!("other"))),
        right(&with("ann", "aud", Value::Null)),
        right(&with("ann", "sub", Value::Null)),
        right(&claims("nobody")),
        right(&claims("shut")),
        right(&claims("pg_read_all_data")),
        right(&claims("")),
    ];
    for attack in &attacks {
        let answer = ask(&server, &format!("Bearer {attack}"), "SELECT 1");
        assert_eq!(problem(&answer), (401, String::new()), "{attack}");
        // Why is nobody's business.
        assert_eq!(answer.json()["detail"], "name and password, the token, or the API key are not right", "{attack}");
    }
    let counted = metric(&server, "perigee_rest_denials_total") - refused;
    assert_eq!(counted, attacks.len() as u64, "each is counted");
    let log = server.log();
    assert!(log.contains("event=\"login denied\"") && log.contains("the token has expired"), "{log}");
    for secret in [SECRET, &parts[2], &attacks[5]] {
        assert!(!log.contains(secret), "{log}");
    }
}

#[tokio::test]
async fn keys_of_a_set_are_read_again_on_sighup() {
    let folder = tempfile::tempdir().unwrap();
    let set = folder.path().join("jwks.json");
    let (old, new) = (Ed25519::new(), Ed25519::new());
    std::fs::write(&set, json!({"keys": [old.in_set("old"), {"kty": "EC"}]}).to_string()).unwrap();
    let server = asking()
        .env("PERIGEE_SECURITY__JWKS_FILE", set.to_str().unwrap())
        .env("PERIGEE_SECURITY__JWT_AUDIENCE", "perigee")
        .env("PERIGEE_SECURITY__JWT_ROLE_CLAIM", "sub")
        .start()
        .unwrap();
    let status = |token: &str| ask(&server, &format!("Bearer {token}"), "SELECT 1").status;
    assert_eq!(user(&server, &old.token("old", "postgres")), "postgres");
    assert_eq!(status(&old.token("new", "postgres")), 401);
    assert_eq!(status(&new.token("old", "postgres")), 401);

    // What cannot be read changes nothing.
    std::fs::write(&set, "{").unwrap();
    server.signal("HUP").unwrap();
    let since = Instant::now();
    while !server.log().contains("stay as they were") {
        assert!(since.elapsed() < PATIENCE, "{}", server.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(status(&old.token("old", "postgres")), 200);

    std::fs::write(&set, json!({"keys": [new.in_set("new")]}).to_string()).unwrap();
    server.signal("HUP").unwrap();
    while status(&new.token("new", "postgres")) != 200 {
        assert!(since.elapsed() < PATIENCE, "{}", server.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(status(&old.token("old", "postgres")), 401);
}
