//! SQL statement [argument …]

use std::sync::Arc;

use bytes::Bytes;
use perigee_keyspace::{Category, Error, Flags, Reply, Result};

use super::commands;
use crate::session::{Ended, Session};

const FLAGS: Flags = Flags::NOSCRIPT.union(Flags::NO_MULTI).union(Flags::WRITE);

commands! {
    "sql" -2 FLAGS, Category::DANGEROUS, Generic "7.4.0" "Runs an SQL statement" later sql;
}

async fn sql(session: &mut Session, args: &[Bytes]) -> Result<Result<Reply>, Ended> {
    let Ok(statement) = std::str::from_utf8(&args[1]).map(str::to_owned) else {
        return Ok(Err(Error::reply("ERR a statement is UTF-8")));
    };
    let (host, role, values) = (Arc::clone(&session.shared.host), session.user.role(), args[2..].to_vec());
    // What the client has left goes on to its end: a statement that has written is not taken back.
    Ok(Ok(session.wait(false, async move { host.sql(role, &statement, &values).await }).await?))
}
