//! The way to other members. There is none yet: a cluster of several nodes comes with its transport, and until then every
//! call says that the target cannot be reached.

use std::future::Future;
use std::io;

use openraft::errors::{RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{RPCOption, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse};
use openraft::type_config::alias::SnapshotOf;

use crate::apply::CheckpointMark;
use crate::options::Node;
use crate::raft_types::{TypeConfig, Vote};

/// Makes connections that lead nowhere.
pub(crate) struct NoNetwork;

/// A member that cannot be reached.
pub(crate) struct NoPeer {
    name: String,
}

impl NoPeer {
    fn unreachable(&self) -> Unreachable<TypeConfig> {
        Unreachable::new(&io::Error::new(
            io::ErrorKind::Unsupported,
            format!("node {} cannot be reached: this build has no cluster transport", self.name),
        ))
    }
}

impl RaftNetworkFactory<TypeConfig> for NoNetwork {
    type Network = NoPeer;

    async fn new_client(&mut self, _target: u64, node: &Node) -> NoPeer {
        NoPeer { name: node.name.clone() }
    }
}

impl RaftNetworkV2<TypeConfig> for NoPeer {
    type SnapshotData = CheckpointMark;

    async fn append_entries(
        &mut self,
        _request: AppendEntriesRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, RPCError<TypeConfig>> {
        Err(self.unreachable().into())
    }

    async fn vote(
        &mut self,
        _request: VoteRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        Err(self.unreachable().into())
    }

    async fn pre_vote(
        &mut self,
        _request: VoteRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        // The default grants: a node that cannot be asked must not seem to agree.
        Err(self.unreachable().into())
    }

    async fn full_snapshot(
        &mut self,
        _vote: Vote,
        _snapshot: SnapshotOf<TypeConfig, CheckpointMark>,
        _cancel: impl Future<Output = ReplicationClosed> + Send + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        Err(self.unreachable().into())
    }
}
