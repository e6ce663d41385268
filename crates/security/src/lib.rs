//! Who may come in, and over what: passwords, tokens, keys, TLS and proxies.
//!
//! - [`api_key`]: keys that the server draws
//! - [`jwt`]: tokens that somebody else signs
//! - [`scram`]: SCRAM-SHA-256 verifiers in PostgreSQL's format
//! - [`places`]: how many clients there may be
//! - [`proxy`]: for whom a proxy speaks
//! - [`authority`]: the certificates of a cluster's members
//! - [`tls`]: server configurations from PEM files; one crypto provider, ring
//!
//! That a public address needs authentication is a rule of `perigee-config`, which sees both.

pub mod api_key;
pub mod authority;
pub mod jwt;
pub mod places;
pub mod proxy;
pub mod scram;
pub mod tls;

pub use jwt::{JwtKey, JwtRules, JwtVerifier};
pub use places::Place;
pub use proxy::{ProxyError, TrustedProxies};
pub use scram::ScramVerifier;
pub use tls::{LoadedTls, ServerTls, TlsError, install_crypto_provider};
