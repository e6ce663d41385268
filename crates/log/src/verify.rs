//! Checking a log from outside. (Skeleton: signatures first.)
#![allow(missing_docs, unused_variables, clippy::unimplemented, reason = "skeleton")]
use std::path::Path;
use perigee_runtime::Files;
use crate::{Anchor, ChainHash, LogError, TornTail};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifyReport {
    pub first: u64,
    pub last: u64,
    pub records: u64,
    pub bytes: u64,
    pub head: ChainHash,
    pub anchored: bool,
    pub tail: Option<TornTail>,
}

pub fn verify(files: &dyn Files, dir: &Path, anchor: Option<Anchor>) -> Result<VerifyReport, LogError> { unimplemented!() }
