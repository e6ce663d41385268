//! Strings.

mod get;

use crate::spec::Spec;

/// The commands of this group.
pub(super) static COMMANDS: &[&Spec] = &[&get::GET];
