//! Checkpoints: what changed, as one run into the LSM. (skeleton)
