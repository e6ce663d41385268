//! Any key, and whole databases.

use crate::spec::Spec;

/// The commands of this group.
pub(super) static COMMANDS: &[&Spec] = &[];
