//! SCRAM-SHA-256 verifiers: what a server keeps instead of a password.
//!
//! ```text
//! SCRAM-SHA-256$<iterations>:<salt>$<stored key>:<server key>      (base64; as in PostgreSQL's pg_authid)
//!
//! salted password = PBKDF2-HMAC-SHA-256(SASLprep(password), salt, iterations)
//! stored key      = SHA-256(HMAC(salted password, "Client Key"))
//! server key      = HMAC(salted password, "Server Key")
//! ```
//!
//! Source: RFC 5802, RFC 7677; PostgreSQL's `src/common/scram-common.c`.

use std::borrow::Cow;
use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::rand::SecureRandom as _;
use ring::{digest, hmac, pbkdf2, rand};

/// PostgreSQL's default.
pub const ITERATIONS: u32 = 4096;
/// Above this a verifier would be a way to keep the server busy.
const ITERATIONS_MAX: u32 = 10_000_000;
const SALT_BYTES: usize = 16;
const KEY_BYTES: usize = digest::SHA256_OUTPUT_LEN;
const PREFIX: &str = "SCRAM-SHA-256$";

/// Why there is no verifier.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScramError {
    /// The text is not of the form above.
    #[error("not a SCRAM-SHA-256 verifier")]
    Malformed,
    /// The system gives no random numbers.
    #[error("no random numbers from the system")]
    Random,
}

/// What proves a password without holding it.
#[derive(Clone, PartialEq, Eq)]
pub struct ScramVerifier {
    /// How often the hash is repeated.
    pub iterations: u32,
    /// Random bytes in the hash.
    pub salt: Vec<u8>,
    /// Checks the client's proof.
    pub stored_key: [u8; KEY_BYTES],
    /// Signs the server's answer.
    pub server_key: [u8; KEY_BYTES],
}

impl ScramVerifier {
    /// A verifier for `password` with a new salt and PostgreSQL's number of iterations.
    ///
    /// # Errors
    /// [`ScramError::Random`].
    pub fn create(password: &str) -> Result<Self, ScramError> {
        let mut salt = vec![0; SALT_BYTES];
        rand::SystemRandom::new().fill(&mut salt).map_err(|_| ScramError::Random)?;
        Ok(Self::derive(password, salt, ITERATIONS))
    }

    /// The verifier that `text` is, or a new one if it is a plain password: what `ALTER ROLE … PASSWORD` takes.
    ///
    /// # Errors
    /// [`ScramError::Random`].
    pub fn from_password_or_verifier(text: &str) -> Result<Self, ScramError> {
        text.parse().or_else(|_| Self::create(text))
    }

    /// A verifier that no password fits, always the same for one `role` and `secret`: a stranger who asks for a role
    /// twice cannot see that it does not exist.
    #[must_use]
    pub fn decoy(role: &str, secret: &[u8]) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let part = |name: &str| {
            let mut bytes = [0; KEY_BYTES];
            bytes.copy_from_slice(hmac::sign(&key, format!("{name}:{role}").as_bytes()).as_ref());
            bytes
        };
        Self {
            iterations: ITERATIONS,
            salt: part("salt")[..SALT_BYTES].to_vec(),
            stored_key: part("stored"),
            server_key: part("server"),
        }
    }

    /// Whether `password` fits. For clients that send it in the clear, and for tests.
    #[must_use]
    pub fn matches(&self, password: &str) -> bool {
        let other = Self::derive(password, self.salt.clone(), self.iterations);
        // Of two hashes; how long the comparison takes says nothing about the password.
        other.stored_key == self.stored_key
    }

    fn derive(password: &str, salt: Vec<u8>, iterations: u32) -> Self {
        let prepared = prepare(password);
        let rounds = NonZeroU32::new(iterations).unwrap_or(NonZeroU32::MIN);
        let mut salted = [0; KEY_BYTES];
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, rounds, &salt, prepared.as_bytes(), &mut salted);
        let key = hmac::Key::new(hmac::HMAC_SHA256, &salted);
        let client_key = hmac::sign(&key, b"Client Key");
        let mut stored_key = [0; KEY_BYTES];
        stored_key.copy_from_slice(digest::digest(&digest::SHA256, client_key.as_ref()).as_ref());
        let mut server_key = [0; KEY_BYTES];
        server_key.copy_from_slice(hmac::sign(&key, b"Server Key").as_ref());
        Self { iterations, salt, stored_key, server_key }
    }
}

/// The text of [`ScramVerifier::decoy`]: what a login of a role that does not exist is tried against.
#[must_use]
pub fn mock_verifier(secret: &[u8], role: &str) -> String {
    ScramVerifier::decoy(role, secret).to_string()
}

/// SASLprep, or the password as it is when that refuses it, as PostgreSQL does.
fn prepare(password: &str) -> Cow<'_, str> {
    stringprep::saslprep(password).unwrap_or(Cow::Borrowed(password))
}

impl FromStr for ScramVerifier {
    type Err = ScramError;

    fn from_str(text: &str) -> Result<Self, ScramError> {
        let malformed = ScramError::Malformed;
        let rest = text.strip_prefix(PREFIX).ok_or(malformed.clone())?;
        let (head, keys) = rest.split_once('$').ok_or(malformed.clone())?;
        let (iterations, salt) = head.split_once(':').ok_or(malformed.clone())?;
        let (stored, server) = keys.split_once(':').ok_or(malformed.clone())?;
        let decode = |text: &str| BASE64.decode(text).map_err(|_| ScramError::Malformed);
        let key = |text: &str| <[u8; KEY_BYTES]>::try_from(decode(text)?).map_err(|_| ScramError::Malformed);
        let iterations = iterations.parse().map_err(|_| ScramError::Malformed)?;
        let salt = decode(salt)?;
        if iterations == 0 || iterations > ITERATIONS_MAX || salt.is_empty() {
            return Err(malformed);
        }
        Ok(Self { iterations, salt, stored_key: key(stored)?, server_key: key(server)? })
    }
}

impl fmt::Display for ScramVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let encode = |bytes: &[u8]| BASE64.encode(bytes);
        write!(
            f,
            "{PREFIX}{}:{}${}:{}",
            self.iterations,
            encode(&self.salt),
            encode(&self.stored_key),
            encode(&self.server_key)
        )
    }
}

impl fmt::Debug for ScramVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScramVerifier").field("iterations", &self.iterations).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7677, section 3: user "user", password "pencil". The keys follow from its salt.
    const RFC: &str = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$\
        WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";

    #[test]
    fn the_rfc_s_example_fits() {
        let verifier: ScramVerifier = RFC.parse().unwrap();
        assert!(verifier.matches("pencil"));
        assert!(!verifier.matches("pencils"));
        assert_eq!(verifier.to_string(), RFC);
    }

    #[test]
    fn a_new_verifier_reads_back() {
        let verifier = ScramVerifier::create("gehe\u{a0}im").unwrap();
        assert_eq!(verifier.to_string().parse(), Ok(verifier.clone()));
        assert!(verifier.matches("gehe im"), "SASLprep maps the no-break space");
        assert_ne!(verifier, ScramVerifier::create("gehe im").unwrap(), "each has its own salt");
        assert!(!format!("{verifier:?}").contains("stored"));
    }

    #[test]
    fn text_is_a_password_unless_it_is_a_verifier() {
        assert_eq!(ScramVerifier::from_password_or_verifier(RFC).unwrap().to_string(), RFC);
        assert!(ScramVerifier::from_password_or_verifier("SCRAM-SHA-256$x").unwrap().matches("SCRAM-SHA-256$x"));
    }

    #[test]
    fn a_decoy_is_stable_and_fits_nothing() {
        let decoy = ScramVerifier::decoy("nobody", b"secret");
        assert_eq!(decoy, ScramVerifier::decoy("nobody", b"secret"));
        assert_ne!(decoy.salt, ScramVerifier::decoy("somebody", b"secret").salt);
        assert!(!decoy.matches(""));
        assert_eq!(decoy.to_string().parse(), Ok(decoy));
    }

    #[test]
    fn what_is_malformed_is_refused() {
        for text in [
            "",
            "md5abc",
            "SCRAM-SHA-256$",
            "SCRAM-SHA-256$0:W22Z$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=",
            "SCRAM-SHA-256$4096:$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=",
            "SCRAM-SHA-256$4096:W22Z$WG5d:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=",
            "SCRAM-SHA-256$99999999999:W22Z$x:y",
        ] {
            assert_eq!(text.parse::<ScramVerifier>(), Err(ScramError::Malformed), "{text}");
        }
    }
}
