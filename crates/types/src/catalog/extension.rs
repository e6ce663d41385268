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

/// Oid of the extension that the schemas of this server's own tables belong to: dumps leave them out.
pub const OWN_EXTENSION: u32 = 9_993;

/// All of them, by name.
pub const EXTENSIONS: &[Extension] = &[
    Extension { oid: 9_988, name: "citext", version: "1.6", comment: "text that compares whatever its case" },
    Extension { oid: 9_989, name: "hstore", version: "1.8", comment: "texts by their keys, as one value" },
    Extension { oid: 9_990, name: "ltree", version: "1.2", comment: "paths of labels, and patterns of them" },
    Extension {
        oid: OWN_EXTENSION,
        name: "perigee",
        version: env!("CARGO_PKG_VERSION"),
        comment: "system tables of this server and its keyspace",
    },
    Extension { oid: 9_991, name: "pgcrypto", version: "1.3", comment: "digests and random values" },
    Extension { oid: 9_992, name: "plpgsql", version: "1.0", comment: "PL/pgSQL procedural language, for DO" },
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
