//! INFO [section …]

use bytes::Bytes;
use perigee_keyspace::{Category, Reply, Result};

use super::{LOADING_STALE, commands, text};
use crate::session::Session;

commands! {
    "info" -1 LOADING_STALE, Category::DANGEROUS, Server "1.0.0" "What the server says about itself" now info;
}

fn info(session: &mut Session, args: &[Bytes]) -> Result<Reply> {
    let wanted: Vec<String> = args[1..].iter().map(|word| text(word).to_ascii_lowercase()).collect();
    let report = crate::info::report(&session.shared, session.client.tenant(), &wanted);
    Ok(Reply::Verbatim("txt", report.into()))
}
