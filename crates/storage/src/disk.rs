//! When writes are refused because the disk is nearly full. (follows)
