//! MODULE: there are none; time series are part of the server, and clients look for them by their module's name.

use bytes::Bytes;
use perigee_keyspace::{Category, Error, Flags, Reply, Result};

use super::{LOADING_STALE, commands, help};
use crate::session::Session;

const ADMIN: Flags = Flags::ADMIN.union(Flags::NOSCRIPT);

commands! {
    "module" -2 Flags::empty(), Category::empty(), Server "4.0.0" "Modules" container;
    "module|list" 2 ADMIN, Category::empty(), Server "4.0.0" "What is built in that Redis has as modules" now |_, _| Ok(list());
    "module|load" -3 ADMIN.union(Flags::NO_ASYNC_LOADING), Category::empty(), Server "4.0.0" "Cannot be done" now refuse;
    "module|loadex" -3 ADMIN.union(Flags::NO_ASYNC_LOADING), Category::empty(), Server "7.0.0" "Cannot be done" now refuse;
    "module|unload" 3 ADMIN.union(Flags::NO_ASYNC_LOADING), Category::empty(), Server "4.0.0" "Cannot be done" now refuse;
    "module|help" 2 LOADING_STALE, Category::empty(), Server "5.0.0" "What MODULE can do" now |_, _| Ok(help("MODULE", &["LIST", "    What is built in that Redis has as modules."]));
}

/// What HELLO and MODULE LIST show.
pub(super) fn list() -> Reply {
    if super::find_name("ts.add").is_none() {
        return Reply::Array(Vec::new());
    }
    Reply::Array(vec![Reply::Map(vec![
        (Reply::bulk("name"), Reply::bulk("timeseries")),
        (Reply::bulk("ver"), Reply::Integer(11_202)),
        (Reply::bulk("path"), Reply::bulk("")),
        (Reply::bulk("args"), Reply::Array(Vec::new())),
    ])])
}

fn refuse(_session: &mut Session, _args: &[Bytes]) -> Result<Reply> {
    Err(Error::reply("ERR MODULE command not allowed: this server has no modules"))
}
