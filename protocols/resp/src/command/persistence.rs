//! SAVE, BGSAVE, BGREWRITEAOF, LASTSAVE: everything that was answered is in the log already

use bytes::Bytes;
use perigee_keyspace::{Category, Error, Flags, Reply, Result, args};

use super::{LOADING_STALE, commands};
use crate::session::Session;

const SAVE: Flags = Flags::ADMIN.union(Flags::NOSCRIPT).union(Flags::NO_ASYNC_LOADING);

commands! {
    "save" 1 SAVE.union(Flags::NO_MULTI), Category::empty(), Server "1.0.0" "Nothing: what was answered is saved" now |_, _| Ok(Reply::OK);
    "bgsave" -1 SAVE, Category::empty(), Server "1.0.0" "Nothing: what was answered is saved" now bgsave;
    "bgrewriteaof" 1 SAVE, Category::empty(), Server "1.0.0" "Nothing: the log is cut behind checkpoints" now |_, _| {
        Ok(Reply::status("Background append only file rewriting started"))
    };
    "lastsave" 1 LOADING_STALE.union(Flags::FAST), Category::ADMIN.union(Category::DANGEROUS), Server "1.0.0" "When the last checkpoint was made" now last_save;
}

fn bgsave(_session: &mut Session, words: &[Bytes]) -> Result<Reply> {
    match words.get(1) {
        None => Ok(Reply::status("Background saving started")),
        Some(word) if words.len() == 2 && args::is(word, "schedule") => Ok(Reply::status("Background saving started")),
        Some(_) => Err(Error::SYNTAX),
    }
}

fn last_save(session: &mut Session, _args: &[Bytes]) -> Result<Reply> {
    Ok(Reply::Integer(session.shared.host.facts().saved_s()))
}
