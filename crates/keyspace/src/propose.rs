//! From the line to the log.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use perigee_telemetry::trace::{self, Parent};

use crate::line::Line;
use crate::payload::{self, GONE, Header, Item, PART, SWEEP, UNITS, WHOLE};
use crate::service::{Keyspace, Proposer, SubmitError, Submitted};

/// Turns of other tasks that the line waits for as long as each brings more: clients that were just answered come back, and
/// an entry costs as much as dozens of its commands. Where nobody comes it is one turn.
const TURNS_MAX: usize = 16;
/// Fields of an entry; beyond it a unit goes in parts.
const ENTRY_BYTES_MAX: usize = 896 << 10;
/// Units are gathered up to about this.
const GATHERED_BYTES: usize = 512 << 10;
const GATHERED_ITEMS: usize = 4_096;
/// At most one sweep in this time, as long as one is enough.
const SWEEP_EVERY: Duration = Duration::from_secs(1);
/// And this long behind one that was not.
const SWEEP_AGAIN: Duration = Duration::from_millis(100);
/// Keys that one sweep ends, about.
const SWEEP_KEYS: usize = 20_000;

impl Keyspace {
    /// Takes what doors submit to the log, until it is dropped.
    pub async fn run(self: Arc<Self>, mut line: Line, proposer: Arc<dyn Proposer>) {
        let mut on_their_way: FuturesUnordered<BoxFuture<'static, (u64, Result<(), SubmitError>)>> =
            FuturesUnordered::new();
        let mut number = 0_u64;
        let mut gathered: Vec<Submitted> = Vec::new();
        let mut sweeping = None;
        let mut sweep = tokio::time::interval(SWEEP_EVERY);
        sweep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let free = on_their_way.len() < proposer.on_their_way_max();
            tokio::select! {
                biased;
                Some((number, result)) = on_their_way.next() => {
                    sweeping = sweeping.filter(|sweep| *sweep != number);
                    self.ended(number, result);
                }
                _ = line.wait(&mut gathered, GATHERED_ITEMS), if free => {
                    gather(&mut line, &mut gathered).await;
                    proposer.relieved().await;
                    for batch in divide(std::mem::take(&mut gathered)) {
                        number += 1;
                        if let Some(proposal) = self.propose(number, batch, &proposer) {
                            on_their_way.push(Box::pin(async move { (number, proposal.await) }));
                        }
                    }
                }
                _ = sweep.tick(), if free && sweeping.is_none() => {
                    for number in self.given_up() {
                        let header = Header { origin: self.origin, number, kind: GONE };
                        let proposal = proposer.propose(payload::entry(header, &[]), &[]);
                        on_their_way.push(Box::pin(async move { (number, proposal.await) }));
                    }
                    let unended = std::mem::take(&mut *self.unended.lock());
                    if !unended.is_empty() {
                        number += 1;
                        let item = |at| Submitted { item: Item::Unblock(at), answer: None };
                        if let Some(proposal) = self.propose(number, unended.into_iter().map(item).collect(), &proposer) {
                            on_their_way.push(Box::pin(async move { (number, proposal.await) }));
                        }
                    }
                    if let Some((due, is_part)) = proposer.leads().then(|| blocking(|| self.due(SWEEP_KEYS))).flatten() {
                        number += 1;
                        sweeping = Some(number);
                        if is_part {
                            sweep.reset_after(SWEEP_AGAIN);
                        }
                        let header = Header { origin: self.origin, number, kind: SWEEP };
                        let proposal = proposer.propose(payload::entry(header, &payload::sweep(due)), &[]);
                        on_their_way.push(Box::pin(async move { (number, proposal.await) }));
                    }
                }
            }
        }
    }

    /// Proposes one batch, in parts when it is one large unit; `None` when it was refused.
    fn propose(
        &self,
        number: u64,
        batch: Vec<Submitted>,
        proposer: &Arc<dyn Proposer>,
    ) -> Option<BoxFuture<'static, Result<(), SubmitError>>> {
        let encode = || payload::encode_units(rand::random(), batch.iter().map(|submitted| &submitted.item));
        let fields = match batch.iter().map(bytes_of).sum::<usize>() {
            0..=ENTRY_BYTES_MAX => encode(),
            _ => blocking(encode),
        };
        if let Err(text) = proposer.check_room(fields.len()) {
            self.refuse(batch, SubmitError::Refused(text));
            return None;
        }
        let traced = traced(&batch);
        self.on_their_way.lock().insert(number, batch);
        let origin = self.origin;
        let header = move |kind| Header { origin, number, kind };
        if fields.len() <= ENTRY_BYTES_MAX {
            return Some(proposer.propose(payload::entry(header(UNITS), &fields), &traced));
        }
        // One after the other: hundreds at once would fill the way to the log for everybody.
        let proposer = Arc::clone(proposer);
        Some(Box::pin(async move {
            for (number, part) in fields.chunks(ENTRY_BYTES_MAX).enumerate() {
                let part = payload::part(number * ENTRY_BYTES_MAX, part);
                proposer.propose(payload::entry(header(PART), &part), &[]).await?;
            }
            proposer.propose(payload::entry(header(WHOLE), &payload::part(fields.len(), &[])), &traced).await
        }))
    }

    /// Large units of this process that were refused when some of their parts were in the log already.
    fn given_up(&self) -> Vec<u64> {
        let state = self.state.read();
        if state.parts.is_empty() {
            return Vec::new();
        }
        let on_their_way = self.on_their_way.lock();
        let own = state.parts.keys().filter(|(origin, _)| *origin == self.origin).map(|(_, number)| *number);
        own.filter(|number| !on_their_way.contains_key(number)).collect()
    }

    /// An entry has an outcome. What was applied has answered itself.
    fn ended(&self, number: u64, result: Result<(), SubmitError>) {
        let Err(error) = result else { return };
        let batch = self.on_their_way.lock().remove(&number).unwrap_or_default();
        self.refuse(batch, error);
    }

    /// These have no effect, or nobody knows which. The end of a wait is tried again: a wait that has ended, or that a new
    /// leader has dropped, ends twice without harm.
    fn refuse(&self, batch: Vec<Submitted>, error: SubmitError) {
        for submitted in batch {
            if let Some(answer) = submitted.answer {
                let _ = answer.send(Err(error.clone()));
            } else if let Item::Unblock(at) = submitted.item {
                self.unended.lock().push(at);
            }
        }
    }
}

/// Lets those run who may have more for this entry.
async fn gather(line: &mut Line, gathered: &mut Vec<Submitted>) {
    for _ in 0..TURNS_MAX {
        tokio::task::yield_now().await;
        if line.take(gathered, GATHERED_ITEMS) == 0 {
            return;
        }
    }
}

/// The steps of traces that these are parts of.
fn traced(batch: &[Submitted]) -> Vec<Parent> {
    if !trace::is_on() {
        return Vec::new();
    }
    let of_unit = |submitted: &Submitted| match &submitted.item {
        Item::Unit(unit) => unit.traced,
        Item::Unblock(_) => None,
    };
    batch.iter().filter_map(of_unit).collect()
}

/// Bytes that it has in an entry, about.
fn bytes_of(submitted: &Submitted) -> usize {
    match &submitted.item {
        Item::Unit(unit) => unit.bytes(),
        Item::Unblock(_) => 16,
    }
}

/// Runs what may take long, copying half a gigabyte or reading the LSM, without holding up what else runs on these threads:
/// heartbeats do.
fn blocking<T>(work: impl FnOnce() -> T) -> T {
    match tokio::runtime::Handle::current().runtime_flavor() {
        tokio::runtime::RuntimeFlavor::MultiThread => tokio::task::block_in_place(work),
        _ => work(),
    }
}

/// Batches that fit an entry each, but for a single large unit.
fn divide(gathered: Vec<Submitted>) -> Vec<Vec<Submitted>> {
    if gathered.iter().map(bytes_of).sum::<usize>() <= GATHERED_BYTES {
        return vec![gathered];
    }
    let mut batches = Vec::new();
    let (mut batch, mut bytes) = (Vec::new(), 0);
    for submitted in gathered {
        let more = bytes_of(&submitted);
        if bytes + more > GATHERED_BYTES && !batch.is_empty() {
            batches.push(std::mem::take(&mut batch));
            bytes = 0;
        }
        bytes += more;
        batch.push(submitted);
    }
    batches.push(batch);
    batches
}
