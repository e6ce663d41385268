//! Bytes to commands, replies to bytes.
//!
//! Both are our own. The encoders of the `redis-protocol` crate want a whole reply as a tree of their frames before they
//! write a byte, and replies of the keyspace are trees already; so the crate only reads back, in tests, what this writes.

pub(crate) mod reply;
pub(crate) mod request;
