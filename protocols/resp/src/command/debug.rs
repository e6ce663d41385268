//! DEBUG, as far as tests and tools need it

use std::time::Duration;

use bytes::Bytes;
use perigee_keyspace::{Category, Command, Error, Reply, Result, args};

use super::{ADMIN, commands, text};
use crate::session::{Ended, Session};

commands! {
    "debug" -2 ADMIN, Category::empty(), Server "1.0.0" "Looks inside of the server" later debug;
}

async fn debug(session: &mut Session, words: &[Bytes]) -> Result<Result<Reply>, Ended> {
    let word = text(&words[1]).to_ascii_lowercase();
    Ok(match (word.as_str(), words.get(2)) {
        ("sleep", Some(seconds)) => {
            let seconds = args::parse_float(seconds).filter(|seconds| (0.0..=3_600.0).contains(seconds));
            match seconds {
                // As Redis takes it for none.
                None => Ok(Reply::OK),
                Some(seconds) => {
                    session.wait(false, tokio::time::sleep(Duration::from_secs_f64(seconds))).await?;
                    Ok(Reply::OK)
                }
            }
        }
        ("object", Some(key)) => object(session, key),
        ("error", Some(message)) => Ok(Reply::error(text(message).into_owned())),
        ("protocol", Some(kind)) => protocol(&text(kind).to_ascii_lowercase()),
        // Settings of Redis's insides that change nothing here.
        (
            "set-active-expire"
            | "quicklist-packed-threshold"
            | "set-disable-deny-scripts"
            | "pause-cron"
            | "replybuffer"
            | "dict-resizing"
            | "client-enforce-reply-list"
            | "script"
            | "stringmatch-len"
            | "replicate",
            Some(_),
        )
        | ("config-rewrite-force-all" | "change-repl-id" | "jmap", None)
        | ("reload" | "loadaof", _) => Ok(Reply::OK),
        ("help", None) => Ok(super::help(
            "DEBUG",
            &[
                "ERROR <string>",
                "    Answers with an error.",
                "OBJECT <key>",
                "    How a key is kept.",
                "PROTOCOL <type>",
                "    Answers with a reply of a type.",
                "SLEEP <seconds>",
                "    Answers later.",
            ],
        )),
        _ => Err(super::wrong_sub("DEBUG", &words[1])),
    })
}

fn object(session: &mut Session, key: &Bytes) -> Result<Reply> {
    let mut ask = |words: [&str; 2]| {
        let args: Vec<Bytes> = words.iter().map(|word| Bytes::from((*word).to_owned())).chain([key.clone()]).collect();
        let entry = super::find(&args);
        let super::Found::Command(entry) = entry else { return Reply::Null };
        session.read(&[Command { spec: entry.spec, args }]).into_iter().next().unwrap_or(Reply::Null)
    };
    let encoding = match ask(["OBJECT", "ENCODING"]) {
        Reply::Bulk(encoding) => text(&encoding).into_owned(),
        _ => return Err(Error::NO_SUCH_KEY),
    };
    let bytes = match ask(["MEMORY", "USAGE"]) {
        Reply::Integer(bytes) => bytes,
        _ => 0,
    };
    Ok(Reply::Status(
        format!(
            "Value at:0x0 refcount:1 encoding:{encoding} serializedlength:{bytes} lru:0 lru_seconds_idle:0 ql_nodes:1"
        )
        .into(),
    ))
}

fn protocol(kind: &str) -> Result<Reply> {
    let numbers = || (0..3).map(Reply::Integer).collect::<Vec<_>>();
    Ok(match kind {
        "string" => Reply::bulk("Hello World"),
        "integer" => Reply::Integer(12_345),
        // Which number it is, tests of clients know.
        "double" => Reply::Double(3_141.0 / 1_000.0),
        "null" => Reply::Null,
        "array" => Reply::Array(numbers()),
        "set" => Reply::Set(numbers()),
        "map" => Reply::Map((0..3).map(|n| (Reply::Integer(n), Reply::Boolean(n == 1))).collect()),
        "attrib" => Reply::Attribute(
            vec![(Reply::bulk("key-popularity"), Reply::Array(vec![Reply::bulk("key:123"), Reply::Integer(90)]))],
            Box::new(Reply::bulk("Some real reply following the attribute")),
        ),
        "push" => Reply::Push(vec![Reply::bulk("server-cpu-usage"), Reply::Integer(42)]),
        "bignum" => Reply::BigNumber("1234567999999999999999999999999999999".to_owned()),
        "verbatim" => Reply::Verbatim("txt", Bytes::from_static(b"This is a verbatim\nstring")),
        "true" => Reply::Boolean(true),
        "false" => Reply::Boolean(false),
        _ => {
            return Err(Error::reply(
                "ERR Wrong protocol type name. Please use one of the following: string|integer|double|null|array|set|map|attrib|push|verbatim|true|false",
            ));
        }
    })
}
