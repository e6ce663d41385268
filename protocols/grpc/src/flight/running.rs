//! Statements that run, by what their tickets are known by.

use std::collections::HashMap;
use std::sync::Arc;

use futures::StreamExt as _;
use parking_lot::Mutex;
use perigee_door::Door;

use crate::stream::Messages;

/// A session's number and secret, and who has its statement run.
type Process = ((i32, i32), String);

/// What runs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Running(Arc<Mutex<HashMap<Vec<u8>, Process>>>);

impl Running {
    /// Notes that a statement runs, until its rows are given or nobody wants them.
    pub(crate) fn note<T: 'static>(
        &self,
        id: Vec<u8>,
        process: (i32, i32),
        user: &str,
        rows: Messages<T>,
    ) -> Messages<T> {
        self.0.lock().insert(id.clone(), (process, user.to_owned()));
        let noted = Noted(self.clone(), id);
        rows.map(move |row| {
            let _noted = &noted;
            row
        })
        .boxed()
    }

    /// Cancels a statement of a role; whether it runs.
    pub(crate) fn cancel(&self, id: &[u8], user: &str, door: &Door) -> bool {
        let found = self.0.lock().get(id).filter(|(_, owner)| owner == user).map(|(process, _)| *process);
        if let Some((number, secret)) = found {
            door.engine.cancel(number, secret);
        }
        found.is_some()
    }
}

struct Noted(Running, Vec<u8>);

impl Drop for Noted {
    fn drop(&mut self) {
        self.0.0.lock().remove(&self.1);
    }
}
