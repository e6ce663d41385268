//! From a proposal to its answer: what core carries along with an entry, and the future the proposer waits on.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use openraft::errors::ClientWriteError;
use openraft::raft::ClientWriteResult;
use openraft::raft::responder::Responder;
use tokio::sync::oneshot;

use crate::ProposeError;
use crate::machine::Committed;
use crate::raft_types::{TypeConfig, to_index};

/// Carried by core with an entry; completed by apply, or dropped when the node stops.
pub(crate) struct Answer<T> {
    tx: oneshot::Sender<T>,
    in_flight: InFlight,
}

impl<T> Answer<T> {
    pub(crate) fn new(in_flight: InFlight) -> (Self, oneshot::Receiver<T>) {
        let (tx, rx) = oneshot::channel();
        (Self { tx, in_flight }, rx)
    }
}

impl<T: Send + 'static> Responder<TypeConfig, T> for Answer<T> {
    fn on_complete(self, result: T) {
        // Before the answer, so that who has all answers sees nothing in flight.
        drop(self.in_flight);
        // A proposer that went away is no error: its entry stands in the log all the same.
        let _ = self.tx.send(result);
    }
}

/// Bytes and number of proposals without an answer.
#[derive(Default)]
pub(crate) struct InFlightCount {
    pub(crate) bytes: AtomicUsize,
    pub(crate) proposals: AtomicUsize,
}

/// The share of one proposal; returned when it drops.
pub(crate) struct InFlight {
    count: Arc<InFlightCount>,
    bytes: usize,
}

impl InFlight {
    /// Takes `bytes`, unless that passes `bytes_max`.
    pub(crate) fn take(count: &Arc<InFlightCount>, bytes: usize, bytes_max: usize) -> Option<Self> {
        let before = count.bytes.fetch_add(bytes, Ordering::Relaxed);
        count.proposals.fetch_add(1, Ordering::Relaxed);
        let taken = Self { count: Arc::clone(count), bytes };
        (before + bytes <= bytes_max).then_some(taken)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.count.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        self.count.proposals.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The answer to a proposal, some time later.
///
/// The entry was handed to consensus before this exists; dropping it does not take the entry back.
#[must_use = "the outcome of a proposal decides what its client is told"]
pub struct Proposal(State);

enum State {
    Refused(ProposeError),
    Waiting(oneshot::Receiver<ClientWriteResult<TypeConfig>>),
}

impl Proposal {
    pub(crate) fn refused(error: ProposeError) -> Self {
        Self(State::Refused(error))
    }

    pub(crate) fn waiting(rx: oneshot::Receiver<ClientWriteResult<TypeConfig>>) -> Self {
        Self(State::Waiting(rx))
    }
}

impl Future for Proposal {
    type Output = Result<Committed, ProposeError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            State::Refused(error) => Poll::Ready(Err(error.clone())),
            State::Waiting(rx) => Pin::new(rx).poll(context).map(|received| match received {
                Ok(result) => outcome(result),
                // Core stopped with the entry in its hands: it may be in the log.
                Err(_) => Err(ProposeError::Unknown),
            }),
        }
    }
}

fn outcome(result: ClientWriteResult<TypeConfig>) -> Result<Committed, ProposeError> {
    match result {
        Ok(response) => Ok(Committed {
            index: to_index(response.log_id.index),
            time: response.data.time,
            outcome: response.data.outcome,
        }),
        // Refused before anything was appended.
        Err(ClientWriteError::ForwardToLeader(_)) => Err(ProposeError::NotLeader),
        // Appended here, then replaced by another leader's log; another member may still have committed it.
        Err(_) => Err(ProposeError::Unknown),
    }
}
