//! What the door tells the keyspace about who runs scripts, and what it hears of their calls.

use std::sync::Arc;

use bytes::Bytes;
use perigee_keyspace::{Command, Denial, Effects, Group, Observed, Permit, Refuse, Unit};

use crate::acl::{Reason, User};
use crate::client::Client;
use crate::command;
use crate::session::Session;
use crate::shared::Shared;

impl Session {
    /// A unit of these commands, with what its scripts have to know.
    pub(crate) fn unit(&mut self, commands: Vec<Command>) -> Unit {
        let mut unit =
            Unit { db: self.db_id(), resp3: self.resp3, client: self.client.id, commands, ..Unit::default() };
        if unit.commands.iter().any(|command| command.spec.finds_keys()) {
            unit.permit = self.script_permit();
        }
        if unit.commands.iter().any(|command| command.spec.group == Group::Scripting) {
            unit.refuse.set(Refuse::MEMORY, self.shared.is_out_of_memory());
            unit.refuse.set(Refuse::REPLICAS, self.shared.lacks_replicas());
            unit.permit = self.script_permit();
            unit.observed = Observed::COUNTS;
            unit.observed.set(Observed::ARGS, self.shared.monitors.is_any());
            unit.observed.set(Observed::READS, self.remembers_reads());
        }
        unit
    }

    /// What the user's scripts may do; `None` for everything.
    pub(crate) fn script_permit(&mut self) -> Option<Arc<Permit>> {
        if self.user.is_unbounded() {
            return None;
        }
        if let Some((user, permit)) = &self.permit
            && Arc::ptr_eq(user, &self.user)
        {
            return Some(Arc::clone(permit));
        }
        let permit = Arc::new(permit_of(&self.user));
        self.permit = Some((Arc::clone(&self.user), Arc::clone(&permit)));
        Some(permit)
    }
}

fn permit_of(user: &User) -> Permit {
    let grants = user.selectors.iter().map(|selector| selector.grant()).collect();
    Permit { user: Bytes::copy_from_slice(user.name.as_bytes()), grants }
}

impl Shared {
    /// Counts, shows and remembers the calls of a client's script.
    pub(crate) fn script_calls(&self, effects: &Effects, client: &Client) {
        for calls in &effects.calls {
            if let Some(entry) = command::find_name(calls.spec.name) {
                self.stats.ran_in_script(entry.number, calls);
            }
        }
        effects.call_errors.iter().for_each(|prefix| self.stats.count_error_prefix(prefix));
        for (db, args) in &effects.call_args {
            self.monitors.tell(self, *db, "lua", args);
        }
        if !effects.reads.is_empty() {
            self.tracking.remember(self, client, &effects.reads);
        }
        for denial in &effects.denials {
            let (reason, object) = match denial {
                Denial::Command(name) => (Reason::Command, (*name).to_owned()),
                Denial::Key(key) => (Reason::Key, String::from_utf8_lossy(key).into_owned()),
                Denial::Channel(channel) => (Reason::Channel, String::from_utf8_lossy(channel).into_owned()),
                Denial::Sort(_) => continue,
            };
            let user = client.view.lock().user.clone();
            let info = command::describe_client(self, client);
            let length_max = self.config.hot.acl_log_length_max.load(std::sync::atomic::Ordering::Relaxed);
            self.acl_log.add(reason, "lua", &object, &user, info, length_max);
        }
    }
}
