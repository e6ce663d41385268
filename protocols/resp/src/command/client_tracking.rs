//! CLIENT TRACKING, TRACKINGINFO, CACHING, GETREDIR

use std::sync::Arc;

use bytes::Bytes;
use perigee_keyspace::{Category, Error, Reply, Result, args};

use super::{NOSCRIPT_LOADING_STALE, commands, text};
use crate::client::TrackingView;
use crate::session::{Session, Tracking};

commands! {
    "client|tracking" -3 NOSCRIPT_LOADING_STALE, Category::CONNECTION, Connection "6.0.0" "Tells this connection of keys that change" now tracking;
    "client|trackinginfo" 2 NOSCRIPT_LOADING_STALE, Category::CONNECTION, Connection "6.2.0" "What is tracked for this connection" now tracking_info;
    "client|caching" 3 NOSCRIPT_LOADING_STALE, Category::CONNECTION, Connection "6.0.0" "Whether the keys of the next command are tracked" now caching;
    "client|getredir" 2 NOSCRIPT_LOADING_STALE, Category::CONNECTION, Connection "6.0.0" "The connection that is told instead of this one" now redirect;
}

fn tracking(session: &mut Session, words: &[Bytes]) -> Result<Reply> {
    let on = match &words[2] {
        word if args::is(word, "on") => true,
        word if args::is(word, "off") => false,
        _ => return Err(Error::SYNTAX),
    };
    let mut wanted = Tracking { on, ..Tracking::default() };
    let mut rest = words[3..].iter();
    while let Some(word) = rest.next() {
        if args::is(word, "redirect") {
            let id = rest.next().ok_or(Error::SYNTAX)?;
            if wanted.redirect != 0 {
                return Err(Error::reply("ERR A client can only redirect to a single other client"));
            }
            // No connection has a negative number.
            wanted.redirect = u64::try_from(args::integer(id)?).unwrap_or(u64::MAX);
            if session.shared.clients.get(wanted.redirect).is_none() {
                return Err(Error::reply("ERR The client ID you want redirect to does not exist"));
            }
        } else if args::is(word, "bcast") {
            wanted.bcast = true;
        } else if args::is(word, "optin") {
            wanted.optin = true;
        } else if args::is(word, "optout") {
            wanted.optout = true;
        } else if args::is(word, "noloop") {
            wanted.noloop = true;
        } else if args::is(word, "prefix") {
            wanted.prefixes.push(Bytes::copy_from_slice(rest.next().ok_or(Error::SYNTAX)?));
        } else {
            return Err(Error::SYNTAX);
        }
    }
    let tenant = session.client.tenant();
    if !on {
        session.shared.tracking.stop(session.client.id, tenant);
        session.tracking = Tracking::default();
        session.client.view.lock().tracking = None;
        return Ok(Reply::OK);
    }
    check(session, &wanted)?;
    let before = std::mem::take(&mut session.tracking);
    if before.on && before.bcast {
        for prefix in before.prefixes {
            if !wanted.prefixes.contains(&prefix) && !prefix.is_empty() {
                wanted.prefixes.push(prefix);
            }
        }
    }
    if wanted.bcast && wanted.prefixes.is_empty() {
        wanted.prefixes.push(Bytes::new());
    }
    wanted.prefixes.sort_unstable();
    session.show();
    let prefixes = wanted.bcast.then_some(wanted.prefixes.as_slice());
    session.shared.tracking.start(&Arc::clone(&session.client), wanted.redirect, wanted.noloop, prefixes);
    session.client.view.lock().tracking =
        Some(TrackingView { redirect: wanted.redirect, bcast: wanted.bcast, broken: false });
    session.tracking = wanted;
    Ok(Reply::OK)
}

/// Whether options fit together, and with what was chosen before.
fn check(session: &Session, wanted: &Tracking) -> Result<()> {
    if !wanted.bcast && !wanted.prefixes.is_empty() {
        return Err(Error::reply("ERR PREFIX option requires BCAST mode to be enabled"));
    }
    let before = &session.tracking;
    if before.on && before.bcast != wanted.bcast {
        return Err(Error::reply(
            "ERR You can't switch BCAST mode on/off before disabling tracking for this client, and then re-enabling it with a different mode.",
        ));
    }
    if wanted.bcast && (wanted.optin || wanted.optout) {
        return Err(Error::reply("ERR OPTIN and OPTOUT are not compatible with BCAST"));
    }
    if wanted.optin && wanted.optout {
        return Err(Error::reply("ERR You can't specify both OPTIN mode and OPTOUT mode"));
    }
    if before.on && ((wanted.optin && before.optout) || (wanted.optout && before.optin)) {
        return Err(Error::reply(
            "ERR You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, and then re-enabling it with a different mode.",
        ));
    }
    for (number, prefix) in wanted.prefixes.iter().enumerate() {
        let others = wanted.prefixes[number + 1..].iter();
        if let Some(other) = others.clone().find(|other| overlap(prefix, other)) {
            return Err(Error::reply(format!(
                "ERR Prefix '{}' overlaps with another provided prefix '{}'. Prefixes for a single client must not overlap.",
                text(prefix),
                text(other)
            )));
        }
        let known = before.prefixes.iter().filter(|known| *known != prefix);
        if let Some(other) = known.clone().find(|known| overlap(prefix, known)) {
            return Err(Error::reply(format!(
                "ERR Prefix '{}' overlaps with an existing prefix '{}'. Prefixes for a single client must not overlap.",
                text(prefix),
                text(other)
            )));
        }
    }
    Ok(())
}

fn overlap(a: &[u8], b: &[u8]) -> bool {
    a.starts_with(b) || b.starts_with(a)
}

fn tracking_info(session: &mut Session, _args: &[Bytes]) -> Result<Reply> {
    let tracking = &session.tracking;
    let mut flags = vec![Reply::bulk(if tracking.on { "on" } else { "off" })];
    let mut flag = |name: &str, holds: bool| {
        if holds {
            flags.push(Reply::bulk(name));
        }
    };
    flag("bcast", tracking.bcast);
    flag("optin", tracking.optin);
    flag("caching-yes", tracking.optin && tracking.caching == Some(true));
    flag("optout", tracking.optout);
    flag("caching-no", tracking.optout && tracking.caching == Some(false));
    flag("noloop", tracking.noloop);
    flag("broken_redirect", session.client.view.lock().tracking.is_some_and(|view| view.broken));
    let redirect = if tracking.on { i64::try_from(tracking.redirect).unwrap_or(i64::MAX) } else { -1 };
    let prefixes = tracking.prefixes.iter().map(|prefix| Reply::Bulk(prefix.clone())).collect();
    Ok(Reply::Map(vec![
        (Reply::bulk("flags"), Reply::Set(flags)),
        (Reply::bulk("redirect"), Reply::Integer(redirect)),
        (Reply::bulk("prefixes"), Reply::Array(prefixes)),
    ]))
}

fn caching(session: &mut Session, words: &[Bytes]) -> Result<Reply> {
    let tracking = &mut session.tracking;
    if !tracking.on {
        return Err(Error::reply(
            "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled",
        ));
    }
    if args::is(&words[2], "yes") {
        if !tracking.optin {
            return Err(Error::reply("ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode."));
        }
        tracking.caching = Some(true);
    } else if args::is(&words[2], "no") {
        if !tracking.optout {
            return Err(Error::reply("ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode."));
        }
        tracking.caching = Some(false);
    } else {
        return Err(Error::SYNTAX);
    }
    Ok(Reply::OK)
}

fn redirect(session: &mut Session, _args: &[Bytes]) -> Result<Reply> {
    let tracking = &session.tracking;
    Ok(Reply::Integer(if tracking.on { i64::try_from(tracking.redirect).unwrap_or(i64::MAX) } else { -1 }))
}
