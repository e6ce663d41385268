//! Real clients through small scripts. What needs npm, and Celery, is in integration/redis.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use perigee_testkit::Server;
use perigee_tests::script;

/// A node that does not wait for the disk: this is about its words.
fn server() -> Server {
    perigee_tests::options().flag(&["--durability", "interval"]).with_redis().start().unwrap()
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// What redis-cli prints for lines that it reads.
fn cli(server: &Server, flags: &[&str], input: &[u8]) -> String {
    let mut command = Command::new("redis-cli");
    command.args(["-h", "127.0.0.1", "-p", &server.redis().port().to_string()]).args(flags);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).env_remove("REDISCLI_AUTH");
    let mut child = command.spawn().expect("redis-cli is installed: see integration/tools redis");
    child.stdin.take().unwrap().write_all(input).unwrap();
    text(&child.wait_with_output().unwrap())
}

#[test]
fn redis_cli_works() {
    let server = server();
    let lines = "SET greeting hello\nGET greeting\nRPUSH l a b c\nLRANGE l 0 -1\nHSET h f v\nINCR greeting\nGET none\n";
    let want = "OK\nhello\n3\na\nb\nc\n1\nERR value is not an integer or out of range\n\n\n";
    assert_eq!(cli(&server, &[], lines.as_bytes()), want);
    assert_eq!(cli(&server, &["--no-raw", "-3"], b"HGETALL h\n"), "1# \"f\" => \"v\"\n");
    assert_eq!(
        cli(&server, &["--no-raw"], b"MULTI\nINCR n\nGET n\nEXEC\n"),
        "OK\nQUEUED\nQUEUED\n1) (integer) 1\n2) \"1\"\n"
    );
    assert_eq!(cli(&server, &["-n", "3", "SET", "there", "v"], b""), "OK\n");
    assert_eq!(cli(&server, &["-n", "3", "DBSIZE"], b""), "1\n");
    assert_eq!(cli(&server, &["-x", "SET", "from-stdin"], b"some bytes"), "OK\n");
    assert_eq!(cli(&server, &["--scan", "--pattern", "gr*"], b""), "greeting\n");
    let mass: Vec<u8> = (0..5_000).flat_map(|n| format!("SET mass:{n} {n}\r\n").into_bytes()).collect();
    let text = cli(&server, &["--pipe"], &mass);
    assert!(text.contains("errors: 0, replies: 5000"), "{text}");
    let script = server.scratch().join("script.lua");
    std::fs::write(&script, "return {KEYS[1], ARGV[1], redis.call('DBSIZE')}").unwrap();
    let script = script.to_string_lossy().into_owned();
    assert_eq!(cli(&server, &["--eval", &script, "k", ",", "a"], b""), "k\na\n5005\n");
    let text = cli(&server, &["--bigkeys"], b"");
    assert!(text.contains("Biggest   list found '\"l\"' has 3 items"), "{text}");
    assert_eq!(cli(&server, &["SQL", "select $1::int + 1 as n", "41"], b""), "n\n42\n");
    let text = cli(&server, &["SQL", "select count(*) from redis.keys where key = 'l'"], b"");
    assert!(text.ends_with("\n1\n"), "{text}");
    let text = cli(&server, &["INFO", "server"], b"");
    assert!(text.contains("redis_version:7.4"), "{text}");
}

#[test]
fn redis_benchmark_runs_all_of_its_tests() {
    let server = server();
    for flags in [&["-n", "300", "-c", "20"][..], &["-n", "600", "-P", "16", "-c", "10", "-r", "1000", "-d", "100"]] {
        let mut command = Command::new("redis-benchmark");
        command.args(["-h", "127.0.0.1", "-p", &server.redis().port().to_string(), "--csv"]).args(flags);
        let output = command.output().expect("redis-benchmark is installed: see integration/tools redis");
        let text = text(&output);
        assert!(output.status.success() && !text.contains("Error") && !text.contains("WARN"), "{text}");
        for test in ["PING_INLINE", "SET", "GET", "INCR", "SPOP", "ZPOPMIN", "LRANGE_600 (first 600 elements)", "MSET"]
        {
            assert!(text.contains(&format!("\"{test}")), "{test} is not in\n{text}");
        }
    }
}

#[test]
fn slow_and_hostile_clients_harm_nobody() {
    let server = server();
    let (port, pid) = (server.redis().port().to_string(), server.pid().unwrap().to_string());
    let output =
        script("redis/hostile.py").args([&port, "0.3", &pid]).output().expect("see integration/tools redis-py");
    assert!(output.status.success(), "{}", text(&output));
}

#[test]
fn redis_py_works() {
    let server = server();
    for protocol in ["2", "3"] {
        let mut command = script("redis/clients.py");
        let output = command
            .arg(server.redis().port().to_string())
            .arg(protocol)
            .output()
            .expect("redis-py is installed: see integration/tools redis-py");
        assert!(output.status.success(), "RESP{protocol}: {}", text(&output));
    }
}
