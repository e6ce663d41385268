//! `pg_dump` reads a node, and what it says makes the same again: in another node, from plain text and from its own format.

use std::process::{Command, Output};

use perigee_testkit::Server;

const SCHEMA: &str = "
    CREATE SCHEMA app;
    COMMENT ON SCHEMA app IS 'all of it';
    CREATE TYPE app.mood AS ENUM ('sad', 'ok', 'it''s');
    CREATE DOMAIN app.email AS text CHECK (value LIKE '%@%');
    CREATE SEQUENCE app.steps START 7 INCREMENT 3;
    CREATE TABLE app.parent (
        id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, email app.email DEFAULT 'a@b', mood app.mood DEFAULT 'ok', moods app.mood[],
        price numeric(10,2) CHECK (price > 0), doc jsonb DEFAULT '{}', v varchar(20), bytes bytea, span int4range, host inet, length int
        GENERATED ALWAYS AS (length(v)) STORED, UNIQUE (v, price));
    CREATE TABLE app.child (
        id bigserial PRIMARY KEY, parent int NOT NULL REFERENCES app.parent ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED,
        n int DEFAULT nextval('app.steps'), note text);
    CREATE INDEX child_note ON app.child (lower(note)) WHERE parent > 0;
    CREATE UNIQUE INDEX child_n ON app.child (n DESC NULLS LAST, id) INCLUDE (note);
    CREATE VIEW app.counts AS SELECT p.id, count(c.id) AS n FROM app.parent p LEFT JOIN app.child c ON c.parent = p.id GROUP BY p.id;
    CREATE MATERIALIZED VIEW app.held AS SELECT id, v FROM app.parent WITH NO DATA;
    CREATE TABLE app.days (at date NOT NULL, k int, PRIMARY KEY (at, k)) PARTITION BY RANGE (at);
    CREATE TABLE app.days_2024 PARTITION OF app.days FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
    CREATE TABLE app.days_rest PARTITION OF app.days DEFAULT;
    COMMENT ON TABLE app.parent IS 'it''s'; COMMENT ON COLUMN app.parent.v IS 'vee';
    CREATE FUNCTION app.sum(a int, b int DEFAULT 2) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT a + b';
    GRANT SELECT ON app.parent TO PUBLIC;
    INSERT INTO app.parent (v, price, moods, bytes, span, host)
        SELECT 'v' || n, n, '{sad,\"it''s\"}', '\\x00ff', '[1,5)', '10.0.0.1' FROM generate_series(1, 20) n;
    INSERT INTO app.child (parent, note) SELECT n, E'tab\\there\\n\"q\" \\\\N' FROM generate_series(1, 20) n;
    INSERT INTO app.days SELECT date '2024-12-01' + n, n FROM generate_series(1, 60) n;
    REFRESH MATERIALIZED VIEW app.held;
";

fn tool(name: &str, server: &Server, args: &[&str]) -> Output {
    let mut command = Command::new(name);
    command.args(["-h", "127.0.0.1", "-U", "postgres", "-d", "postgres", "-p", &server.pg().port().to_string()]);
    command
        .args(args)
        .env("PGCLIENTENCODING", "UTF8")
        .output()
        .expect("PostgreSQL's tools are installed: see integration/tools")
}

fn worked(output: Output) -> String {
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{errors}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn psql(server: &Server, args: &[&str]) -> String {
    worked(tool("psql", server, &[&["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"], args].concat()))
}

/// A dump, without the lines that each has for itself.
fn dump(server: &Server) -> String {
    let text = worked(tool("pg_dump", server, &[]));
    text.lines()
        .filter(|line| !line.starts_with("\\restrict") && !line.starts_with("\\unrestrict"))
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn a_dump_makes_the_same_again() {
    let (first, second, third) = (perigee_tests::server(), perigee_tests::server(), perigee_tests::server());
    psql(&first, &["-c", SCHEMA]);
    let whole = dump(&first);
    assert!(
        !whole.contains("CREATE SCHEMA redis") && !whole.contains("VIEW perigee"),
        "what only this server has is dumped"
    );
    let (plain, custom) = (first.scratch().join("plain.sql"), first.scratch().join("custom.dump"));
    let (plain, custom) = (plain.to_str().unwrap(), custom.to_str().unwrap());
    worked(tool("pg_dump", &first, &["-f", plain]));
    worked(tool("pg_dump", &first, &["-Fc", "-f", custom]));
    psql(&second, &["-f", plain]);
    worked(tool("pg_restore", &third, &["--exit-on-error", custom]));
    let question = "SELECT (SELECT count(*) FROM app.child), (SELECT sum(length) FROM app.parent), (SELECT count(*) FROM app.held), \
        (SELECT count(*) FROM app.days_2024), nextval('app.steps'), (SELECT max(note) FROM app.child), app.sum(1)";
    let answer = psql(&first, &["-c", question]);
    for restored in [&second, &third] {
        assert_eq!(psql(restored, &["-c", question]), answer);
        // Identities and keys are there, too.
        psql(restored, &["-c", "INSERT INTO app.parent (v, price) VALUES ('new', 1)"]);
        assert!(
            !tool("psql", restored, &["-X", "-c", "INSERT INTO app.days VALUES ('2024-12-02', 1)"]).stderr.is_empty()
        );
    }
    // Texts of views and expressions have other blanks and brackets than where they were written by hand.
    assert_eq!(dump(&second), dump(&third));
    // Several connections read at one moment.
    let folder = first.scratch().join("parallel");
    worked(tool("pg_dump", &first, &["-Fd", "--jobs", "3", "-f", folder.to_str().unwrap()]));
    let fourth = perigee_tests::server();
    worked(tool("pg_restore", &fourth, &["--exit-on-error", "--jobs", "2", folder.to_str().unwrap()]));
    // The sequence has gone on since.
    assert_eq!(psql(&fourth, &["-c", question]), psql(&first, &["-c", question]));
    let schema = worked(tool("pg_dump", &first, &["--schema-only", "--table", "app.child"]));
    assert!(schema.contains("CREATE TABLE app.child") && !schema.contains("COPY"), "{schema}");
}
