//! Tasks and threads.

use std::fmt;
use std::thread;

use tokio::runtime::Handle;

use crate::BoxFuture;

/// Starts work that goes on by itself.
pub trait Spawner: Send + Sync + 'static {
    /// Starts a task. The name is for traces.
    fn spawn(&self, name: &'static str, task: BoxFuture<'static, ()>);

    /// Starts a thread of its own for blocking work.
    ///
    /// In a simulation it is a task of the one executor: it runs from its first to its last line without a break, so
    /// that work which may be simulated must not wait for other tasks in it.
    fn spawn_thread(&self, name: &'static str, work: Box<dyn FnOnce() + Send>);
}

/// Tasks on a tokio runtime, threads of the operating system.
#[derive(Clone)]
pub struct SystemSpawner {
    handle: Option<Handle>,
}

impl SystemSpawner {
    /// Spawns on `handle`, from wherever it is called.
    #[must_use]
    pub fn on(handle: Handle) -> Self {
        Self { handle: Some(handle) }
    }

    /// Spawns on the tokio runtime that the caller runs in; a task spawned from outside of any is a panic, as with
    /// `tokio::spawn`.
    #[must_use]
    pub fn current() -> Self {
        Self { handle: None }
    }
}

impl Spawner for SystemSpawner {
    fn spawn(&self, _name: &'static str, task: BoxFuture<'static, ()>) {
        match &self.handle {
            Some(handle) => handle.spawn(task),
            None => tokio::spawn(task),
        };
    }

    fn spawn_thread(&self, name: &'static str, work: Box<dyn FnOnce() + Send>) {
        if let Err(e) = thread::Builder::new().name(name.to_owned()).spawn(work) {
            // No thread means that the machine is out of them; as `std::thread::spawn`, we do not go on without.
            panic!("cannot start the thread {name}: {e}");
        }
    }
}

impl fmt::Debug for SystemSpawner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SystemSpawner")
    }
}
