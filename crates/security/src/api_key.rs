//! API keys: secrets that the server draws, shows once and keeps as a hash.
//!
//! ```text
//! pgk_<id: 16 hexadecimal digits>_<secret: 64 hexadecimal digits, 256 bits>
//! ```
//!
//! The id is no secret: it finds the key, and stands in lists. What is kept is SHA-256 of the whole text; a hash that is made to be
//! slow is for what people choose, and nobody guesses 256 bits.

use ring::digest;
use ring::rand::{SecureRandom as _, SystemRandom};

/// What an API key begins with.
pub const PREFIX: &str = "pgk_";
const ID_DIGITS: usize = 16;
const SECRET_BYTES: usize = 32;

/// The system gives no random numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no random numbers from the system")]
pub struct NoRandom;

/// A key that was just made.
pub struct NewApiKey {
    /// Finds it.
    pub id: String,
    /// What the client says.
    pub text: String,
    /// What is kept.
    pub hash: String,
}

/// Draws a key.
///
/// # Errors
/// [`NoRandom`]
pub fn create() -> Result<NewApiKey, NoRandom> {
    let mut bytes = [0; ID_DIGITS / 2 + SECRET_BYTES];
    SystemRandom::new().fill(&mut bytes).map_err(|_| NoRandom)?;
    let (id, secret) = bytes.split_at(ID_DIGITS / 2);
    let id = hexadecimal(id);
    let text = format!("{PREFIX}{id}_{}", hexadecimal(secret));
    Ok(NewApiKey { hash: hash(&text), id, text })
}

/// The id of what may be a key; `None` for what is none.
#[must_use]
pub fn id_of(text: &str) -> Option<&str> {
    let (id, secret) = text.strip_prefix(PREFIX)?.split_once('_')?;
    let is = |part: &str, digits: usize| part.len() == digits && part.bytes().all(|b| b.is_ascii_hexdigit());
    (is(id, ID_DIGITS) && is(secret, SECRET_BYTES * 2)).then_some(id)
}

/// What is kept of a key.
#[must_use]
pub fn hash(text: &str) -> String {
    hexadecimal(digest::digest(&digest::SHA256, text.as_bytes()).as_ref())
}

/// Whether two secrets, or hashes of them, are the same. How long it takes depends on their lengths alone.
#[must_use]
pub fn same(one: &[u8], other: &[u8]) -> bool {
    let differs = one.iter().zip(other).fold(0, |differs, (a, b)| std::hint::black_box(differs | (a ^ b)));
    one.len() == other.len() && differs == 0
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_by_its_id_and_proved_by_its_hash() {
        let (one, other) = (create().unwrap(), create().unwrap());
        assert_eq!(id_of(&one.text), Some(one.id.as_str()));
        assert_eq!(hash(&one.text), one.hash);
        assert!(one.text != other.text && one.id != other.id && !one.hash.contains(&one.text[21..]));
        assert!(same(hash(&one.text).as_bytes(), one.hash.as_bytes()));
        assert!(!same(hash(&other.text).as_bytes(), one.hash.as_bytes()));
        assert!(!same(b"ab", b"a") && !same(b"", b"a") && same(b"", b""));
        let text = &one.text;
        let cut = &text[..text.len() - 1];
        for wrong in ["", "pgk_", "pgk__", cut, &format!("{text}0"), &text.replace("pgk_", "pgx_"), &format!("{cut}ä")]
        {
            assert_eq!(id_of(wrong), None, "{wrong}");
        }
    }
}
