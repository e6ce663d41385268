//! `perigee client`: scripts and their exit codes, forms of results, a person at the prompt.

use std::io::{Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use perigee_testkit::{Server, binary};
use perigee_tests::options;
use serde_json::{Value, json};

fn server() -> Server {
    options().with_grpc().start().unwrap()
}

struct Said {
    code: Option<i32>,
    out: String,
    error: String,
}

fn command(server: &Server) -> Command {
    let mut command = Command::new(binary::perigee().unwrap());
    command.env_clear().args(["client", "--address", &server.grpc().to_string()]);
    command
}

/// Runs the client with a script on standard input.
fn run(server: &Server, arguments: &[&str], input: &str) -> Said {
    let mut command = command(server);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // A client that was told what to do does not read.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    Said { code: output.status.code(), out: text(&output.stdout), error: text(&output.stderr) }
}

/// What a script prints; it has to go well.
fn prints(server: &Server, arguments: &[&str], input: &str) -> String {
    let said = run(server, arguments, input);
    assert_eq!(said.code, Some(0), "{arguments:?} {input}: {}{}", said.out, said.error);
    said.out
}

#[test]
fn results_have_three_forms() {
    let server = server();
    let made = "CREATE TABLE t (a int PRIMARY KEY, b text, c numeric, d jsonb, e real[]);
        INSERT INTO t VALUES (1, 'x;y', 1.10, '{\"k\": [1]}', '{0.1,NULL}'), (2, NULL, NULL, NULL, NULL)";
    assert_eq!(prints(&server, &[], made), "CREATE TABLE\nINSERT 0 2\n");
    let table = "\
┌───┬──────┬──────┐
│ a │ b    │ c    │
├───┼──────┼──────┤
│ 1 │ x;y  │ 1.10 │
│ 2 │ NULL │ NULL │
└───┴──────┴──────┘
(2 rows)
";
    assert_eq!(prints(&server, &["-e", "SELECT a, b, c FROM t ORDER BY a"], ""), table);
    let query = "SELECT * FROM t ORDER BY a";
    let found: Value = serde_json::from_str(&prints(&server, &["--format", "json", "-e", query], "")).unwrap();
    let first = json!({"a": 1, "b": "x;y", "c": 1.10, "d": {"k": [1]}, "e": [0.1, null]});
    assert_eq!(found, json!([first, {"a": 2, "b": null, "c": null, "d": null, "e": null}]));
    let lines = "a,b,c,d,e\n1,x;y,1.10,\"{\"\"k\"\": [1]}\",\"{0.1,NULL}\"\n2,,,,\n";
    assert_eq!(prints(&server, &["--format", "csv", "-e", query], ""), lines);
    assert_eq!(prints(&server, &["--format", "json", "-e", "SELECT 1 AS a WHERE false"], ""), "[]\n");
    let some = prints(&server, &["--rows-max", "1", "-e", "SELECT generate_series(1, 5) AS n"], "");
    assert!(
        some.contains("│ 1 │") && !some.contains("│ 2 │") && some.ends_with("(5 rows, 4 of them not shown)\n"),
        "{some}"
    );
    let below = prints(&server, &[], "\\x\nSELECT a, b FROM t WHERE a = 1;");
    assert!(below.contains("\na │ 1\nb │ x;y\n"), "{below}");
}

#[test]
fn what_a_value_says_commands_no_terminal() {
    let server = server();
    let said = run(&server, &["-e", "SELECT E'a\\x1b[2Jb' AS \"c\u{1b}d\"", "-e", "SELECT 'x\u{1b}y'::int"], "");
    assert_eq!(said.code, Some(1));
    assert!(!said.out.contains('\u{1b}') && !said.error.contains('\u{1b}'), "{}{}", said.out, said.error);
}

#[test]
fn scripts_end_with_codes() {
    let server = server();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("script.sql");
    std::fs::write(
        &file,
        "CREATE TABLE t (a int);\n-- a comment;\nINSERT INTO t VALUES (1);\nSELEC;\nINSERT INTO t VALUES (2);\n",
    )
    .unwrap();
    let said = run(&server, &["-f", file.to_str().unwrap()], "");
    assert_eq!((said.code, said.out.as_str()), (Some(1), "CREATE TABLE\nINSERT 0 1\n"), "{}", said.error);
    assert!(said.error.contains("(42601)"), "{}", said.error);
    assert!(prints(&server, &["-e", "SELECT count(*) FROM t"], "").contains("│     1 │"));
    let said = run(&server, &["-e", "SELECT nothing FROM t"], "");
    assert!(said.error.contains("(42703)") && said.error.contains("SELECT nothing FROM t\n"), "{}", said.error);
    assert!(said.error.contains("       ^"), "{}", said.error);
    assert_eq!(run(&server, &["-f", "no/such/file"], "").code, Some(2));
    assert_eq!(run(&server, &["--format", "xml"], "").code, Some(2));
    assert_eq!(run(&server, &["-e", "\\nothing"], "").code, Some(1));
    let grpc = server.grpc();
    drop(server);
    let mut nobody = Command::new(binary::perigee().unwrap());
    let output = nobody.args(["client", "--address", &grpc.to_string(), "-e", "SELECT 1"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn transactions_go_over_several_statements() {
    let server = server();
    let script = "CREATE TABLE t (a int PRIMARY KEY);
        BEGIN; INSERT INTO t VALUES (1); ROLLBACK;
        BEGIN; INSERT INTO t VALUES (2); SAVEPOINT s; INSERT INTO t VALUES (3); ROLLBACK TO s; COMMIT;
        START TRANSACTION READ ONLY; SELECT count(*) FROM t; END;";
    let out = prints(&server, &["--format", "csv"], script);
    assert_eq!(out, "count\n1\n");
    let said = run(&server, &[], "BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY; INSERT INTO t VALUES (9);");
    assert!(said.code == Some(1) && said.error.contains("(25006)"), "{}", said.error);
    let said = run(&server, &[], "BEGIN ISOLATION LEVEL NOTHING; SELECT 1;");
    assert!(said.code == Some(1) && said.error.contains("(42601)"), "{}", said.error);
    assert_eq!(prints(&server, &["--format", "csv", "-e", "SELECT a FROM t"], ""), "a\n2\n");
}

#[test]
fn commands_say_what_there_is() {
    let server = server();
    let made = "CREATE TABLE orders (id int PRIMARY KEY, item text NOT NULL DEFAULT 'pump', CHECK (id > 0));
        CREATE INDEX by_item ON orders (item); CREATE VIEW pumps AS SELECT id FROM orders;";
    prints(&server, &[], made);
    let listed = prints(&server, &["--format", "csv"], "\\d");
    assert_eq!(listed, "schema,name,type,owner\npublic,orders,table,postgres\npublic,pumps,view,postgres\n");
    assert_eq!(prints(&server, &["--format", "csv"], "\\dv p*").lines().count(), 2);
    assert_eq!(prints(&server, &["--format", "csv"], "\\dt x*").lines().count(), 1);
    let described = prints(&server, &["--format", "csv"], "\\d orders");
    for part in [
        "public.orders\n",
        "id,integer,not null,",
        "item,text,not null,'pump'",
        "by_item",
        "orders_pkey",
        "CHECK ((id > 0))",
    ] {
        assert!(described.contains(part), "{part}: {described}");
    }
    assert!(prints(&server, &[], "\\d pumps").contains("SELECT"));
    for command in [
        "\\dn",
        "\\du",
        "\\df",
        "\\l",
        "\\di",
        "\\ds",
        "\\dm",
        "\\dk",
        "\\dts",
        "\\tiers",
        "\\cluster",
        "\\sessions",
        "\\conninfo",
        "\\?",
    ] {
        assert!(!prints(&server, &[], command).is_empty(), "{command}");
    }
    let said = run(&server, &["-e", "\\d it's"], "");
    assert!(said.code == Some(1) && said.error.contains("42"), "{}", said.error);
    assert_eq!(prints(&server, &[], "\\c postgres"), "database postgres\n");
    assert_eq!(run(&server, &["-e", "\\c nowhere"], "").code, Some(1));
}

#[test]
fn passwords_and_tokens_let_in() {
    let server = options()
        .with_grpc()
        .env("PERIGEE_SECURITY__AUTHENTICATION", "scram-sha-256")
        .env("PERIGEE_SECURITY__SUPERUSER_PASSWORD", "correct horse")
        .env("PERIGEE_SECURITY__ADMIN_TOKEN", "a token of sixteen bytes")
        .start()
        .unwrap();
    let code = |arguments: &[&str], environment: &[(&str, &str)]| {
        let mut command = command(&server);
        command.args(arguments).args(["-e", "SELECT 1"]).envs(environment.iter().copied());
        command.output().unwrap().status.code()
    };
    assert_eq!(code(&[], &[]), Some(2));
    assert_eq!(code(&["-U", "postgres"], &[("PGPASSWORD", "wrong")]), Some(2));
    assert_eq!(code(&["-U", "postgres"], &[("PGPASSWORD", "correct horse")]), Some(0));
    assert_eq!(code(&[], &[("PERIGEE_ADMIN_TOKEN", "a token of sixteen bytes")]), Some(0));
}

/// A client on a terminal, as `script` makes one.
struct Person {
    child: Child,
    screen: Arc<Mutex<String>>,
    seen: usize,
}

impl Person {
    fn sits_down(server: &Server, history: &std::path::Path) -> Self {
        let line = format!("{} client --address {}", binary::perigee().unwrap().display(), server.grpc());
        let mut command = Command::new("script");
        command.args(["-qec", &line, "/dev/null"]).env("PERIGEE_HISTORY", history).env("TERM", "xterm");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let screen = Arc::new(Mutex::new(String::new()));
        let (kept, mut out) = (Arc::clone(&screen), child.stdout.take().unwrap());
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = out.read(&mut bytes) {
                kept.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..count]));
            }
        });
        Self { child, screen, seen: 0 }
    }

    fn types(&mut self, keys: &str) {
        self.child.stdin.as_mut().unwrap().write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until the screen says it, behind what was waited for before.
    fn sees(&mut self, wanted: &str) {
        let started = Instant::now();
        loop {
            let screen = self.screen.lock().unwrap().clone();
            if let Some(at) = screen[self.seen..].find(wanted) {
                self.seen += at + wanted.len();
                return;
            }
            assert!(started.elapsed() < Duration::from_secs(60), "{wanted:?} is not in {:?}", &screen[self.seen..]);
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

#[test]
fn a_person_types_recalls_and_completes() {
    let server = server();
    let folder = tempfile::tempdir().unwrap();
    let history = folder.path().join("history");
    let mut person = Person::sits_down(&server, &history);
    person.sees("postgres=> ");
    person.types("CREATE TABLE readings (device_name text,\r");
    person.sees("postgres-> ");
    person.types("n int);\r");
    person.sees("CREATE TABLE\r\n");
    person.sees("postgres=> ");
    // A keyword, a table and a column by their beginnings.
    person.types("ins\tinto readi\tVALUES ('a', 1);\r");
    person.sees("INSERT 0 1");
    person.sees("postgres=> ");
    person.types("BEGIN;\r");
    person.sees("postgres=*> ");
    person.types("SELECT dev\tFROM nowhere;\r");
    person.sees("ERROR: ");
    person.sees("postgres=!> ");
    person.types("ROLLBACK;\r");
    person.sees("postgres=> ");
    // What is not wanted is dropped, and the line before is there again.
    person.types("nonsense\u{3}");
    person.sees("^C");
    person.sees("postgres=> ");
    person.types("\u{1b}[A\u{1b}[A\u{1b}[A\u{1b}[A\r");
    person.sees("INSERT 0 1");
    person.sees("postgres=> ");
    person.types("SELECT count(*) FROM readings;\r");
    person.sees("│     2 │");
    person.sees("postgres=> ");
    person.types("\u{4}");
    assert_eq!(person.child.wait().unwrap().code(), Some(0));
    let kept = std::fs::read_to_string(&history).unwrap();
    assert!(
        kept.starts_with("CREATE TABLE readings (device_name text,\\nn int);\ninsert into readings VALUES ('a', 1);\n"),
        "{kept}"
    );
    let mut person = Person::sits_down(&server, &history);
    person.sees("postgres=> ");
    person.types("\u{12}device_name text\u{5}");
    person.sees("CREATE TABLE readings");
    person.types("\u{3}\\q\r");
    assert_eq!(person.child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_shell_is_told_how_to_complete() {
    for (shell, part) in [("bash", "complete -F"), ("zsh", "#compdef perigee"), ("fish", "complete -c perigee")] {
        let output = Command::new(binary::perigee().unwrap()).args(["completions", shell]).output().unwrap();
        assert!(output.status.success() && String::from_utf8_lossy(&output.stdout).contains(part), "{shell}");
    }
}

#[test]
fn a_queue_waits_for_the_node_and_is_flushed_in_order() {
    let mut server = server();
    prints(&server, &["-e", "CREATE TABLE q (n bigserial, text text)"], "");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("queue");
    let queue = file.to_str().unwrap();
    let add = |server: &Server, text: &str| {
        run(server, &["--queue", queue, "-e", &format!("INSERT INTO q (text) VALUES ('{text}')")], "")
    };
    server.kill();
    for text in ["a", "b"] {
        let said = add(&server, text);
        assert_eq!(said.code, Some(0), "{}", said.error);
        assert!(said.error.contains("to be done"), "{}", said.error);
    }
    let waiting = std::fs::read(&file).unwrap();
    server.restart().unwrap();
    assert_eq!(add(&server, "c").out, "INSERT 0 1\nINSERT 0 1\nINSERT 0 1\n");
    assert_eq!(std::fs::read(&file).unwrap(), b"");
    let all = || prints(&server, &["--format", "csv", "-e", "SELECT string_agg(text, '' ORDER BY n) AS s FROM q"], "");
    assert_eq!(all(), "s\nabc\n");
    // A client that was killed before it could note what was done: the node knows. And a line that was cut off.
    std::fs::write(&file, [&waiting[..], b"{\"key\": \"x"].concat()).unwrap();
    assert_eq!(add(&server, "d").code, Some(0));
    assert_eq!(all(), "s\nabcd\n");
    // What the node refuses for good is told, and left out.
    let said = run(&server, &["--queue", queue], "INSERT INTO nothing VALUES (1); INSERT INTO q (text) VALUES ('e')");
    assert_eq!(said.code, Some(1), "{}", said.error);
    assert!(said.error.contains("nothing"), "{}", said.error);
    assert_eq!(all(), "s\nabcde\n");
    assert_eq!(std::fs::read(&file).unwrap(), b"");
    assert_eq!(run(&server, &["--queue", queue, "-e", "BEGIN"], "").code, Some(2));
    std::fs::write(&file, "what is this\n").unwrap();
    assert_eq!(add(&server, "f").code, Some(2));
}
