//! Users of Redis are the roles of SQL: one identity, in the log, whichever door changes it.

use std::net::SocketAddr;

use perigee_testkit::resp::{Connection, Value};
use perigee_testkit::{Client, Server};

use crate::{PATIENCE, connect, server};

const WRONG: &str = "WRONGPASS invalid username-password pair or user is disabled.";
const SECRET: &str = "correct horse";

/// A node that asks who connects.
fn guarded() -> Server {
    perigee_tests::options()
        .env("PERIGEE_SECURITY__AUTHENTICATION", "scram-sha-256")
        .env("PERIGEE_SECURITY__SUPERUSER_PASSWORD", SECRET)
        .with_redis()
        .start()
        .unwrap()
}

fn ok() -> Value {
    Value::Status("OK".to_owned())
}

fn wrong() -> Value {
    Value::Error(WRONG.to_owned())
}

fn bulk(text: &str) -> Value {
    Value::Bulk(text.as_bytes().to_vec())
}

/// A connection of a user.
fn user(address: SocketAddr, name: &str, password: &str) -> Connection {
    let mut connection = Connection::open(address, PATIENCE).unwrap();
    assert_eq!(connection.ask(&["AUTH", name, password]), ok(), "{name}");
    connection
}

fn auth(address: SocketAddr, name: &str, password: &str) -> Value {
    Connection::open(address, PATIENCE).unwrap().ask(&["AUTH", name, password])
}

/// Lines, each with what its reply begins with.
fn check(connection: &mut Connection, script: &str) {
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (line, want) = line.split_once(" => ").unwrap();
        let got = connection.line(line).to_string();
        let got = got.strip_prefix("(error) ").unwrap_or(&got);
        assert!(got.starts_with(want.trim()), "{line}: {got}, not {want}");
    }
}

#[test]
fn users_outlive_kills() {
    let mut server = server();
    let mut admin = connect(&server);
    for number in 0..20 {
        let (name, password, key) = (format!("u{number}"), format!(">p{number}"), format!("~k{number}:*"));
        let rules = ["ACL", "SETUSER", &name, "on", &password, &key, "+get", "+set", "(%R~all:* +@read)", "&c*"];
        assert_eq!(admin.ask(&rules), ok());
    }
    assert_eq!(admin.line("ACL DELUSER u3 u4 nosuch"), Value::Integer(2));
    assert_eq!(admin.line("CONFIG SET requirepass first"), ok());
    let before = admin.line("ACL LIST");
    server.kill();
    server.restart().unwrap();
    let address = server.redis();
    let mut admin = Connection::open(address, PATIENCE).unwrap();
    assert!(admin.line("PING").to_string().contains("NOAUTH"));
    assert_eq!(admin.line("AUTH first"), ok());
    assert_eq!(admin.line("ACL LIST"), before);
    assert_eq!(auth(address, "u3", "p3"), wrong());
    assert_eq!(auth(address, "u5", "p6"), wrong());
    let mut five = user(address, "u5", "p5");
    assert_eq!(five.line("SET k5:a 1"), ok());
    assert_eq!(five.line("GET all:a"), Value::NullBulk);
    assert!(five.line("SET all:a 1").to_string().contains("NOPERM"));
    // In a checkpoint too, once the log is cut behind it.
    assert_eq!(admin.line("SQL CHECKPOINT"), Value::Status("CHECKPOINT".to_owned()));
    server.kill();
    server.restart().unwrap();
    assert_eq!(user(server.redis(), "default", "first").line("ACL LIST"), before);
}

#[test]
fn a_role_is_one_identity_at_both_doors() {
    let server = guarded();
    let address = server.redis();
    let mut admin = user(address, "default", SECRET);
    // What SQL makes: a role proves itself with its password, and may do what its rights say.
    for statement in [
        "CREATE ROLE plain LOGIN PASSWORD 'plain'",
        "CREATE ROLE reader LOGIN PASSWORD 'reader'",
        "GRANT pg_read_all_data TO reader",
        "CREATE ROLE chief LOGIN SUPERUSER PASSWORD 'chief'",
        "CREATE ROLE shut PASSWORD 'shut'",
        "CREATE ROLE late LOGIN PASSWORD 'late' VALID UNTIL '2000-01-01'",
        "CREATE TABLE t (a int)",
    ] {
        let reply = admin.ask(&["SQL", statement]);
        assert!(!reply.to_string().contains("SQLSTATE"), "{statement}: {reply}");
    }
    assert_eq!(admin.line("SET k v"), ok());
    for (name, password) in [("plain", "x"), ("shut", "shut"), ("late", "late"), ("nobody", "nobody"), ("plain", "")] {
        assert_eq!(auth(address, name, password), wrong(), "{name} {password}");
    }
    let mut plain = user(address, "plain", "plain");
    assert!(plain.line("GET k").to_string().contains("NOPERM"));
    assert!(plain.ask(&["SQL", "SELECT 1"]).to_string().contains("NOPERM"));
    let mut reader = user(address, "reader", "reader");
    assert_eq!(reader.line("GET k"), bulk("v"));
    assert!(reader.line("SET k w").to_string().contains("NOPERM"));
    assert!(reader.line("FLUSHALL").to_string().contains("NOPERM"));
    let mut chief = user(address, "chief", "chief");
    assert_eq!(chief.line("SET k w"), ok());
    assert_eq!(chief.line("ACL WHOAMI"), bulk("chief"));
    // What Redis says of a role: it runs SQL as itself, with its own rights.
    assert_eq!(admin.line("ACL SETUSER plain ~p:* +get +set +sql +acl|whoami"), ok());
    assert_eq!(plain.line("SET p:1 v"), ok());
    let reply = plain.ask(&["SQL", "SELECT current_user"]);
    assert_eq!(reply.items().unwrap()[1].items().unwrap()[0], bulk("plain"));
    assert!(plain.ask(&["SQL", "SELECT * FROM t"]).to_string().contains("42501"));
    // A user of Redis with a superuser's name is that superuser, and nobody makes another one.
    assert_eq!(admin.line("ACL SETUSER chief resetpass >over"), ok());
    assert_eq!(auth(address, "chief", "chief"), wrong());
    let mut chief = user(address, "chief", "over");
    let reply = chief.ask(&["SQL", "SELECT current_user"]);
    assert_eq!(reply.items().unwrap()[1].items().unwrap()[0], bulk("chief"));
    // A password from SQL takes the place of those from Redis.
    admin.ask(&["SQL", "ALTER ROLE chief PASSWORD 'new'"]);
    assert_eq!(auth(address, "chief", "over"), wrong());
    assert_eq!(auth(address, "chief", "new"), ok());
    // The first superuser is Redis's default, by either name.
    assert_eq!(user(address, "postgres", SECRET).line("ACL WHOAMI"), bulk("default"));
    let users = admin.ask(&["SQL", "SELECT string_agg(redis_name, ' ' ORDER BY redis_name) FROM perigee.redis_users"]);
    assert_eq!(users.items().unwrap()[1].items().unwrap()[0], bulk("chief default late plain reader"));
    let shown = admin.ask(&["SQL", "SELECT u::text FROM perigee.redis_users u"]).to_string();
    let listed = admin.line("ACL LIST").to_string();
    assert!(!shown.contains(SECRET) && !listed.contains(SECRET));
}

#[test]
fn changes_of_a_role_reach_its_open_connections() {
    let server = server();
    let address = server.redis();
    let mut admin = connect(&server);
    for name in ["gone", "waits", "listens", "shut", "renamed", "deleted"] {
        let password = format!(">{name}");
        assert_eq!(admin.ask(&["ACL", "SETUSER", name, "on", &password, "~*", "&*", "+@all"]), ok());
    }
    let open = |name: &str| user(address, name, name);
    let (mut gone, mut waits, mut listens, mut shut) = (open("gone"), open("waits"), open("listens"), open("shut"));
    let (mut renamed, mut deleted) = (open("renamed"), open("deleted"));
    waits.send(&perigee_testkit::resp::command(&["BLPOP", "nothing", "0"])).unwrap();
    listens.line("SUBSCRIBE c");
    // Its right is gone at the next command.
    assert_eq!(gone.line("SET k v"), ok());
    assert_eq!(admin.line("ACL SETUSER gone -set"), ok());
    assert!(gone.line("SET k v").to_string().contains("NOPERM"));
    for statement in ["DROP ROLE gone, waits", "ALTER ROLE shut NOLOGIN", "ALTER ROLE renamed RENAME TO other"] {
        let reply = admin.ask(&["SQL", statement]);
        assert!(!reply.to_string().contains("SQLSTATE"), "{statement}: {reply}");
    }
    for (what, connection) in [("gone", &mut gone), ("waits", &mut waits), ("shut", &mut shut)] {
        assert!(connection.receive().is_end(), "{what} is open still");
    }
    assert_eq!(auth(address, "gone", "gone"), wrong());
    assert_eq!(auth(address, "shut", "shut"), wrong());
    assert_eq!(renamed.line("ACL WHOAMI"), bulk("other"));
    // Who listens to what it may not hear any more is ended; who has nothing to lose is not.
    assert_eq!(admin.line("ACL SETUSER listens resetchannels &other"), ok());
    assert!(listens.receive().is_end());
    assert_eq!(admin.line("ACL SETUSER deleted off"), ok());
    assert_eq!(deleted.line("PING"), Value::Status("PONG".to_owned()));
    assert_eq!(auth(address, "deleted", "deleted"), wrong());
    assert_eq!(admin.line("ACL DELUSER deleted other"), Value::Integer(2));
    assert!(deleted.receive().is_end() && renamed.receive().is_end());
    // Another role of that name is another one.
    assert_eq!(admin.line("ACL SETUSER gone on >gone +ping"), ok());
    assert!(open("gone").line("SET k v").to_string().contains("NOPERM"));
}

#[test]
fn nobody_gives_what_it_has_not() {
    let server = guarded();
    let address = server.redis();
    let mut admin = user(address, "default", SECRET);
    admin.ask(&["SQL", "CREATE ROLE maker LOGIN CREATEROLE PASSWORD 'maker'"]);
    check(
        &mut admin,
        "ACL SETUSER maker ~app:* +get +set +@connection +acl|setuser +acl|deluser +acl|list +acl|getuser +config => OK
         ACL SETUSER only on >only ~* +@all => OK
         ACL SETUSER victim on >victim ~* +@all => OK",
    );
    let mut only = user(address, "only", "only");
    check(
        &mut only,
        "ACL SETUSER default >mine => NOPERM
         ACL SETUSER victim >mine => NOPERM
         ACL SETUSER new on => NOPERM
         ACL DELUSER victim => NOPERM
         CONFIG SET requirepass mine => NOPERM",
    );
    // Hashes are not shown to them: they could be tried out elsewhere.
    let list = only.line("ACL LIST").to_string();
    assert_eq!(list.matches('#').count(), 1, "{list}");
    assert_eq!(auth(address, "victim", "mine"), wrong());
    assert_eq!(auth(address, "default", "mine"), wrong());
    let mut maker = user(address, "maker", "maker");
    check(
        &mut maker,
        "ACL SETUSER small on >small ~app:* +get => OK
         ACL SETUSER small ~other => NOPERM
         ACL SETUSER small +del => NOPERM
         ACL SETUSER small (~app:* +set) => OK
         ACL SETUSER victim >mine => NOPERM
         ACL SETUSER pg_monitor on => ERR role name \"pg_monitor\" is reserved
         CONFIG SET requirepass mine => NOPERM",
    );
    let mut small = user(address, "small", "small");
    assert_eq!(small.line("SET app:1 v"), ok());
    assert!(small.line("DEL app:1").to_string().contains("NOPERM"));
    check(&mut maker, "ACL DELUSER victim => NOPERM\nACL DELUSER small => 1");
    assert!(small.receive().is_end());
    for name in ["pg_new", "public", "none"] {
        let reply = admin.ask(&["ACL", "SETUSER", name, "on"]).to_string();
        assert!(reply.contains("reserved"), "{name}: {reply}");
    }
    // What a role owns keeps it.
    check(&mut admin, "ACL SETUSER owner on >owner ~* +@all => OK");
    admin.ask(&["SQL", "CREATE TABLE owned (a int)"]);
    admin.ask(&["SQL", "ALTER TABLE owned OWNER TO owner"]);
    check(&mut admin, "ACL DELUSER owner => ERR role \"owner\" cannot be dropped");
}

#[test]
fn scripts_of_limited_users_are_held_to_the_keys_they_name() {
    let server = server();
    let mut admin = connect(&server);
    assert_eq!(admin.line("SET other v"), ok());
    assert_eq!(admin.line("ACL SETUSER limited on >limited ~own:* +@scripting +get +set"), ok());
    let mut limited = user(server.redis(), "limited", "limited");
    let script = "return redis.call('GET', KEYS[1])";
    assert_eq!(limited.ask(&["EVAL", script, "1", "own:1"]), Value::NullBulk);
    assert!(limited.ask(&["EVAL", script, "1", "other"]).to_string().contains("NOPERM"));
    assert_eq!(
        limited.line("MULTI"),
        Value::Error("NOPERM this user has no permissions to run the 'multi' command".to_owned())
    );
    assert_eq!(admin.line("ACL SETUSER limited -@scripting"), ok());
    assert!(limited.ask(&["EVAL", script, "1", "own:1"]).to_string().contains("NOPERM"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_doors_change_one_role_and_lose_nothing() {
    const ROUNDS: usize = 40;
    let mut server = server();
    let address = server.redis();
    assert_eq!(connect(&server).line("ACL SETUSER shared on >shared"), ok());
    let redis: Vec<_> = (0..2)
        .map(|writer| {
            tokio::task::spawn_blocking(move || {
                let mut connection = Connection::open(address, PATIENCE).unwrap();
                for round in 0..ROUNDS {
                    let pattern = format!("~w{writer}:{round}");
                    assert_eq!(connection.ask(&["ACL", "SETUSER", "shared", &pattern]), ok());
                }
            })
        })
        .collect();
    let sql = async {
        let client = Client::connect(server.pg()).await.unwrap();
        for round in 0..ROUNDS {
            let statement = format!("ALTER ROLE shared SET application_name = 'r{round}' ");
            client.batch_execute(&statement).await.unwrap();
            client.batch_execute(&format!("ALTER ROLE shared CONNECTION LIMIT {}", 100 + round)).await.unwrap();
        }
    };
    sql.await;
    for writer in redis {
        writer.await.unwrap();
    }
    server.kill();
    server.restart().unwrap();
    let mut connection = connect(&server);
    let shown = connection.line("ACL LIST").to_string();
    for writer in 0..2 {
        for round in 0..ROUNDS {
            let pattern = format!("~w{writer}:{round} ");
            assert!(shown.contains(&pattern), "{pattern} is not in {shown}");
        }
    }
    let limit = connection.ask(&["SQL", "SELECT rolconnlimit FROM pg_roles WHERE rolname = 'shared'"]);
    let expected = Value::Integer(100 + ROUNDS as i64 - 1);
    assert_eq!(limit.items().unwrap()[1].items().unwrap()[0], expected);
}

/// Series are found by their labels: a filter is no way around the patterns of keys.
#[test]
fn filters_show_what_the_user_may_read() {
    let server = guarded();
    let mut admin = user(server.redis(), "postgres", SECRET);
    admin.line("TS.CREATE secret LABELS a b");
    admin.line("TS.ADD secret 1 7");
    admin.line("TS.CREATE app:1 LABELS a b c d");
    admin.line("TS.ADD app:1 1 8");
    assert_eq!(admin.line("ACL SETUSER bob on >pw ~app:* +@all -@dangerous"), ok());
    let mut bob = user(server.redis(), "bob", "pw");
    check(
        &mut bob,
        "TS.INFO secret => NOPERM
         TS.MRANGE - + FILTER a=b => ERR TSDB: the current user doesn't have read permission
         TS.MREVRANGE - + FILTER a=b => ERR TSDB: the current user doesn't have read permission
         TS.MGET FILTER a=b => ERR TSDB: the current user doesn't have read permission
         TS.QUERYINDEX a=b => [\"app:1\"]
         TS.MGET FILTER a=b c=d => [[\"app:1\"
         MULTI => OK
         SET app:2 x => QUEUED
         TS.MGET FILTER a=b => QUEUED
         EXEC => [OK, (error) ERR TSDB: the current user",
    );
    let script = "return redis.call('TS.MGET', 'FILTER', 'a=b')";
    assert!(bob.ask(&["EVAL", script, "0"]).to_string().contains("read permission"));
    assert_eq!(admin.line("TS.MGET FILTER a=b").items().map(<[Value]>::len), Some(2));
}
