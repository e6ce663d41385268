//! psql itself, from Debian.

use std::io::Write;
use std::process::{Command, Stdio};

use perigee_testkit::Server;

/// What psql prints for a script; its errors too.
fn psql(server: &Server, flags: &[&str], script: &str) -> String {
    let mut command = Command::new("psql");
    command.args(["-X", "-q", "-h", "127.0.0.1", "-U", "postgres", "-d", "postgres", "-p"]);
    command.arg(server.pg().port().to_string()).args(flags).env("PGCLIENTENCODING", "UTF8").env("PAGER", "");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("psql is installed: see integration/tools");
    child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn check(server: &Server, script: &str, parts: &[&str]) {
    let text = psql(server, &[], script);
    for part in parts {
        assert!(text.contains(part), "{script}: {part:?} is not in\n{text}");
    }
    assert!(!text.contains("ERROR"), "{script}:\n{text}");
}

const SCHEMA: &str = "
    CREATE TABLE device (id bigint PRIMARY KEY, name text NOT NULL DEFAULT 'unknown', seen timestamptz);
    CREATE INDEX device_name ON device (name);
    CREATE TABLE reading (device bigint, at timestamp, value double precision, PRIMARY KEY (device, at));
    CREATE TABLE part (id bigint PRIMARY KEY, device bigint REFERENCES device ON DELETE CASCADE);
    CREATE VIEW named AS SELECT id, name FROM device WHERE name <> 'unknown';
    CREATE SEQUENCE numbers START 10;
    INSERT INTO device VALUES (1, 'boiler', '2025-01-01 00:00:00+00'), (2, 'garden', NULL);
";

#[test]
fn the_describe_family_works() {
    let server = perigee_tests::server();
    assert_eq!(psql(&server, &[], SCHEMA), "");
    check(&server, "\\d", &["device", "reading", "named", "numbers", "view", "sequence"]);
    check(&server, "\\dt", &["device", "reading", "table", "postgres"]);
    check(
        &server,
        "\\d device",
        &[
            "Table \"public.device\"",
            "bigint",
            "not null",
            "'unknown'",
            "\"device_pkey\" PRIMARY KEY",
            "\"device_name\"",
        ],
    );
    // psql asks for foreign keys where pg_class says that there are triggers.
    let key = "\"part_device_fkey\" FOREIGN KEY (device) REFERENCES device(id) ON DELETE CASCADE";
    check(&server, "\\d part", &["Foreign-key constraints:", key]);
    check(&server, "\\d device", &["Referenced by:", "TABLE \"part\" CONSTRAINT", key]);
    check(&server, "\\d+ device", &["Table \"public.device\"", "Storage", "extended", "\"device_name\" btree (name)"]);
    check(&server, "\\d+ named", &["View \"public.named\"", "View definition:", "device"]);
    check(&server, "\\d device_name", &["Index \"public.device_name\"", "btree, for table \"public.device\""]);
    check(&server, "\\d reading", &["timestamp without time zone", "double precision", "\"reading_pkey\" PRIMARY KEY"]);
    check(&server, "\\d named", &["View \"public.named\"", "name"]);
    check(&server, "\\d numbers", &["Sequence \"public.numbers\""]);
    check(&server, "\\di", &["device_pkey", "device_name", "reading_pkey"]);
    check(&server, "\\dv", &["named"]);
    check(&server, "\\ds", &["numbers"]);
    check(&server, "\\dn", &["public"]);
    check(&server, "\\l", &["postgres"]);
    check(&server, "\\du", &["postgres", "Superuser"]);
    check(&server, "\\dt+", &["device"]);
    check(&server, "\\conninfo", &["You are connected to database \"postgres\" as user \"postgres\""]);
    for command in ["\\df", "\\dT", "\\dp", "\\dx", "\\db", "\\dy", "\\dD", "\\dconfig", "\\dd"] {
        check(&server, command, &[]);
    }
}

#[test]
fn results_look_as_they_do_elsewhere() {
    let server = perigee_tests::server();
    psql(&server, &[], SCHEMA);
    let text = psql(&server, &[], "SELECT id, name, seen IS NULL AS new FROM device ORDER BY id;");
    let expected = " id |  name  | new \n----+--------+-----\n  1 | boiler | f\n  2 | garden | t\n(2 rows)\n\n";
    assert_eq!(text, expected);
    let script = "\\timing off\nBEGIN;\nINSERT INTO device VALUES (3, 'x');\nROLLBACK;\nSELECT count(*) FROM device;";
    let text = psql(&server, &["-A", "-t"], script);
    assert_eq!(text, "2\n");
    let text = psql(&server, &["-v", "VERBOSITY=verbose"], "SELECT * FROM nothing;");
    assert!(text.contains("ERROR:  42P01: relation \"nothing\" does not exist"), "{text}");
    assert!(text.contains("LINE 1: SELECT * FROM nothing;\n                      ^"), "{text}");
    let text = psql(&server, &[], "SELECT id,\n nme FROM device;");
    assert!(text.contains("column \"nme\" does not exist\nLINE 2:  nme FROM device;\n         ^"), "{text}");
}

#[test]
fn copy_works_from_psql() {
    let server = perigee_tests::server();
    psql(&server, &[], SCHEMA);
    let file = server.scratch().join("in.csv");
    std::fs::write(&file, "10,ten,2025-02-01 00:00:00+00\n11,\"el,even\",\n").unwrap();
    let script =
        format!("\\copy device FROM '{}' WITH (FORMAT csv)\nSELECT name FROM device WHERE id = 11;", file.display());
    assert_eq!(psql(&server, &["-A", "-t"], &script), "el,even\n");
    let out = server.scratch().join("out.csv");
    let script =
        format!("\\copy (SELECT id, name FROM device ORDER BY id) TO '{}' WITH (FORMAT csv, HEADER)", out.display());
    assert_eq!(psql(&server, &[], &script), "");
    assert_eq!(std::fs::read_to_string(out).unwrap(), "id,name\n1,boiler\n2,garden\n10,ten\n11,\"el,even\"\n");
    let text =
        psql(&server, &["-A", "-t"], "COPY device FROM stdin;\n20\ttwenty\t\\N\n\\.\nSELECT count(*) FROM device;");
    assert_eq!(text, "5\n");
}

#[test]
fn maintenance_of_others_tables_is_skipped_with_a_warning() {
    let server = perigee_tests::server();
    psql(&server, &[], SCHEMA);
    let script = "CREATE ROLE helper; GRANT CREATE ON SCHEMA public TO helper; SET ROLE helper;
        CREATE TABLE own (a int); VACUUM device; VACUUM own; VACUUM own, reading; ANALYZE device;";
    let text = psql(&server, &[], script);
    let warnings: Vec<&str> = text.lines().filter(|line| line.starts_with("WARNING")).collect();
    let expected = [
        "WARNING:  skipping \"device\" --- only table or database owner can vacuum it",
        "WARNING:  skipping \"reading\" --- only table or database owner can vacuum it",
        "WARNING:  skipping \"device\" --- only table or database owner can analyze it",
    ];
    assert_eq!(warnings, expected, "{text}");
    let text = psql(&server, &[], "VACUUM; VACUUM device; ANALYZE;");
    assert_eq!(text, "");
}
