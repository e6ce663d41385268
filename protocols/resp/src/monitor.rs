//! MONITOR: every command, as it runs, for those who watch.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use parking_lot::Mutex;

use crate::client::Client;
use crate::shared::Shared;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Monitors {
    clients: Mutex<Vec<Arc<Client>>>,
    is_any: AtomicBool,
}

impl Monitors {
    pub(crate) fn is_any(&self) -> bool {
        self.is_any.load(Ordering::Relaxed)
    }

    pub(crate) fn add(&self, client: &Arc<Client>) {
        let mut clients = self.clients.lock();
        if !clients.iter().any(|known| known.id == client.id) {
            clients.push(Arc::clone(client));
        }
        self.is_any.store(true, Ordering::Relaxed);
    }

    pub(crate) fn remove(&self, id: u64) {
        if self.is_any() {
            let mut clients = self.clients.lock();
            clients.retain(|client| client.id != id);
            self.is_any.store(!clients.is_empty(), Ordering::Relaxed);
        }
    }

    pub(crate) fn tell(&self, shared: &Shared, db: u32, address: &str, args: &[Bytes]) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut line = format!("+{}.{:06} [{db} {address}]", now.as_secs(), now.subsec_micros());
        for (number, arg) in args.iter().enumerate() {
            let hidden = number > 0 && args.first().is_some_and(|name| hides(name));
            line.push(' ');
            quote(&mut line, if hidden { b"(redacted)" } else { arg });
        }
        line.push_str("\r\n");
        for client in self.clients.lock().iter() {
            shared.send(client, line.as_bytes());
        }
    }
}

/// Whether a command's arguments hold passwords.
pub(crate) fn hides(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"auth") || name.eq_ignore_ascii_case(b"hello")
}

/// An argument in quotes, with what cannot be printed as `\xNN`.
pub(crate) fn quote(line: &mut String, bytes: &[u8]) {
    line.push('"');
    for byte in bytes {
        match byte {
            b'\\' | b'"' => {
                line.push('\\');
                line.push(char::from(*byte));
            }
            b'\n' => line.push_str("\\n"),
            b'\r' => line.push_str("\\r"),
            b'\t' => line.push_str("\\t"),
            0x07 => line.push_str("\\a"),
            0x08 => line.push_str("\\b"),
            b' '..=b'~' => line.push(char::from(*byte)),
            other => line.push_str(&format!("\\x{other:02x}")),
        }
    }
    line.push('"');
}
