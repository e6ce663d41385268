//! Members over real sockets on loopback, with and without TLS.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use perigee_consensus::{
    Applied, Call, ClusterParts, CommittedEntry, Consensus, ConsensusOptions, EntryKind, Lane, LinkError, MachineError,
    Node, Outcome, StateMachine, Transport,
};
use perigee_log::{Log, LogOptions, Meta};
use perigee_runtime::sim::SimFiles;
use perigee_runtime::{Files, Runtime};
use perigee_security::tls::MemberTls;
use perigee_types::{Hlc, LogIndex};
use tokio::net::{TcpListener, TcpStream};

use crate::{Cluster, ClusterError, ClusterOptions, Identity};

const PATIENCE: Duration = Duration::from_secs(60);

/// Writes down the proposals that took effect; those of one byte not while they are held up.
#[derive(Clone, Default)]
struct Recorder(Arc<Mutex<Vec<Bytes>>>, Arc<AtomicBool>);

impl StateMachine for Recorder {
    fn applied(&self) -> Applied {
        Applied::default()
    }

    fn time(&self) -> Hlc {
        Hlc::default()
    }

    fn apply(&mut self, entry: CommittedEntry) -> Result<Outcome, MachineError> {
        if entry.is_fenced() {
            return Ok(Outcome::Fenced);
        }
        if entry.kind == EntryKind::Normal {
            while entry.payload.len() == 1 && self.1.load(Ordering::Acquire) {
                std::thread::sleep(Duration::from_millis(1));
            }
            self.0.lock().push(entry.payload);
        }
        Ok(Outcome::Applied)
    }

    fn flush(&mut self) {}
}

struct Member {
    cluster: Cluster,
    consensus: Consensus,
    recorder: Recorder,
}

async fn options(listeners: &[TcpListener], tls: Option<MemberTls>) -> ClusterOptions {
    let peers: BTreeMap<String, String> = listeners
        .iter()
        .zip(1..)
        .map(|(listener, number)| (format!("n{number}"), listener.local_addr().unwrap().to_string()))
        .collect();
    ClusterOptions { peers, tls, insecure: false }
}

async fn listeners() -> Vec<TcpListener> {
    let mut listeners = Vec::new();
    for _ in 0..3 {
        listeners.push(TcpListener::bind("127.0.0.1:0").await.unwrap());
    }
    listeners
}

/// A member from its first moment: it finds the cluster, runs consensus, and keeps its part.
async fn member(number: u128, listener: TcpListener, options: ClusterOptions) -> Member {
    let identity = Identity { name: format!("n{number}"), incarnation: number, cluster_id: None };
    options.check(&identity.name).await.unwrap();
    let cluster = Cluster::serve(listener, options, identity);
    let cluster_id = cluster.find(|| 0xc1).await.unwrap();
    let files: Arc<dyn Files> = SimFiles::new();
    let log = LogOptions { dir: PathBuf::from("data/log"), cluster_id, segment_bytes: 1 << 20 };
    let (log, _) = Log::open(Arc::clone(&files), log).unwrap();
    let meta = Meta::open(Arc::clone(&files), Path::new("data/meta")).unwrap();
    let recorder = Recorder::default();
    let parts = ClusterParts { transport: Arc::new(cluster.clone()), snapshots: None };
    let consensus = Consensus::start_member(
        // A machine that is busy for a moment is no reason for another leader.
        ConsensusOptions {
            heartbeat: Duration::from_millis(200),
            election_min: Duration::from_secs(3),
            election_max: Duration::from_secs(5),
            ..ConsensusOptions::new(cluster.node().clone(), cluster_id)
        },
        Runtime { files, ..Runtime::system() },
        Arc::new(log),
        Arc::new(meta),
        recorder.clone(),
        parts,
    )
    .await
    .unwrap();
    cluster.attach(consensus.clone());
    let keeping = cluster.clone();
    tokio::spawn(async move { keeping.keep().await });
    Member { cluster, consensus, recorder }
}

async fn three(tls: Option<&dyn Fn(usize) -> MemberTls>) -> Vec<Member> {
    let listeners = listeners().await;
    let all = options(&listeners, None).await;
    let mut starting = Vec::new();
    for (at, listener) in listeners.into_iter().enumerate() {
        let options = ClusterOptions { tls: tls.map(|tls| tls(at)), ..all.clone() };
        starting.push(member(at as u128 + 1, listener, options));
    }
    tokio::time::timeout(PATIENCE, futures::future::join_all(starting)).await.expect("all find each other")
}

async fn leader(members: &[Member]) -> &Member {
    let find = async {
        loop {
            if let Some(leader) = members.iter().find(|member| member.consensus.leader_term().is_some()) {
                return leader;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, find).await.expect("a leader")
}

/// Writes through the leader; everybody applies it, and reads at the leader's index see it everywhere.
async fn replicates(members: &[Member]) {
    let leader = leader(members).await;
    let term = leader.consensus.leader_term().unwrap();
    let proposals: Vec<_> =
        (0..200_u32).map(|i| leader.consensus.propose(term, Bytes::copy_from_slice(&i.to_le_bytes()))).collect();
    // One that is larger than a window of HTTP/2 at its default.
    let large = leader.consensus.propose(term, vec![7; 1 << 20].into());
    for proposal in proposals.into_iter().chain([large]) {
        assert_eq!(proposal.await.unwrap().outcome, Outcome::Applied);
    }
    let wanted = leader.recorder.0.lock().clone();
    assert_eq!(wanted.len(), 201);
    for member in members {
        member.consensus.read_index(PATIENCE).await.unwrap();
        assert!(*member.recorder.0.lock() == wanted, "{}", member.cluster.node());
    }
    let matched = leader.consensus.members().iter().filter(|member| member.voter).count();
    assert_eq!(matched, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_empty_nodes_form_a_cluster_and_replicate() {
    let members = three(None).await;
    replicates(&members).await;
    // The leader goes; the others go on.
    let gone = leader(&members).await.consensus.node().clone();
    let mut rest = Vec::new();
    for member in members {
        if *member.consensus.node() == gone {
            member.cluster.close();
            member.consensus.shutdown().await;
        } else {
            rest.push(member);
        }
    }
    let goes_on = async {
        loop {
            let leader = leader(&rest).await;
            if let Some(term) = leader.consensus.leader_term()
                && leader.consensus.propose(term, Bytes::from_static(b"on")).await.is_ok()
            {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, goes_on).await.expect("the others go on");
}

/// An authority, and certificates of its own by name.
struct Authority {
    folder: tempfile::TempDir,
}

impl Authority {
    fn new(names: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        let mut own = rcgen::CertificateParams::new(Vec::new()).unwrap();
        own.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let certificate = own.self_signed(&key).unwrap();
        std::fs::write(folder.path().join("ca.crt"), certificate.pem()).unwrap();
        let issuer = rcgen::Issuer::new(own, key);
        for name in names {
            let key = rcgen::KeyPair::generate().unwrap();
            let certificate =
                rcgen::CertificateParams::new(vec![(*name).to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
            std::fs::write(folder.path().join(format!("{name}.crt")), certificate.pem()).unwrap();
            std::fs::write(folder.path().join(format!("{name}.key")), key.serialize_pem()).unwrap();
        }
        Self { folder }
    }

    fn tls(&self, name: &str) -> MemberTls {
        let path = |file: String| self.folder.path().join(file);
        MemberTls::load(&path("ca.crt".into()), &path(format!("{name}.crt")), &path(format!("{name}.key")), &["h2"])
            .unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_prove_themselves_with_certificates() {
    perigee_security::install_crypto_provider();
    let authority = Authority::new(&["n1", "n2", "n3"]);
    let members = three(Some(&|at| authority.tls(&format!("n{}", at + 1)))).await;
    replicates(&members).await;

    let asked = |tls: Option<MemberTls>| {
        let target = members[1].cluster.node().clone();
        async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let mut peers = BTreeMap::from([(target.name.clone(), target.address.clone())]);
            peers.insert("n1".to_owned(), listener.local_addr().unwrap().to_string());
            let options = ClusterOptions { peers, tls, insecure: false };
            let identity = Identity { name: "n1".into(), incarnation: 1, cluster_id: Some(0xc1) };
            let stranger = Cluster::serve(listener, options, identity);
            let link = stranger.link(&target, Lane::Control);
            link.call(Call::ReadIndex, Bytes::new(), Duration::from_secs(10)).await
        }
    };
    let refused = |answer: Result<Bytes, LinkError>| match answer {
        Err(error) => error.to_string(),
        Ok(_) => panic!("answered"),
    };
    // The member itself is answered, whatever the answer; who has no certificate, or another's, is not.
    let own = asked(Some(authority.tls("n1"))).await;
    assert!(own.is_ok() || refused(own).contains("does not lead"));
    refused(asked(None).await);
    let text = refused(asked(Some(authority.tls("n3"))).await);
    assert!(text.contains("certificate"), "{text}");
    refused(asked(Some(Authority::new(&["n1"]).tls("n1"))).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_cluster_or_incarnation_is_refused() {
    let members = three(None).await;
    leader(&members).await;
    let target = members[1].cluster.node().clone();
    let ask = |cluster_id: u128, target: Node| async move {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let peers = BTreeMap::from([(target.name.clone(), target.address.clone())]);
        let options = ClusterOptions { peers, tls: None, insecure: false };
        let identity = Identity { name: "n1".into(), incarnation: 1, cluster_id: Some(cluster_id) };
        let stranger = Cluster::serve(listener, options, identity);
        let link = stranger.link(&target, Lane::Control);
        link.call(Call::Vote, Bytes::new(), Duration::from_secs(10)).await.unwrap_err().to_string()
    };
    let text = ask(0xbad, target.clone()).await;
    assert!(text.contains("cluster"), "{text}");
    let text = ask(0xc1, Node { incarnation: 77, ..target.clone() }).await;
    assert!(text.contains("incarnation"), "{text}");
    // And a vote that does not decode is no reason to fall over.
    let text = ask(0xc1, target).await;
    assert!(text.contains("ends early"), "{text}");
    replicates(&members).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_does_not_disturb() {
    use tokio::io::AsyncWriteExt;
    let members = three(None).await;
    let address = members[0].cluster.node().address.clone();
    let mut silent = Vec::new();
    for i in 0..40_u8 {
        let mut stream = TcpStream::connect(&address).await.unwrap();
        // Some are told to go while they still write.
        let _ = stream.write_all(&[i; 4096]).await;
        silent.push(stream);
    }
    replicates(&members).await;
}

#[tokio::test]
async fn peers_are_checked() {
    let peers = |text: &[(&str, &str)]| ClusterOptions {
        peers: text.iter().map(|(name, address)| ((*name).to_owned(), (*address).to_owned())).collect(),
        tls: None,
        insecure: false,
    };
    assert!(peers(&[("n1", "127.0.0.1:1"), ("n2", "[::1]:2")]).check("n1").await.is_ok());
    let missing = peers(&[("n2", "127.0.0.1:1")]).check("n1").await;
    assert!(matches!(missing, Err(ClusterError::NotAmongPeers { .. })));
    let mut public = peers(&[("n1", "127.0.0.1:1"), ("n2", "192.0.2.1:7000")]);
    assert!(matches!(public.check("n1").await, Err(ClusterError::Unprotected { .. })));
    public.insecure = true;
    assert!(public.check("n1").await.is_ok());
}

/// The index is what the tests of consensus ask; here only that the call travels.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_reads_at_the_leaders_index() {
    let members = three(None).await;
    let leader = leader(&members).await;
    let term = leader.consensus.leader_term().unwrap();
    let committed = leader.consensus.propose(term, Bytes::from_static(b"x")).await.unwrap();
    for member in &members {
        let index = member.consensus.read_index(PATIENCE).await.unwrap();
        assert!(index >= committed.index && index > LogIndex(0));
    }
}

/// A follower answers from its own state, and may have applied what the leader has not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_applies_later_than_a_follower_does_not_read_what_is_old() {
    let members = three(None).await;
    let leader = leader(&members).await;
    let follower = members.iter().find(|member| member.cluster.node() != leader.cluster.node()).unwrap();
    follower.consensus.read_index(PATIENCE).await.unwrap();
    assert!(leader.consensus.is_current());
    leader.recorder.1.store(true, Ordering::Release);
    let written = follower.consensus.submit(Bytes::from_static(b"x"), None).await.unwrap();
    assert!(!leader.consensus.is_current());
    assert!(
        leader.consensus.read_index(Duration::from_millis(100)).await.is_err(),
        "it has not applied what a client was told"
    );
    leader.recorder.1.store(false, Ordering::Release);
    leader.consensus.read_index(PATIENCE).await.unwrap();
    assert!(leader.consensus.applied_index() >= written.index);
}
