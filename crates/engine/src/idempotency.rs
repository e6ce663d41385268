//! Idempotency keys of requests: what was answered is kept in the entry of what the request has done.
//!
//! The rows are those of `PERIGEE.ONCE`. A transaction depends on the key that it looks at, so of two with the same key one is committed.

use perigee_keyspace::command::Once;
use perigee_query::keyspace::draft_error;
use perigee_types::{SqlError, SqlResult};

use crate::session::Session;

impl Session {
    /// What was kept of a key.
    ///
    /// # Errors
    /// `0A000` on a node without a keyspace, `58030` where the disk cannot be read.
    pub fn once(&mut self, key: &str) -> SqlResult<Option<Once>> {
        let draft = self.draft()?.ok_or_else(unsupported)?;
        draft.once(key.as_bytes()).map_err(draft_error)
    }

    /// Keeps something of a key with what the open transaction does. An answer with a secret is not kept.
    ///
    /// # Errors
    /// `25006` where nothing may be written, `53200` where there is no memory.
    pub fn keep_once(&mut self, key: &str, once: &Once) -> SqlResult<()> {
        self.transaction()?.check_writable("INSERT")?;
        let draft = self.draft()?.ok_or_else(unsupported)?;
        let bare = self.shows_secret.then(|| Once { reply: None, ..once.clone() });
        draft.keep_once(key.as_bytes(), bare.as_ref().unwrap_or(once)).map_err(draft_error)
    }
}

fn unsupported() -> SqlError {
    SqlError::unsupported("idempotency keys on a node without a keyspace")
}
