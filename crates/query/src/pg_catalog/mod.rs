//! The system schemas.
