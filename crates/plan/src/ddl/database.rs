//! Changes of databases.

use crate::role::RoleName;

/// CREATE, ALTER and DROP DATABASE.
#[derive(Clone, Debug, PartialEq)]
pub enum DatabaseChange {
    /// CREATE DATABASE
    Create {
        /// Its name.
        name: String,
        /// OWNER
        owner: Option<RoleName>,
    },
    /// DROP DATABASE
    Drop {
        /// Its name.
        name: String,
        /// IF EXISTS
        if_exists: bool,
        /// Sessions in it are ended.
        force: bool,
    },
    /// ALTER DATABASE … RENAME
    Rename {
        /// Its name.
        name: String,
        /// The new one.
        to: String,
    },
    /// ALTER DATABASE … OWNER
    Owner {
        /// Its name.
        name: String,
        /// The new owner.
        to: RoleName,
    },
}

impl DatabaseChange {
    /// The statement's tag.
    #[must_use]
    pub fn tag(&self) -> &'static str {
        match self {
            DatabaseChange::Create { .. } => "CREATE DATABASE",
            DatabaseChange::Drop { .. } => "DROP DATABASE",
            DatabaseChange::Rename { .. } | DatabaseChange::Owner { .. } => "ALTER DATABASE",
        }
    }
}
