//! Extensions of PostgreSQL whose types and functions are built in.

/// An extension that is always there.
#[derive(Clone, Copy, Debug)]
pub struct Extension {
    /// Its oid in `pg_extension`, a number that PostgreSQL does not use.
    pub oid: u32,
    /// Its name.
    pub name: &'static str,
    /// The version whose functions are here.
    pub version: &'static str,
    /// What it is.
    pub comment: &'static str,
}

/// All of them, by name.
pub const EXTENSIONS: &[Extension] = &[
    Extension { oid: 9_994, name: "uuid-ossp", version: "1.1", comment: "universally unique identifiers (UUIDs)" },
    Extension {
        oid: 9_995,
        name: "vector",
        version: "0.8.0",
        comment: "vector data type, distances, exact nearest neighbours",
    },
];

/// An extension by its name.
#[must_use]
pub fn extension(name: &str) -> Option<&'static Extension> {
    EXTENSIONS.iter().find(|extension| extension.name == name)
}
