//! MONITOR

use bytes::Bytes;
use perigee_keyspace::{Category, Error, Reply, Result};

use super::{ADMIN, commands};
use crate::session::Session;

commands! {
    "monitor" 1 ADMIN, Category::empty(), Server "1.0.0" "Shows every command as it runs" now monitor;
}

fn monitor(session: &mut Session, _args: &[Bytes]) -> Result<Reply> {
    if session.in_exec {
        return Err(Error::reply("ERR MONITOR isn't allowed for DENY BLOCKING client"));
    }
    session.shared.monitors.add(&session.client);
    session.client.view.lock().monitor = true;
    Ok(Reply::OK)
}
