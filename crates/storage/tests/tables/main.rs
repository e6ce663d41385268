//! Tables as a whole: apply, snapshots, checkpoints, eviction and restarts, against a model that is too simple to be wrong.

#![allow(clippy::unwrap_used, reason = "helpers of tests are not marked as tests")]

mod attest;
mod budget;
mod catalog;
mod cold;
mod companion;
mod concurrent;
mod indexes;
mod measure;
mod model;
mod pieces;
mod pinned;
mod random;
mod staged;
mod support;
mod updates;
