//! Small facts of a node in `DIR/meta`. (Skeleton: signatures first.)
#![allow(missing_docs, unused_variables, clippy::unimplemented, reason = "skeleton")]
use std::path::Path;
use std::sync::Arc;
use perigee_runtime::Files;
use crate::{Anchor, LogError};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeIdentity { pub node_id: u64, pub incarnation: u128, pub cluster_id: u128 }

impl NodeIdentity {
    /// A new incarnation (random) of node_id in cluster_id.
    pub fn new(node_id: u64, cluster_id: u128) -> Self { unimplemented!() }
}

pub struct Meta;

impl Meta {
    pub fn open(files: Arc<dyn Files>, dir: &Path) -> Result<Meta, LogError> { unimplemented!() }
    pub fn identity(&self) -> Option<NodeIdentity> { unimplemented!() }
    pub fn set_identity(&self, identity: NodeIdentity) -> Result<(), LogError> { unimplemented!() }
    /// The encoded vote, opaque.
    pub fn vote(&self) -> Option<Vec<u8>> { unimplemented!() }
    /// Durable on return.
    pub fn save_vote(&self, vote: &[u8]) -> Result<(), LogError> { unimplemented!() }
    /// Any other small fact: [a-z_]+ names. Durable on return.
    pub fn fact(&self, name: &str) -> Result<Option<Vec<u8>>, LogError> { unimplemented!() }
    pub fn save_fact(&self, name: &str, bytes: &[u8]) -> Result<(), LogError> { unimplemented!() }
    /// Appends an attested anchor; kept for ever. Durable on return.
    pub fn push_anchor(&self, anchor: Anchor) -> Result<(), LogError> { unimplemented!() }
    pub fn last_anchor(&self) -> Option<Anchor> { unimplemented!() }
    pub fn anchors(&self) -> Result<Vec<Anchor>, LogError> { unimplemented!() }
}
