//! Bytes in, bytes out: scripts over connections without a network, with input in pieces of every size.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio_util::sync::CancellationToken;

use crate::{RespOptions, RespServer, twin};

fn door(password: Option<&str>) -> Arc<RespServer> {
    twin::door(6379, password.map(str::to_owned), RespOptions::default(), CancellationToken::new()).unwrap()
}

fn connect(door: &Arc<RespServer>) -> DuplexStream {
    let (ours, theirs) = tokio::io::duplex(1 << 20);
    drop(door.attach(Box::new(theirs)));
    ours
}

/// A command as a client sends it.
fn command(words: &[&str]) -> String {
    let mut text = format!("*{}\r\n", words.len());
    words.iter().for_each(|word| text.push_str(&format!("${}\r\n{word}\r\n", word.len())));
    text
}

#[tokio::test]
async fn what_scripts_call_is_checked_shown_and_counted() {
    let door = door(None);
    let (mut one, mut watcher) = (connect(&door), connect(&door));
    exchange(&mut watcher, "MONITOR\r\n", "+OK\r\n", 99).await;
    let set = command(&["EVAL", "return redis.call('set', KEYS[1], 'v')", "1", "x"]);
    exchange(&mut one, &set, "+OK\r\n", 99).await;
    let lines = read(&mut watcher, 150).await;
    let lines: Vec<&str> = lines.lines().collect();
    assert!(lines[0].contains("\"EVAL\"") && lines[1].ends_with("[0 lua] \"set\" \"x\" \"v\""), "{lines:?}");
    exchange(&mut one, "INFO commandstats\r\n", "", 99).await;
    let counted = read(&mut one, 400).await;
    assert!(counted.contains("cmdstat_set:calls=1"), "{counted}");
    let user = command(&["ACL", "SETUSER", "bob", "on", ">123", "+@scripting", "+set", "~x*"]);
    exchange(&mut one, &user, "+OK\r\n", 99).await;
    exchange(&mut one, "AUTH bob 123\r\n", "+OK\r\n", 99).await;
    exchange(&mut one, &set, "+OK\r\n", 99).await;
    let get = command(&["EVAL", "return redis.pcall('get', KEYS[1]).err", "1", "x"]);
    let text = "NOPERM ACL failure in script: User bob has no permissions to run the 'get' command";
    exchange(&mut one, &get, &format!("${}\r\n{text}\r\n", text.len()), 99).await;
    let mut admin = connect(&door);
    exchange(&mut admin, "ACL LOG\r\n", "", 99).await;
    let log = read(&mut admin, 200).await;
    assert!(log.contains("lua") && log.contains("get") && log.contains("bob"), "{log}");
}

/// What comes within the time, until `want` bytes are there.
async fn read(stream: &mut DuplexStream, want: usize) -> String {
    let mut bytes = Vec::new();
    while bytes.len() < want {
        let mut piece = [0; 4096];
        match tokio::time::timeout(Duration::from_secs(5), stream.read(&mut piece)).await {
            Ok(Ok(count)) if count > 0 => bytes.extend_from_slice(&piece[..count]),
            _ => break,
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Sends `input` in pieces of `piece` bytes and compares what comes.
async fn exchange(stream: &mut DuplexStream, input: &str, want: &str, piece: usize) {
    for piece in input.as_bytes().chunks(piece) {
        stream.write_all(piece).await.unwrap();
        tokio::task::yield_now().await;
    }
    let got = read(stream, want.len()).await;
    assert_eq!(got, want, "{input:?} in pieces of {piece}");
}

/// One connection to a new door, for some sizes of pieces; behind it the connection must be open, or closed.
async fn check_with(password: Option<&str>, input: &str, want: &str, closes: bool) {
    for piece in (1..=input.len().max(1)).filter(|piece| *piece <= 16 || *piece == input.len()) {
        let mut stream = connect(&door(password));
        exchange(&mut stream, input, want, piece).await;
        if closes {
            assert_eq!(read(&mut stream, 1).await, "", "{input:?}: closed");
        } else {
            exchange(&mut stream, "*2\r\n$4\r\nECHO\r\n$3\r\nend\r\n", "$3\r\nend\r\n", piece).await;
        }
    }
}

async fn check(input: &str, want: &str) {
    check_with(None, input, want, false).await;
}

#[tokio::test]
async fn pipelines_are_answered_in_order() {
    check(
        "SET a 1\r\n*2\r\n$3\r\nGET\r\n$1\r\na\r\nPING\r\nINCR a\r\nfoo x 'y z'\r\nGET a\r\n",
        "+OK\r\n$1\r\n1\r\n+PONG\r\n:2\r\n-ERR unknown command 'foo', with args beginning with: 'x' 'y z' \r\n$1\r\n2\r\n",
    )
    .await;
}

#[tokio::test]
async fn errors_of_calls() {
    check("GET\r\n", "-ERR wrong number of arguments for 'get' command\r\n").await;
    check("CLIENT\r\n", "-ERR wrong number of arguments for 'client' command\r\n").await;
    check("CLIENT foo\r\n", "-ERR unknown subcommand 'foo'. Try CLIENT HELP.\r\n").await;
    check("CLIENT KILL\r\n", "-ERR wrong number of arguments for 'client|kill' command\r\n").await;
    check(
        "SELECT 99\r\nSELECT x\r\n",
        "-ERR DB index is out of range\r\n-ERR value is not an integer or out of range\r\n",
    )
    .await;
    check("PING a b\r\n", "-ERR wrong number of arguments for 'ping' command\r\n").await;
}

#[tokio::test]
async fn protocol_errors_close() {
    let want = "+PONG\r\n-ERR Protocol error: invalid bulk length\r\n";
    check_with(None, "PING\r\n*1\r\n$-5\r\nPING\r\n", want, true).await;
    check_with(None, "SET a 1\r\nPOST / HTTP/1.1\r\nGET a\r\n", "+OK\r\n", true).await;
    check_with(None, "QUIT\r\nPING\r\n", "+OK\r\n", true).await;
}

#[tokio::test]
async fn transactions_queue_and_run() {
    check(
        "MULTI\r\nSET a 1\r\nINCR a\r\nPUBLISH c m\r\nGET a\r\nEXEC\r\n",
        "+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n*4\r\n+OK\r\n:2\r\n:0\r\n$1\r\n2\r\n",
    )
    .await;
    check(
        "MULTI\r\nGET\r\nEXEC\r\nEXEC\r\nDISCARD\r\n",
        "+OK\r\n-ERR wrong number of arguments for 'get' command\r\n\
         -EXECABORT Transaction discarded because of previous errors.\r\n-ERR EXEC without MULTI\r\n-ERR DISCARD without MULTI\r\n",
    )
    .await;
    check(
        "SET a 1\r\nMULTI\r\nSELECT 1\r\nSET a 2\r\nEXEC\r\nGET a\r\nSELECT 0\r\nGET a\r\n",
        "+OK\r\n+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n+OK\r\n+OK\r\n$1\r\n2\r\n+OK\r\n$1\r\n1\r\n",
    )
    .await;
    check("MULTI\r\nMULTI\r\nWATCH a\r\nDISCARD\r\nEXEC\r\n", "+OK\r\n-ERR MULTI calls can not be nested\r\n-ERR WATCH inside MULTI is not allowed\r\n+OK\r\n-ERR EXEC without MULTI\r\n").await;
}

#[tokio::test]
async fn watched_keys_fail_a_transaction() {
    let door = door(None);
    let (mut one, mut two) = (connect(&door), connect(&door));
    for (commands, answer, result) in [
        ("GET a\r\n", "+QUEUED\r\n", "*-1\r\n"),
        ("GET a\r\nPING\r\n", "+QUEUED\r\n+QUEUED\r\n", "*-1\r\n"),
        ("PING\r\n", "+QUEUED\r\n", "*-1\r\n"),
        ("SET a 3\r\n", "+QUEUED\r\n", "*-1\r\n"),
    ] {
        exchange(&mut one, "WATCH a b\r\nMULTI\r\n", "+OK\r\n+OK\r\n", 100).await;
        exchange(&mut one, commands, answer, 100).await;
        exchange(&mut two, "SET a 2\r\n", "+OK\r\n", 100).await;
        exchange(&mut one, "EXEC\r\n", result, 100).await;
    }
    // One that was absent, was made and is absent again has changed.
    exchange(&mut one, "WATCH never\r\nMULTI\r\nPING\r\n", "+OK\r\n+OK\r\n+QUEUED\r\n", 100).await;
    exchange(&mut two, "SET never 1\r\nDEL never\r\n", "+OK\r\n:1\r\n", 100).await;
    exchange(&mut one, "EXEC\r\n", "*-1\r\n", 100).await;
    for gone in ["DEL one\r\n", "FLUSHALL\r\n", "SWAPDB 0 9\r\n"] {
        exchange(&mut one, "SET one 1\r\nWATCH one\r\nMULTI\r\nPING\r\n", "+OK\r\n+OK\r\n+OK\r\n+QUEUED\r\n", 100)
            .await;
        exchange(&mut two, gone, if gone.starts_with("DEL") { ":1\r\n" } else { "+OK\r\n" }, 100).await;
        exchange(&mut one, "EXEC\r\n", "*-1\r\n", 100).await;
    }
    // Without a change it runs, also when its one reply is a null.
    exchange(&mut one, "WATCH a\r\nMULTI\r\nGET none\r\nEXEC\r\n", "+OK\r\n+OK\r\n+QUEUED\r\n*1\r\n$-1\r\n", 100).await;
    exchange(&mut one, "WATCH a\r\nMULTI\r\nEXEC\r\n", "+OK\r\n+OK\r\n*0\r\n", 100).await;
    exchange(
        &mut one,
        "WATCH a\r\nUNWATCH\r\nSET a 9\r\nMULTI\r\nGET a\r\nEXEC\r\n",
        "+OK\r\n+OK\r\n+OK\r\n+OK\r\n+QUEUED\r\n*1\r\n$1\r\n9\r\n",
        100,
    )
    .await;
}

#[tokio::test]
async fn strangers_are_held_at_the_door() {
    let no = "-NOAUTH Authentication required.\r\n";
    check_with(Some("secret"), "GET a\r\nPING\r\nAUTH secret\r\n", &format!("{no}{no}+OK\r\n"), false).await;
    let wrong = "-WRONGPASS invalid username-password pair or user is disabled.\r\n";
    check_with(
        Some("secret"),
        "AUTH x\r\nAUTH default x\r\nAUTH default secret\r\n",
        &format!("{wrong}{wrong}+OK\r\n"),
        false,
    )
    .await;
    let limit = "-ERR Protocol error: unauthenticated multibulk length\r\n";
    check_with(Some("secret"), "*11\r\n", limit, true).await;
    check_with(Some("secret"), "*1\r\n$20000\r\n", "-ERR Protocol error: unauthenticated bulk length\r\n", true).await;
    check("AUTH x\r\n", "-ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?\r\n").await;
}

#[tokio::test]
async fn hello_chooses_the_protocol() {
    check("HELLO 4\r\nHELLO x\r\nHELLO 3 FOO\r\n", "-NOPROTO unsupported protocol version\r\n-ERR Protocol version is not an integer or out of range\r\n-ERR Syntax error in HELLO option 'FOO'\r\n").await;
    let door = door(None);
    let mut stream = connect(&door);
    stream.write_all(b"HELLO 3 SETNAME me\r\nGET none\r\nCLIENT GETNAME\r\nRESET\r\nGET none\r\n").await.unwrap();
    let got = read(&mut stream, 150).await;
    let got = if got.ends_with("$-1\r\n") { got } else { got + &read(&mut stream, 5).await };
    assert!(
        got.starts_with("%7\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$5\r\n7.4.0\r\n$5\r\nproto\r\n:3\r\n"),
        "{got}"
    );
    assert!(got.ends_with("_\r\n$2\r\nme\r\n+RESET\r\n$-1\r\n"), "{got}");
}

#[tokio::test]
async fn messages_reach_subscribers() {
    let door = door(None);
    let (mut one, mut two) = (connect(&door), connect(&door));
    exchange(
        &mut one,
        "SUBSCRIBE a b\r\n",
        "*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n*3\r\n$9\r\nsubscribe\r\n$1\r\nb\r\n:2\r\n",
        3,
    )
    .await;
    exchange(&mut one, "PSUBSCRIBE a*\r\n", "*3\r\n$10\r\npsubscribe\r\n$2\r\na*\r\n:3\r\n", 3).await;
    exchange(
        &mut two,
        "PUBLISH a hi\r\nSPUBLISH a hi\r\nPUBSUB NUMSUB a c\r\nPUBSUB NUMPAT\r\n",
        ":2\r\n:0\r\n*4\r\n$1\r\na\r\n:1\r\n$1\r\nc\r\n:0\r\n:1\r\n",
        100,
    )
    .await;
    let message =
        "*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$2\r\nhi\r\n*4\r\n$8\r\npmessage\r\n$2\r\na*\r\n$1\r\na\r\n$2\r\nhi\r\n";
    exchange(&mut one, "", message, 1).await;
    exchange(&mut one, "GET a\r\n", "-ERR Can't execute 'get': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context\r\n", 100).await;
    exchange(&mut one, "PING x\r\nUNSUBSCRIBE\r\n", "*2\r\n$4\r\npong\r\n$1\r\nx\r\n*3\r\n$11\r\nunsubscribe\r\n$1\r\na\r\n:2\r\n*3\r\n$11\r\nunsubscribe\r\n$1\r\nb\r\n:1\r\n", 100).await;
}

#[tokio::test]
async fn own_messages_come_behind_the_reply() {
    let mut stream = connect(&door(None));
    stream.write_all(b"HELLO 3\r\nSUBSCRIBE a\r\n").await.unwrap();
    let mut got = String::new();
    while !got.ends_with(">3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n") {
        got += &read(&mut stream, 1).await;
    }
    exchange(&mut stream, "PUBLISH a m\r\n", ":1\r\n>3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nm\r\n", 100).await;
}

#[tokio::test]
async fn changed_keys_are_told_to_those_who_track() {
    let door = door(None);
    let (mut one, mut two) = (connect(&door), connect(&door));
    one.write_all(b"HELLO 3\r\nCLIENT TRACKING ON\r\nGET k\r\n").await.unwrap();
    let mut got = String::new();
    while !got.ends_with("+OK\r\n_\r\n") {
        got += &read(&mut one, 1).await;
    }
    exchange(&mut two, "SET other 1\r\nSET k 1\r\nSET k 2\r\n", "+OK\r\n+OK\r\n+OK\r\n", 100).await;
    exchange(&mut one, "", ">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n", 1).await;
    exchange(&mut one, "GET k\r\nSET k 3\r\n", "$1\r\n2\r\n+OK\r\n>2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n", 100)
        .await;
    exchange(&mut one, "GET k\r\n", "$1\r\n3\r\n", 100).await;
    exchange(&mut two, "FLUSHALL\r\n", "+OK\r\n", 100).await;
    exchange(&mut one, "", ">2\r\n$10\r\ninvalidate\r\n_\r\n", 1).await;
}

#[tokio::test]
async fn a_command_that_changes_many_keys_tells_each_of_them_once() {
    let door = door(None);
    let (mut one, mut two) = (connect(&door), connect(&door));
    exchange(&mut one, "HELLO 3\r\nCLIENT TRACKING ON BCAST PREFIX k\r\n", "", 100).await;
    let mut got = String::new();
    while !got.ends_with("+OK\r\n") {
        got += &read(&mut one, 1).await;
    }
    // Each key twice, and so many that nobody could compare each with each.
    let keys: Vec<String> = (0..200_000).map(|n| format!("k{n:06}")).collect();
    let pairs = keys.iter().chain(&keys).flat_map(|key| [key.as_str(), "v"]);
    let words: Vec<&str> = std::iter::once("MSET").chain(pairs).collect();
    let input = command(&words);
    exchange(&mut two, &input, "+OK\r\n", input.len()).await;
    let want: String = keys.iter().map(|key| format!("$7\r\n{key}\r\n")).collect();
    exchange(&mut one, "", &format!(">2\r\n$10\r\ninvalidate\r\n*200000\r\n{want}"), 1).await;
}

#[tokio::test]
async fn keyspace_events_are_published() {
    let door = door(None);
    let (mut one, mut two) = (connect(&door), connect(&door));
    exchange(&mut two, "CONFIG SET notify-keyspace-events KEA\r\n", "+OK\r\n", 100).await;
    exchange(&mut one, "PSUBSCRIBE __key*\r\n", "*3\r\n$10\r\npsubscribe\r\n$6\r\n__key*\r\n:1\r\n", 100).await;
    exchange(&mut two, "SET k 1\r\n", "+OK\r\n", 100).await;
    let want = "*4\r\n$8\r\npmessage\r\n$6\r\n__key*\r\n$16\r\n__keyspace@0__:k\r\n$3\r\nset\r\n\
                *4\r\n$8\r\npmessage\r\n$6\r\n__key*\r\n$18\r\n__keyevent@0__:set\r\n$1\r\nk\r\n";
    exchange(&mut one, "", want, 1).await;
}

#[tokio::test]
async fn replies_can_be_left_out() {
    check("CLIENT REPLY OFF\r\nSET a 1\r\nCLIENT REPLY ON\r\nGET a\r\n", "+OK\r\n$1\r\n1\r\n").await;
    check("CLIENT REPLY SKIP\r\nSET a 1\r\nGET a\r\n", "$1\r\n1\r\n").await;
    check("CLIENT REPLY SKIP\r\nPING\r\nGET a\r\n", "$-1\r\n").await;
    check("CLIENT REPLY SKIP\r\nfoo\r\nGET a\r\n", "$-1\r\n").await;
    let transaction = "CLIENT REPLY OFF\r\nMULTI\r\nSET a 1\r\nPING\r\nEXEC\r\nCLIENT REPLY ON\r\nGET a\r\n";
    check(transaction, "+OK\r\n$1\r\n1\r\n").await;
    check(
        "MULTI\r\nSET a 1\r\nEXEC\r\nCLIENT REPLY SKIP\r\nEXEC\r\nGET a\r\n",
        "+OK\r\n+QUEUED\r\n*1\r\n+OK\r\n$1\r\n1\r\n",
    )
    .await;
}

#[tokio::test]
async fn users_may_do_what_they_may() {
    check(
        "ACL SETUSER bob on >pw ~a* +get +set -@all +get +acl|whoami\r\nAUTH bob x\r\nAUTH bob pw\r\nGET abc\r\nGET x\r\nSET abc 1\r\nACL WHOAMI\r\nECHO end\r\nAUTH default any\r\n",
        "+OK\r\n-WRONGPASS invalid username-password pair or user is disabled.\r\n+OK\r\n$-1\r\n\
         -NOPERM this user has no permissions to access one of the keys used as arguments\r\n\
         -NOPERM this user has no permissions to run the 'set' command\r\n$3\r\nbob\r\n\
         -NOPERM this user has no permissions to run the 'echo' command\r\n+OK\r\n",
    )
    .await;
}

#[tokio::test]
async fn a_long_pipeline_needs_no_reader() {
    let mut stream = connect(&door(None));
    // More replies than the pipe holds: the door goes on reading while they wait.
    let value = "x".repeat(10_000);
    stream.write_all(format!("SET a {value}\r\n").as_bytes()).await.unwrap();
    let (mut reader, mut writer) = tokio::io::split(stream);
    for _ in 0..1_000 {
        let written = tokio::time::timeout(Duration::from_secs(10), writer.write_all(b"GET a\r\n")).await;
        written.unwrap().unwrap();
    }
    let want = 5 + 1_000 * (8 + 10_000 + 2);
    let mut got = 0;
    let mut piece = vec![0; 1 << 16];
    while got < want {
        got += tokio::time::timeout(Duration::from_secs(10), reader.read(&mut piece)).await.unwrap().unwrap();
    }
    assert_eq!(got, want);
}

#[tokio::test]
async fn many_commands_in_one_piece() {
    let mut stream = connect(&door(None));
    let input = "INCR n\r\n".repeat(5_000);
    let want: String = (1..=5_000).map(|n| format!(":{n}\r\n")).collect();
    exchange(&mut stream, &input, &want, input.len()).await;
}

#[tokio::test]
async fn a_client_that_never_reads_is_closed_and_others_go_on() {
    let door = door(None);
    let (mut one, mut two) = (connect(&door), connect(&door));
    exchange(&mut two, "CONFIG SET client-output-buffer-limit 'pubsub 100000 0 0'\r\n", "+OK\r\n", 1_000).await;
    exchange(&mut one, "SUBSCRIBE a\r\n", "*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n", 100).await;
    let publish = format!("PUBLISH a {}\r\n", "x".repeat(50_000));
    let mut heard = true;
    for _ in 0..100 {
        two.write_all(publish.as_bytes()).await.unwrap();
        let answer = read(&mut two, 4).await;
        heard = answer == ":1\r\n";
        if !heard {
            assert_eq!(answer, ":0\r\n");
            break;
        }
    }
    assert!(!heard, "the client that does not read is gone");
    exchange(&mut two, "PING\r\n", "+PONG\r\n", 100).await;
}

#[tokio::test]
async fn what_was_sent_before_the_end_is_answered() {
    let mut stream = connect(&door(None));
    stream.write_all(b"SET a 1\r\nGET a\r\nINCR a\r\n").await.unwrap();
    stream.shutdown().await.unwrap();
    assert_eq!(read(&mut stream, 100).await, "+OK\r\n$1\r\n1\r\n:2\r\n");
}

#[tokio::test]
async fn a_killed_client_is_gone() {
    let door = door(None);
    let (mut one, mut two) = (connect(&door), connect(&door));
    exchange(&mut one, "CLIENT SETNAME one\r\n", "+OK\r\n", 100).await;
    exchange(
        &mut two,
        "CLIENT KILL ID 1\r\nCLIENT KILL ID 1\r\nCLIENT KILL ID 2 SKIPME no\r\n",
        ":1\r\n:0\r\n:1\r\n",
        1_000,
    )
    .await;
    assert_eq!(read(&mut one, 1).await, "");
    assert_eq!(read(&mut two, 1).await, "");
}

#[tokio::test]
async fn writes_wait_while_paused() {
    let door = door(None);
    let (mut one, mut two) = (connect(&door), connect(&door));
    exchange(&mut one, "CLIENT PAUSE 60000 WRITE\r\nGET a\r\n", "+OK\r\n$-1\r\n", 100).await;
    two.write_all(b"PING\r\nSET a 1\r\n").await.unwrap();
    assert_eq!(read(&mut two, 7).await, "+PONG\r\n");
    exchange(&mut one, "GET a\r\nCLIENT UNPAUSE\r\n", "$-1\r\n+OK\r\n", 100).await;
    assert_eq!(read(&mut two, 5).await, "+OK\r\n");
}

mod network {
    use tokio::net::{TcpListener, TcpStream};
    use tokio_rustls::TlsConnector;

    use super::*;

    async fn serve(
        options: RespOptions,
        tls: Option<perigee_security::ServerTls>,
    ) -> (u16, CancellationToken, tokio::task::JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let stop = CancellationToken::new();
        let door = twin::door(port, None, options, stop.clone()).unwrap();
        let serving = tokio::spawn(door.serve(listener, tls, stop.clone()));
        (port, stop, serving)
    }

    async fn say(stream: &mut (impl AsyncReadExt + AsyncWriteExt + Unpin), input: &str) -> String {
        stream.write_all(input.as_bytes()).await.unwrap();
        let mut piece = [0; 256];
        let read = tokio::time::timeout(Duration::from_secs(5), stream.read(&mut piece)).await;
        String::from_utf8_lossy(&piece[..read.unwrap().unwrap_or(0)]).into_owned()
    }

    #[tokio::test]
    async fn one_client_too_many_is_told() {
        let (port, stop, serving) = serve(RespOptions { connections_max: 2, ..RespOptions::default() }, None).await;
        let connect = || TcpStream::connect(("127.0.0.1", port));
        let (mut one, mut two) = (connect().await.unwrap(), connect().await.unwrap());
        assert_eq!(say(&mut one, "PING\r\n").await, "+PONG\r\n");
        assert_eq!(say(&mut two, "PING\r\n").await, "+PONG\r\n");
        assert_eq!(say(&mut connect().await.unwrap(), "").await, "-ERR max number of clients reached\r\n");
        drop(two);
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(say(&mut connect().await.unwrap(), "PING\r\n").await, "+PONG\r\n");
        stop.cancel();
        tokio::time::timeout(Duration::from_secs(5), serving).await.unwrap().unwrap();
        assert_eq!(say(&mut one, "").await, "");
    }

    #[tokio::test]
    async fn silent_clients_are_closed_when_that_is_asked_for() {
        let (port, _stop, _serving) = serve(RespOptions::default(), None).await;
        let mut one = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        assert_eq!(say(&mut one, "CONFIG SET timeout 1\r\n").await, "+OK\r\n");
        assert_eq!(say(&mut one, "").await, "", "closed behind a second");
    }

    #[tokio::test]
    async fn tls_is_as_plain() {
        perigee_security::install_crypto_provider();
        let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let (certificate, key) = (folder.path().join("crt"), folder.path().join("key"));
        std::fs::write(&certificate, pair.cert.pem()).unwrap();
        std::fs::write(&key, pair.signing_key.serialize_pem()).unwrap();
        let tls = perigee_security::ServerTls::load(&certificate, &key, &[]).unwrap();
        let mut roots = rustls::RootCertStore::empty();
        roots.add(tls.current().certificate.clone()).unwrap();
        let (port, _stop, _serving) = serve(RespOptions::default(), Some(tls)).await;
        let client = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let name = "localhost".try_into().unwrap();
        let mut stream = TlsConnector::from(Arc::new(client)).connect(name, stream).await.unwrap();
        assert_eq!(say(&mut stream, "SET a 1\r\nGET a\r\n").await, "+OK\r\n$1\r\n1\r\n");
        let large = "x".repeat(300_000);
        assert_eq!(
            say(&mut stream, &format!("SET a {large}\r\n")).await,
            "-ERR Protocol error: too big inline request\r\n"
        );
    }
}

#[tokio::test]
async fn rows_of_tables_are_hashes() {
    check(
        "HGETALL table:twin:1\r\nHGET table:twin:1 id\r\nHGET table:twin:1 none\r\nHLEN table:twin:2\r\nHSET table:twin:1 a b\r\n\
         HGET table:secret:1 a\r\nHSET table:none:1 a b\r\nHGET table:none:1 a\r\n",
        "*2\r\n$2\r\nid\r\n$1\r\n1\r\n$1\r\n1\r\n$-1\r\n:0\r\n\
         -ERR rows of tables are read-only as hashes: use SQL to write them\r\n-NOPERM no right to read it\r\n:1\r\n$1\r\nb\r\n",
    )
    .await;
    // A key of that name comes first, also one that the same pipeline makes.
    check(
        "RPUSH table:twin:1 x\r\nHGET table:twin:1 id\r\n",
        ":1\r\n-WRONGTYPE Operation against a key holding the wrong kind of value\r\n",
    )
    .await;
    // So it is in a transaction, whose keys come first, too.
    check(
        "MULTI\r\nHLEN table:twin:1\r\nHGETALL table:twin:1\r\nHMGET table:twin:1 id no\r\nHGET table:secret:1 a\r\nHLEN table:none:1\r\nEXEC\r\n",
        "+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n*5\r\n:1\r\n*2\r\n$2\r\nid\r\n$1\r\n1\r\n*2\r\n$1\r\n1\r\n$-1\r\n\
         -NOPERM no right to read it\r\n:0\r\n",
    )
    .await;
    let read_only = "-ERR rows of tables are read-only as hashes: use SQL to write them\r\n";
    let aborted = "-EXECABORT Transaction discarded because of previous errors.\r\n";
    check("MULTI\r\nHSET table:twin:1 a b\r\nEXEC\r\n", &format!("+OK\r\n{read_only}{aborted}")).await;
    check(
        "WATCH k table:twin:1\r\nWATCH table:none:1 k k\r\n",
        "-ERR rows of tables cannot be watched: use a transaction of SQL\r\n+OK\r\n",
    )
    .await;
    // SKIP is for one command, and a pause holds those that would write.
    check("CLIENT REPLY SKIP\r\nHGET table:twin:1 id\r\nPING\r\n", "+PONG\r\n").await;
    let door = door(None);
    let (mut one, mut other) = (connect(&door), connect(&door));
    exchange(&mut other, "CLIENT PAUSE 60000 ALL\r\n", "+OK\r\n", 99).await;
    one.write_all(b"HGET table:twin:1 id\r\n").await.unwrap();
    let mut byte = [0];
    assert!(tokio::time::timeout(Duration::from_millis(200), one.read(&mut byte)).await.is_err(), "it is held back");
    exchange(&mut other, "CLIENT UNPAUSE\r\n", "+OK\r\n", 99).await;
    exchange(&mut one, "", "$1\r\n1\r\n", 99).await;
}

mod garbage {
    use proptest::prelude::*;

    use super::*;

    /// Words that the door knows, and others.
    fn word() -> impl Strategy<Value = String> {
        let names: Vec<String> = crate::command::all()
            .into_iter()
            .map(|entry| entry.spec.name)
            .filter(|name| !matches!(*name, "debug" | "shutdown" | "quit" | "host:" | "post" | "monitor"))
            .flat_map(|name| {
                let entry = crate::command::find_name(name);
                let subs = entry.map(|entry| entry.subs.iter().map(|sub| sub.word().to_owned()).collect::<Vec<_>>());
                [vec![name.to_owned()], subs.unwrap_or_default()].concat()
            })
            .filter(|name| !matches!(name.as_str(), "pause" | "reply" | "kill" | "setuser"))
            .collect();
        prop_oneof![
            3 => prop::sample::select(names),
            1 => prop::sample::select(vec!["0", "1", "-1", "k", "*", "on", "off", "yes", "9223372036854775807", "", "1.5", "id", "type"])
                .prop_map(str::to_owned),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Whatever calls come, the connection answers and the next one works.
        #[test]
        fn calls_of_all_sorts_are_answered(calls in prop::collection::vec(prop::collection::vec(word(), 1..6), 1..20)) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let door = door(None);
                let mut stream = connect(&door);
                for call in calls {
                    let blocks = call.first().is_some_and(|name| {
                        crate::command::find_name(name)
                            .is_some_and(|entry| entry.spec.flags.contains(perigee_keyspace::Flags::BLOCKING))
                    });
                    if blocks {
                        continue;
                    }
                    let mut bytes = format!("*{}\r\n", call.len());
                    for word in &call {
                        bytes.push_str(&format!("${}\r\n{word}\r\n", word.len()));
                    }
                    stream.write_all(bytes.as_bytes()).await.unwrap();
                }
                stream.write_all(b"RESET\r\n").await.unwrap();
                let mut got = String::new();
                while !got.ends_with("+RESET\r\n") {
                    let more = read(&mut stream, 1).await;
                    assert!(!more.is_empty(), "closed or silent behind {got:?}");
                    got += &more;
                }
            });
        }
    }
}

#[tokio::test]
async fn a_wait_ends_with_its_client() {
    let door = door(None);
    let mut other = connect(&door);
    for wait in ["BLPOP q 0\r\n", "BLPOP none q 60\r\n", "PING\r\nBLMOVE q x LEFT LEFT 0\r\n", "BLMPOP 0 1 q LEFT\r\n"]
    {
        for pause_ms in [0, 0, 0, 1, 5] {
            let mut gone = connect(&door);
            gone.write_all(wait.as_bytes()).await.unwrap();
            tokio::time::sleep(Duration::from_millis(pause_ms)).await;
            drop(gone);
            // Until the server knows; the command may be on its way to the log when its client goes.
            for _ in 0..1_000 {
                exchange(&mut other, "ECHO x\r\n", "$1\r\nx\r\n", 100).await;
                other.write_all(b"INFO clients\r\n").await.unwrap();
                let text = read(&mut other, 150).await;
                if text.contains("connected_clients:1\r\n") && text.contains("blocked_clients:0\r\n") {
                    break;
                }
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
            exchange(&mut other, "RPUSH q e\r\nLPOP q\r\n", ":1\r\n$1\r\ne\r\n", 100).await;
        }
    }
}

#[tokio::test]
async fn who_is_seen_to_be_blocked_can_be_unblocked() {
    let door = door(None);
    let (mut waiting, mut other) = (connect(&door), connect(&door));
    exchange(&mut waiting, "CLIENT ID\r\n", "", 99).await;
    let id = read(&mut waiting, 4).await.trim_start_matches(':').trim().to_owned();
    for _ in 0..100 {
        waiting.write_all(b"BLPOP q 0\r\n").await.unwrap();
        loop {
            other.write_all(b"INFO clients\r\n").await.unwrap();
            if read(&mut other, 150).await.contains("blocked_clients:1\r\n") {
                break;
            }
        }
        // Once: it may not be in the log yet when it is asked for again.
        let twice = format!("CLIENT UNBLOCK {id}\r\n").repeat(2);
        exchange(&mut other, &twice, ":1\r\n:0\r\n", 99).await;
        exchange(&mut waiting, "", "*-1\r\n", 99).await;
    }
}
