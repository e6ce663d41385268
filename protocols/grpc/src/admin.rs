//! `perigee.v1.Admin`: what operators ask of a node.

use std::sync::Arc;

use futures::FutureExt as _;
use perigee_door::Door;
use perigee_door::script::perform;
use perigee_engine::compare::MemberState;
use perigee_engine::verify::{Verified, VerifyOptions};
use tokio::sync::Semaphore;
use tonic::{Request, Response, Status};

use crate::caller::{caller_of, lease_with};
use crate::diagnostics::{self, NodeFiles};
use crate::error;
use crate::members::{ClusterChange, Members, PingedMember};
use crate::v1;
use crate::v1::change_cluster_request::Change;
use crate::{migration, schema, tiers};

/// The service.
pub(crate) struct AdminService {
    door: Arc<Door>,
    /// The node's name.
    node: String,
    /// One check at a time: each reads everything.
    verifying: Semaphore,
    members: Arc<dyn Members>,
    files: Arc<dyn NodeFiles>,
}

impl AdminService {
    pub(crate) fn new(door: Arc<Door>, node: String, members: Arc<dyn Members>, files: Arc<dyn NodeFiles>) -> Self {
        Self { door, node, verifying: Semaphore::new(1), members, files }
    }
}

#[tonic::async_trait]
impl v1::admin_server::Admin for AdminService {
    async fn status(&self, _: Request<v1::StatusRequest>) -> Result<Response<v1::StatusResponse>, Status> {
        let status = self.door.engine.status();
        Ok(Response::new(v1::StatusResponse {
            node: self.node.clone(),
            version: status.version,
            role: if status.leads { "leader" } else { "follower" }.to_owned(),
            term: status.term,
            voters: status.voters,
            log: Some(v1::LogStatus {
                first: status.log_first.0,
                last: status.log_last.0,
                synced: status.log_synced.0,
                committed: status.log_committed.0,
                bytes: status.log_bytes,
            }),
            applied: status.applied.0,
            checkpoint: status.checkpoint.0,
            sessions: status.sessions,
            started_micros: status.started_micros,
        }))
    }

    async fn verify(&self, request: Request<v1::VerifyRequest>) -> Result<Response<v1::VerifyResponse>, Status> {
        let request = request.into_inner();
        let named = |name: &String| {
            let (schema, table) = name.split_once('.').unwrap_or(("public", name));
            (schema.to_owned(), table.to_owned())
        };
        let options = VerifyOptions { tables: request.tables.iter().map(named).collect(), skip_log: request.skip_log };
        let _turn = self.verifying.try_acquire().map_err(|_| Status::resource_exhausted("a check is running"))?;
        let verified = self.door.engine.verify(options).await.map_err(|e| error::status(&e))?;
        Ok(Response::new(response(verified)))
    }

    async fn cluster(&self, _: Request<v1::ClusterRequest>) -> Result<Response<v1::ClusterResponse>, Status> {
        let state = self.door.engine.cluster_state();
        let members = state.members.into_iter().map(|member| v1::ClusterMember {
            name: member.name,
            incarnation: member.incarnation,
            address: member.address,
            voter: member.voter,
            leads: member.leads,
            matched: member.matched,
            answered_ms: member.answered_ms,
        });
        Ok(Response::new(v1::ClusterResponse {
            node: state.node,
            leader: state.leader.unwrap_or_default(),
            term: state.term,
            committed: state.committed,
            applied: state.applied,
            members: members.collect(),
        }))
    }

    async fn ping_cluster(
        &self,
        _: Request<v1::PingClusterRequest>,
    ) -> Result<Response<v1::PingClusterResponse>, Status> {
        let members = self.members.ping().await.into_iter().map(pinged).collect();
        Ok(Response::new(v1::PingClusterResponse { members }))
    }

    async fn verify_cluster(
        &self,
        _: Request<v1::VerifyClusterRequest>,
    ) -> Result<Response<v1::VerifyClusterResponse>, Status> {
        let _turn = self.verifying.try_acquire().map_err(|_| Status::resource_exhausted("a check is running"))?;
        let compared = self.members.compare().await.map_err(Status::failed_precondition)?;
        let members = compared.members.into_iter().map(|MemberState { name, error, differs }| v1::MemberState {
            name,
            error,
            differs,
        });
        Ok(Response::new(v1::VerifyClusterResponse {
            index: compared.index.0,
            parts: compared.parts,
            majority: compared.majority,
            members: members.collect(),
        }))
    }

    async fn change_cluster(
        &self,
        request: Request<v1::ChangeClusterRequest>,
    ) -> Result<Response<v1::ChangeClusterResponse>, Status> {
        let change = match request.into_inner().change {
            Some(Change::Add(v1::AddMember { name, address })) => ClusterChange::Add { name, address },
            Some(Change::Remove(name)) => ClusterChange::Remove(name),
            Some(Change::Promote(name)) => ClusterChange::Promote(name),
            Some(Change::Demote(name)) => ClusterChange::Demote(name),
            Some(Change::Transfer(name)) => ClusterChange::Transfer(name),
            None => return Err(Status::invalid_argument("the request names no change")),
        };
        self.members.change(change).await.map_err(Status::failed_precondition)?;
        Ok(Response::new(v1::ChangeClusterResponse {}))
    }

    async fn backup(&self, request: Request<v1::BackupRequest>) -> Result<Response<v1::BackupResponse>, Status> {
        let (engine, url) = (Arc::clone(&self.door.engine), request.into_inner().url);
        let made = tokio::task::spawn_blocking(move || engine.back_up((!url.is_empty()).then_some(url.as_str())));
        let base = made.await.map_err(|e| Status::internal(e.to_string()))?.map_err(|e| error::status(&e))?;
        Ok(Response::new(backup_response(base)))
    }

    async fn tiers(&self, request: Request<v1::TiersRequest>) -> Result<Response<v1::TiersResponse>, Status> {
        let caller = caller_of(&request)?;
        let v1::TiersRequest { database, table } = request.into_inner();
        let tiers = tiers::tiers(&self.door, &caller, &database, &table).await.map_err(|e| error::status(&e))?;
        Ok(Response::new(v1::TiersResponse { tiers }))
    }

    async fn migrate_tier(
        &self,
        request: Request<v1::MigrateTierRequest>,
    ) -> Result<Response<v1::MigrateTierResponse>, Status> {
        let caller = caller_of(&request)?;
        let tiers = tiers::migrate(&self.door, &caller, request.into_inner()).await?;
        Ok(Response::new(v1::MigrateTierResponse { tiers }))
    }

    async fn schema(&self, request: Request<v1::SchemaRequest>) -> Result<Response<v1::SchemaResponse>, Status> {
        let caller = caller_of(&request)?;
        let v1::SchemaRequest { database, table } = request.into_inner();
        let lease = lease_with(&self.door, &caller, "", &database, 0).await?;
        let objects =
            perform(&self.door, lease, move |session| async move { schema::objects(session, &table).await }.boxed());
        let objects = objects.await.map_err(|e| error::status(&e))?;
        Ok(Response::new(v1::SchemaResponse { objects }))
    }

    async fn apply_migration(
        &self,
        request: Request<v1::ApplyMigrationRequest>,
    ) -> Result<Response<v1::ApplyMigrationResponse>, Status> {
        let caller = caller_of(&request)?;
        let v1::ApplyMigrationRequest { database, name, sql } = request.into_inner();
        let lease = lease_with(&self.door, &caller, "", &database, 0).await?;
        let applied = perform(&self.door, lease, move |session| {
            async move { migration::apply(session, &name, &sql).await }.boxed()
        });
        Ok(Response::new(applied.await.map_err(|e| error::status(&e))?))
    }

    async fn diagnostics(
        &self,
        request: Request<v1::DiagnosticsRequest>,
    ) -> Result<Response<v1::DiagnosticsResponse>, Status> {
        let caller = caller_of(&request)?;
        let files = diagnostics::files(&self.door, &caller, &self.members, Arc::clone(&self.files)).await;
        Ok(Response::new(v1::DiagnosticsResponse { files }))
    }
}

fn pinged(member: PingedMember) -> v1::PingedMember {
    let PingedMember { name, address, voter, answer } = member;
    let asked = v1::PingedMember { name, address, voter, ..v1::PingedMember::default() };
    match answer {
        Err(error) => v1::PingedMember { error, ..asked },
        Ok((health, took)) => v1::PingedMember {
            round_trip_micros: u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
            version: health.version,
            role: if health.leads { "leader" } else { "follower" }.to_owned(),
            term: health.term,
            committed: health.committed,
            applied: health.applied,
            ..asked
        },
    }
}

fn backup_response(base: perigee_engine::backup::Base) -> v1::BackupResponse {
    v1::BackupResponse {
        bytes: base.bytes(),
        cold_files: base.cold.len() as u64,
        cluster: base.cluster,
        name: base.name,
        index: base.index,
    }
}

fn response(verified: Verified) -> v1::VerifyResponse {
    let table = |table: perigee_engine::verify::VerifiedTable| v1::TableReport {
        schema: table.schema,
        name: table.name,
        rows: table.rows,
        indexes: table.indexes.into_iter().map(|(name, entries)| v1::IndexReport { name, entries }).collect(),
    };
    v1::VerifyResponse {
        index: verified.index.0,
        tables: verified.tables.into_iter().map(table).collect(),
        log: verified.log.map(|log| v1::LogReport {
            first: log.first,
            last: log.last,
            records: log.records,
            bytes: log.bytes,
            head: log.head.to_vec(),
            attested: log.attested,
        }),
        faults: verified.faults,
    }
}
