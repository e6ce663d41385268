//! SLOWLOG GET | LEN | RESET

use bytes::Bytes;
use perigee_keyspace::{Category, Error, Flags, Reply, Result, args};

use super::{LOADING_STALE, commands, help};
use crate::session::Session;

const LOOK: Flags = LOADING_STALE.union(Flags::ADMIN);

commands! {
    "slowlog" -2 Flags::empty(), Category::empty(), Server "2.2.12" "Commands that took long" container;
    "slowlog|get" -2 LOOK, Category::empty(), Server "2.2.12" "The latest commands that took long" now get;
    "slowlog|len" 2 LOOK, Category::empty(), Server "2.2.12" "How many commands that took long are kept" now len;
    "slowlog|reset" 2 LOOK, Category::empty(), Server "2.2.12" "Forgets commands that took long" now reset;
    "slowlog|help" 2 LOADING_STALE, Category::empty(), Server "6.2.0" "What SLOWLOG can do" now helps;
}

fn get(session: &mut Session, args: &[Bytes]) -> Result<Reply> {
    if args.len() > 3 {
        return Err(super::wrong_sub("SLOWLOG", &args[1]));
    }
    let count = match args.get(2) {
        None => 10,
        Some(count) => {
            let count = args::parse_integer(count).filter(|count| *count >= -1);
            count.ok_or_else(|| Error::reply("ERR count should be greater than or equal to -1"))?
        }
    };
    let entries = session.shared.slowlog.newest(usize::try_from(count).unwrap_or(usize::MAX));
    let show = |slow: crate::slowlog::Slow| {
        Reply::Array(vec![
            Reply::Integer(slow.id),
            Reply::Integer(slow.time),
            Reply::Integer(slow.micros),
            Reply::Array(slow.args.into_iter().map(Reply::Bulk).collect()),
            Reply::bulk(slow.address),
            Reply::bulk(slow.name),
        ])
    };
    Ok(Reply::Array(entries.into_iter().map(show).collect()))
}

fn len(session: &mut Session, _args: &[Bytes]) -> Result<Reply> {
    Ok(Reply::count(session.shared.slowlog.len()))
}

fn reset(session: &mut Session, _args: &[Bytes]) -> Result<Reply> {
    session.shared.slowlog.clear();
    Ok(Reply::OK)
}

fn helps(_session: &mut Session, _args: &[Bytes]) -> Result<Reply> {
    Ok(help(
        "SLOWLOG",
        &[
            "GET [<count>]",
            "    The latest commands that took long (10 of them, or count; -1 for all).",
            "LEN",
            "    How many there are.",
            "RESET",
            "    Forgets them.",
        ],
    ))
}
