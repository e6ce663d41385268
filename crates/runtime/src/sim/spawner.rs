//! Threads that are tasks of one executor, so that a run has one order.

use crate::BoxFuture;
use crate::spawner::Spawner;

/// Spawns everything on the tokio runtime of the simulation, which has one thread.
#[derive(Clone, Copy, Debug, Default)]
pub struct SimSpawner;

impl SimSpawner {
    /// A spawner for the tokio runtime in which it is used.
    #[must_use]
    pub fn new() -> Self {
        Self
    }
}

impl Spawner for SimSpawner {
    fn spawn(&self, _name: &'static str, task: BoxFuture<'static, ()>) {
        tokio::spawn(task);
    }

    fn spawn_thread(&self, _name: &'static str, work: Box<dyn FnOnce() + Send>) {
        tokio::spawn(async move { work() });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use super::*;
    use crate::sim::{SimFiles, block_on, runtime};

    #[test]
    fn threads_run_as_tasks() {
        block_on(async {
            let machine = runtime(SimFiles::new(), 0);
            let done = Arc::new(AtomicU32::new(0));
            let (a, b) = (Arc::clone(&done), Arc::clone(&done));
            SimSpawner::new()
                .spawn("a", Box::pin(async move { a.store(a.load(Ordering::SeqCst) + 1, Ordering::SeqCst) }));
            machine
                .spawner
                .spawn_thread("b", Box::new(move || b.store(b.load(Ordering::SeqCst) + 10, Ordering::SeqCst)));
            machine.clock.sleep(Duration::from_millis(1)).await;
            assert_eq!(done.load(Ordering::SeqCst), 11);
        })
        .unwrap();
    }
}
