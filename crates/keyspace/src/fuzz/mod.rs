//! Outside bytes by the million: commands, scripts, payloads of RESTORE, records of checkpoints and of the log.
//!
//! What goes in are mutations of what is right: the lines of `tests/redis/differential`, objects that such lines have made.
//! Every test has a short form; for the long one say how many seconds each may take:
//!
//! ```text
//! PERIGEE_FUZZ_SECONDS=600 cargo test -p perigee-keyspace --lib fuzz -- --nocapture
//! ```
//!
//! A panic names the round; `PERIGEE_FUZZ_SEED` begins with another one. What hangs ends the process, with its input.

mod bytes;
mod commands;
mod rounds;

use rounds::{Rounds, WORDS, corpus, mutate, pick};

use crate::twin::words;
