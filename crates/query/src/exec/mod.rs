//! DataFusion over storage.
