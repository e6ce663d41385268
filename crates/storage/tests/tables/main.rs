//! Tables as a whole: apply, snapshots, checkpoints, eviction and restarts, against a model that is too simple to be wrong.

mod catalog;
mod indexes;
mod model;
mod pinned;
mod random;
mod staged;
mod support;
mod updates;
