//! TIME, LOLWUT, SHUTDOWN, and two words that HTTP clients send

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use perigee_keyspace::{Category, Error, Flags, Reply, Result, args};

use super::{ADMIN, LOADING_STALE, commands};
use crate::session::Session;

commands! {
    "time" 1 LOADING_STALE.union(Flags::FAST), Category::empty(), Server "2.6.0" "The server's clock" now time;
    "lolwut" -1 Flags::READONLY.union(Flags::FAST), Category::empty(), Server "5.0.0" "A picture and the version" now lolwut;
    "shutdown" -1 ADMIN.union(Flags::NO_MULTI).union(Flags::ALLOW_BUSY), Category::empty(), Server "1.0.0" "Stops the server" now shutdown;
    "host:" -1 LOADING_STALE.union(Flags::READONLY), Category::empty(), Server "3.2.0" "Closes the connection of an HTTP client" now not_http;
    "post" -1 LOADING_STALE.union(Flags::READONLY), Category::empty(), Server "3.2.0" "Closes the connection of an HTTP client" now not_http;
}

fn time(_session: &mut Session, _args: &[Bytes]) -> Result<Reply> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(Reply::Array(vec![Reply::bulk(now.as_secs().to_string()), Reply::bulk(now.subsec_micros().to_string())]))
}

fn lolwut(session: &mut Session, words: &[Bytes]) -> Result<Reply> {
    if let [_, word, version, ..] = words
        && args::is(word, "version")
    {
        args::integer(version)?;
    }
    let version = session.shared.host.facts().version;
    let text = format!(
        "      . '  *\n    .  ___   ' .\n   *  (___)    the lowest point of an orbit\n    '  .   *  .\n\nRedis ver. {} (Perigee {version})\n",
        crate::info::REDIS_VERSION
    );
    Ok(Reply::Verbatim("txt", text.into()))
}

fn shutdown(session: &mut Session, words: &[Bytes]) -> Result<Reply> {
    let (mut abort, mut save, mut nosave) = (false, false, false);
    for word in &words[1..] {
        match word {
            word if args::is(word, "abort") => abort = true,
            word if args::is(word, "save") => save = true,
            word if args::is(word, "nosave") => nosave = true,
            word if args::is(word, "now") || args::is(word, "force") => {}
            _ => return Err(Error::SYNTAX),
        }
    }
    if (save && nosave) || (abort && words.len() > 2) {
        return Err(Error::SYNTAX);
    }
    if abort {
        return Err(Error::reply("ERR No shutdown in progress."));
    }
    // Everything that was answered is in the log: there is nothing to save.
    session.shared.host.shutdown().map_err(|why| Error::reply(format!("ERR {why}")))?;
    session.closing = true;
    Ok(Reply::Nothing)
}

fn not_http(session: &mut Session, _args: &[Bytes]) -> Result<Reply> {
    tracing::warn!(client = session.client.id, "closed: it speaks HTTP, perhaps for somebody else");
    session.closing = true;
    Ok(Reply::Nothing)
}
