//! Several databases: each has its own schemas, tables and settings of the catalog; roles are of all. They are there after a restart.

use perigee_testkit::{Client, Server};
use tokio_postgres::Config;

fn config(server: &Server, database: &str, user: &str) -> Config {
    let mut config = Config::new();
    config.host("127.0.0.1").port(server.pg().port()).user(user).dbname(database);
    config
}

async fn connect(server: &Server, database: &str) -> Client {
    Client::with(&config(server, database, "postgres")).await.unwrap()
}

async fn code(client: &Client, sql: &str) -> String {
    client.batch_execute(sql).await.expect_err(sql).code().map(|code| code.code().to_owned()).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn databases_are_apart() {
    let mut server = tokio::task::block_in_place(perigee_tests::server);
    let first = connect(&server, "postgres").await;
    first.batch_execute("CREATE TABLE t (id int PRIMARY KEY, place text)").await.unwrap();
    first.batch_execute("INSERT INTO t VALUES (1, 'first')").await.unwrap();
    first
        .batch_execute("CREATE DATABASE \"Second one\" WITH OWNER = postgres TEMPLATE template0 ENCODING 'UTF8'")
        .await
        .unwrap();
    assert_eq!(code(&first, "CREATE DATABASE \"Second one\"").await, "42P04");
    assert_eq!(code(&first, "CREATE DATABASE third TEMPLATE \"Second one\"").await, "0A000");
    assert_eq!(code(&first, "CREATE DATABASE third ENCODING 'LATIN1'").await, "0A000");
    assert_eq!(code(&first, "CREATE DATABASE third FROBBED yes").await, "42601");
    first.batch_execute("BEGIN").await.unwrap();
    assert_eq!(code(&first, "CREATE DATABASE third").await, "25001");
    first.batch_execute("ROLLBACK").await.unwrap();

    let second = connect(&server, "Second one").await;
    assert_eq!(second.value("SELECT current_database()").await.unwrap(), "Second one");
    assert_eq!(code(&second, "SELECT * FROM t").await, "42P01");
    second.batch_execute("CREATE TABLE t (name text PRIMARY KEY); CREATE TYPE kind AS ENUM ('a')").await.unwrap();
    second.batch_execute("CREATE SCHEMA own").await.unwrap();
    second.batch_execute("CREATE TABLE own.u (k kind, id serial); INSERT INTO own.u VALUES ('a')").await.unwrap();
    second.batch_execute("INSERT INTO t VALUES ('second')").await.unwrap();
    // The same text means another table in each.
    assert_eq!(second.value("SELECT max(t::text) FROM t").await.unwrap(), "(second)");
    assert_eq!(first.value("SELECT max(t::text) FROM t").await.unwrap(), "(1,first)");
    assert_eq!(code(&first, "SELECT * FROM own.u").await, "42P01");
    assert_eq!(code(&first, "SELECT 'a'::kind").await, "42704");
    let tables = "SELECT string_agg(table_schema || '.' || table_name, ' ' ORDER BY table_schema, table_name) \
        FROM information_schema.tables WHERE table_schema NOT IN ('pg_catalog', 'information_schema', 'perigee', 'redis')";
    assert_eq!(second.value(tables).await.unwrap(), "own.u public.t");
    assert_eq!(first.value(tables).await.unwrap(), "public.t");
    let shown =
        "SELECT count(*) FROM pg_class WHERE relname = 'pg_class' AND relnamespace = 'pg_catalog'::regnamespace";
    assert_eq!(second.value(shown).await.unwrap(), "1");
    let names = "SELECT string_agg(datname, ',' ORDER BY datname) FROM pg_database";
    assert_eq!(second.value(names).await.unwrap(), "Second one,postgres");
    let sessions = "SELECT count(*) FROM pg_stat_activity WHERE datname = 'Second one'";
    assert_eq!(first.value(sessions).await.unwrap(), "1");

    // Roles are of all databases, and who may do what is said in each.
    first.batch_execute("CREATE ROLE reader LOGIN").await.unwrap();
    let reader = Client::with(&config(&server, "Second one", "reader")).await.unwrap();
    assert_eq!(code(&reader, "SELECT * FROM t").await, "42501");
    assert_eq!(code(&reader, "CREATE DATABASE mine").await, "42501");
    assert_eq!(code(&reader, "DROP DATABASE \"Second one\"").await, "42501");
    second.batch_execute("GRANT SELECT ON t TO reader").await.unwrap();
    assert_eq!(reader.value("SELECT name FROM t").await.unwrap(), "second");

    tokio::task::block_in_place(|| server.kill());
    tokio::task::block_in_place(|| server.restart()).unwrap();
    let (first, second) = (connect(&server, "postgres").await, connect(&server, "Second one").await);
    assert_eq!(second.value("SELECT name FROM t").await.unwrap(), "second");
    assert_eq!(first.value("SELECT place FROM t").await.unwrap(), "first");

    assert_eq!(code(&second, "DROP DATABASE \"Second one\"").await, "55006");
    assert_eq!(code(&first, "DROP DATABASE nowhere").await, "3D000");
    assert_eq!(code(&second, "DROP DATABASE postgres").await, "2BP01");
    drop(second);
    first.batch_execute("ALTER DATABASE \"Second one\" RENAME TO second").await.unwrap();
    let second = connect(&server, "second").await;
    assert_eq!(second.value("SELECT name FROM t").await.unwrap(), "second");
    // It ends who is in it.
    first.batch_execute("DROP DATABASE second WITH (FORCE)").await.unwrap();
    assert!(second.batch_execute("SELECT 1").await.is_err());
    assert!(Client::with(&config(&server, "second", "postgres")).await.is_err());
    first.batch_execute("DROP DATABASE IF EXISTS second").await.unwrap();
    assert_eq!(first.value(names).await.unwrap(), "postgres");
    assert_eq!(first.value("SELECT count(*) FROM pg_class WHERE relname = 'u'").await.unwrap(), "0");
    // A new one of the same name has nothing of the old.
    first.batch_execute("CREATE DATABASE second").await.unwrap();
    let second = connect(&server, "second").await;
    assert_eq!(code(&second, "SELECT * FROM t").await, "42P01");
}
