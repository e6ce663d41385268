//! CLIENT KILL address | CLIENT KILL option value …

use std::sync::Arc;

use bytes::Bytes;
use perigee_keyspace::{Category, Error, Reply, Result, args};

use super::client::{is_kind, kind_of};
use super::{ADMIN, commands, text};
use crate::client::Client;
use crate::session::{Killed, Session};

commands! {
    "client|kill" -3 ADMIN, Category::CONNECTION, Connection "2.4.0" "Closes connections" now kill;
}

#[derive(Default)]
struct Filter {
    id: Option<u64>,
    kind: Option<&'static str>,
    address: Option<String>,
    local: Option<String>,
    user: Option<String>,
    age_s: Option<u64>,
    keeps_me: bool,
}

impl Filter {
    fn takes(&self, client: &Client, me: u64) -> bool {
        self.id.is_none_or(|id| client.id == id)
            && self.kind.is_none_or(|kind| is_kind(client, kind))
            && self.address.as_ref().is_none_or(|address| client.address() == *address)
            && self.local.as_ref().is_none_or(|local| client.local_address() == *local)
            && self.user.as_ref().is_none_or(|user| client.view.lock().user == *user)
            && self.age_s.is_none_or(|age| client.age_ms() / 1_000 >= age)
            && !(self.keeps_me && client.id == me)
    }
}

fn kill(session: &mut Session, args: &[Bytes]) -> Result<Reply> {
    if let [_, _, address] = args {
        let found = session.shared.clients.all().into_iter().find(|client| client.address().as_bytes() == *address);
        let Some(client) = found else { return Err(Error::reply("ERR No such client")) };
        end(session, &client);
        return Ok(Reply::OK);
    }
    let filter = parse(session, &args[2..])?;
    let me = session.client.id;
    let found: Vec<Arc<Client>> = session
        .shared
        .clients
        .all()
        .into_iter()
        .filter(|client| client.killed().is_none() && filter.takes(client, me))
        .collect();
    for client in &found {
        end(session, client);
    }
    Ok(Reply::count(found.len()))
}

/// Ends a connection; this one behind the reply.
fn end(session: &mut Session, client: &Client) {
    if client.id == session.client.id {
        session.closing = true;
    } else {
        client.kill(Killed::Now);
    }
}

fn parse(session: &Session, words: &[Bytes]) -> Result<Filter> {
    let mut filter = Filter { keeps_me: true, ..Filter::default() };
    for pair in words.chunks(2) {
        let [option, value] = pair else { return Err(Error::SYNTAX) };
        if args::is(option, "id") {
            let id = args::parse_integer(value).and_then(|id| u64::try_from(id).ok()).filter(|id| *id > 0);
            filter.id = Some(id.ok_or_else(|| Error::reply("ERR client-id should be greater than 0"))?);
        } else if args::is(option, "maxage") {
            let age = args::parse_integer(value).and_then(|age| u64::try_from(age).ok()).filter(|age| *age > 0);
            filter.age_s = Some(age.ok_or_else(|| Error::reply("ERR maxage is not an integer or out of range"))?);
        } else if args::is(option, "type") {
            filter.kind = Some(kind_of(value)?);
        } else if args::is(option, "addr") {
            filter.address = Some(text(value).into_owned());
        } else if args::is(option, "laddr") {
            filter.local = Some(text(value).into_owned());
        } else if args::is(option, "user") {
            let user = text(value).into_owned();
            let is_known = session.shared.host.account(&user).is_some()
                || session.shared.clients.all().iter().any(|client| client.view.lock().user == user);
            if !is_known {
                return Err(Error::reply(format!("ERR No such user '{user}'")));
            }
            filter.user = Some(user);
        } else if args::is(option, "skipme") {
            filter.keeps_me = match value {
                value if args::is(value, "yes") => true,
                value if args::is(value, "no") => false,
                _ => return Err(Error::SYNTAX),
            };
        } else {
            return Err(Error::SYNTAX);
        }
    }
    Ok(filter)
}
