//! The simulated network: every message takes its time, and may be lost where a way is cut. It sees who leads.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use parking_lot::Mutex;
use perigee_runtime::sim::SimRandom;

use super::trace::{Trace, short};
use crate::{Call, Lane, Link, LinkError, Node, PeerError, PeerService, Transport, wire};

/// The network; clones share it.
#[derive(Clone)]
pub(super) struct Net(Arc<Mutex<State>>, Trace);

struct State {
    /// Who leads in a term, or did.
    leaders: BTreeMap<u64, u64>,
    services: BTreeMap<u64, PeerService>,
    /// Ways, from and to, that lose everything.
    cut: BTreeSet<(String, String)>,
    /// Ways whose messages lie unread in a socket of who they are for.
    held: BTreeSet<(String, String)>,
    /// Members whose every message takes this much longer.
    slow: BTreeMap<String, Duration>,
    random: SimRandom,
}

impl Net {
    pub(super) fn new(seed: u64, trace: Trace) -> Self {
        let random = SimRandom::new(seed ^ 0x6e65_7477_6f72_6b00);
        let (leaders, services, cut, held, slow) = Default::default();
        Self(Arc::new(Mutex::new(State { leaders, services, cut, held, slow, random })), trace)
    }

    /// `id` leads in `term`, which nobody else ever does.
    pub(super) fn leads(&self, term: u64, id: u64) {
        let before = self.0.lock().leaders.insert(term, id);
        match before {
            Some(before) if before != id => self.1.wrong(format!("{before} and {id} lead in term {term}")),
            Some(_) => {}
            None => self.1.note(format_args!("{id} leads in term {term}")),
        }
    }

    /// Terms that somebody has led in.
    pub(super) fn terms(&self) -> usize {
        self.0.lock().leaders.len()
    }

    /// Who sends an append leads.
    fn appends(&self, request: &Bytes) {
        match wire::decode_append(request.clone()) {
            Ok(request) => {
                self.leads(request.vote.leader_id.term, request.vote.leader_id.voted_for);
            }
            // openraft may read behind what was purged meanwhile: the receiver refuses such a hole, and its leader begins anew.
            Err(error) => self.1.note(format_args!("an append that will be refused: {error}")),
        }
    }

    pub(super) fn up(&self, id: u64, service: PeerService) {
        self.0.lock().services.insert(id, service);
    }

    pub(super) fn down(&self, id: u64) {
        let gone = self.0.lock().services.remove(&id);
        drop(gone);
    }

    pub(super) fn cut(&self, from: &str, to: &str) {
        self.1.note(format_args!("{from} -> {to} is cut"));
        self.0.lock().cut.insert((from.to_owned(), to.to_owned()));
    }

    /// `to` reads nothing of `from` for now.
    pub(super) fn hold(&self, from: &str, to: &str) {
        self.1.note(format_args!("{from} -> {to} is held"));
        self.0.lock().held.insert((from.to_owned(), to.to_owned()));
    }

    /// `to` reads what has come of `from`.
    pub(super) fn release(&self, from: &str, to: &str) {
        self.1.note(format_args!("{from} -> {to} is read"));
        self.0.lock().held.remove(&(from.to_owned(), to.to_owned()));
    }

    pub(super) fn slow(&self, name: &str, by: Duration) {
        self.1.note(format_args!("{name} is slow by {by:?}"));
        self.0.lock().slow.insert(name.to_owned(), by);
    }

    /// Everybody reaches everybody, fast.
    pub(super) fn heal(&self) {
        self.1.note("all is well");
        let mut state = self.0.lock();
        state.cut.clear();
        state.held.clear();
        state.slow.clear();
    }

    /// A message on its way; `false` when it is lost.
    async fn travel(&self, from: &str, to: &str, what: &str) -> bool {
        self.1.note(format_args!("{from} -> {to} goes {what}"));
        let delay = {
            let mut state = self.0.lock();
            let mut delay = Duration::from_micros(50 + state.random.below(2_000));
            if state.random.one_in(200) {
                delay += Duration::from_millis(state.random.below(60));
            }
            delay + [from, to].iter().filter_map(|name| state.slow.get(*name)).sum::<Duration>()
        };
        tokio::time::sleep(delay).await;
        let way = (from.to_owned(), to.to_owned());
        let comes = !self.0.lock().cut.contains(&way);
        // What has come is not lost by a way that is cut behind it.
        while comes && self.0.lock().held.contains(&way) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        self.1.note(format_args!("{from} -> {to} {} {what}", if comes { "comes" } else { "is lost" }));
        comes
    }

    /// The transport of one life of a member.
    pub(super) fn transport(&self, from: &str, alive: Arc<AtomicBool>) -> Arc<dyn Transport> {
        Arc::new(SimTransport { net: self.clone(), from: from.to_owned(), alive })
    }
}

#[derive(Clone)]
struct SimTransport {
    net: Net,
    from: String,
    alive: Arc<AtomicBool>,
}

impl Transport for SimTransport {
    fn link(&self, peer: &Node, _lane: Lane) -> Arc<dyn Link> {
        Arc::new(SimLink { by: self.clone(), name: peer.name.clone(), id: peer.id() })
    }
}

#[derive(Clone)]
struct SimLink {
    by: SimTransport,
    name: String,
    id: u64,
}

impl SimLink {
    fn broken(&self) -> LinkError {
        LinkError::Broken { name: self.name.clone(), reason: "lost".into() }
    }

    fn service(&self) -> Result<PeerService, LinkError> {
        let alive = self.by.alive.load(Ordering::SeqCst);
        let service = self.by.net.0.lock().services.get(&self.id).cloned().filter(|_| alive);
        service.ok_or_else(|| LinkError::Unreachable { name: self.name.clone(), reason: "down".into() })
    }

    async fn there(&self, what: &str) -> bool {
        self.by.net.travel(&self.by.from, &self.name, what).await
    }

    async fn back(&self, what: &str) -> bool {
        self.by.net.travel(&self.name, &self.by.from, what).await && self.by.alive.load(Ordering::SeqCst)
    }
}

type Answers = BoxStream<'static, Result<Bytes, LinkError>>;
type Answered = BoxStream<'static, Result<Bytes, PeerError>>;

impl SimLink {
    /// A connection keeps the order, and breaks where something is lost.
    async fn stream(
        &self,
        what: &'static str,
        requests: BoxStream<'static, Bytes>,
        serve: fn(&PeerService, BoxStream<'static, Bytes>) -> Answered,
    ) -> Result<Answers, LinkError> {
        if !self.there(what).await {
            return Err(self.broken());
        }
        let service = self.service()?;
        let (going, coming) = (self.clone(), self.clone());
        let arrived = requests
            .then(move |request| {
                let link = going.clone();
                async move { link.there(&format!("{what} {}", short(&request))).await.then_some(request) }
            })
            .take_while(|request| std::future::ready(request.is_some()))
            .filter_map(std::future::ready);
        let answers = serve(&service, arrived.boxed()).then(move |answer| {
            let link = coming.clone();
            async move {
                let answer_is = answer.as_ref().map_or_else(|_| "refusal".to_owned(), short);
                if !link.back(&format!("answer to {what} {answer_is}")).await {
                    return Err(link.broken());
                }
                answer.map_err(|error| LinkError::Broken { name: link.name.clone(), reason: error.to_string() })
            }
        });
        Ok(answers.boxed())
    }
}

impl Link for SimLink {
    fn call(&self, call: Call, body: Bytes, patience: Duration) -> BoxFuture<'_, Result<Bytes, LinkError>> {
        if call == Call::Append {
            self.by.net.appends(&body);
        }
        let asked = async move {
            if !self.there(&format!("{call:?} {}", short(&body))).await {
                // Nobody says that it was lost.
                return std::future::pending().await;
            }
            let answer = self.service()?.call(call, body).await;
            let answer_is = answer.as_ref().map_or_else(|_| "refusal".to_owned(), short);
            if !self.back(&format!("answer to {call:?} {answer_is}")).await {
                return std::future::pending().await;
            }
            answer.map_err(|error| LinkError::Refused { name: self.name.clone(), reason: error.to_string() })
        };
        async move { tokio::time::timeout(patience, asked).await.unwrap_or_else(|_| Err(self.broken())) }.boxed()
    }

    fn append(
        &self,
        requests: BoxStream<'static, Bytes>,
        _patience: Duration,
    ) -> BoxFuture<'_, Result<Answers, LinkError>> {
        let net = self.by.net.clone();
        let requests = requests.inspect(move |request| net.appends(request)).boxed();
        self.stream("append", requests, PeerService::append).boxed()
    }

    fn propose(
        &self,
        requests: BoxStream<'static, Bytes>,
        _patience: Duration,
    ) -> BoxFuture<'_, Result<Answers, LinkError>> {
        self.stream("proposal", requests, PeerService::propose).boxed()
    }
}
