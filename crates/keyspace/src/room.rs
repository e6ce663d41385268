//! How much a reply may hold where a command can ask for one thing again and again.
//!
//! A reply stands in memory as a whole, and one that a script asks for does so on every node, behind the log: what no node
//! can hold would end each of them, and again at each start. What is asked for once is bounded by what there is.

use crate::{Error, Reply, Result};

/// Bytes of one reply, about.
const REPLY_BYTES_MAX: usize = 1 << 30;
/// What a part takes beside its bytes.
const PART_BYTES: usize = 64;
/// Bytes of the replies to one transaction, or to the commands of one burst, behind which no more is read.
pub(crate) const REPLIES_BYTES_MAX: usize = 1 << 30;

/// What a command that reads is told where those before it have taken that room.
#[must_use]
pub fn too_many_replies() -> Reply {
    Reply::error("ERR the replies to the commands before it are too large: send fewer commands together")
}

/// The room that is left in a reply.
#[derive(Debug)]
pub(crate) struct Room(usize);

impl Default for Room {
    fn default() -> Self {
        Self(REPLY_BYTES_MAX)
    }
}

impl Room {
    /// Takes the room of a part with so many bytes.
    ///
    /// # Errors
    /// What the client is told where there is none.
    pub(crate) fn take(&mut self, bytes: usize) -> Result<()> {
        let left = self.0.checked_sub(bytes.saturating_add(PART_BYTES));
        self.0 = left.ok_or(Error::reply("ERR the reply would be too large"))?;
        Ok(())
    }

    /// Takes the room of so many parts, whatever is in them.
    ///
    /// # Errors
    /// As [`Room::take`].
    pub(crate) fn take_parts(&mut self, count: usize) -> Result<()> {
        self.take(count.saturating_mul(PART_BYTES))
    }
}

/// Whether there is room for parts of these sizes.
///
/// # Errors
/// As [`Room::take`].
pub(crate) fn fits(sizes: impl IntoIterator<Item = usize>) -> Result<()> {
    let mut room = Room::default();
    sizes.into_iter().try_for_each(|bytes| room.take(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Ran;
    use crate::twin::Twin;

    #[test]
    fn a_reply_has_so_much_room() {
        assert!(fits([REPLY_BYTES_MAX - PART_BYTES]).is_ok());
        assert!(fits([REPLY_BYTES_MAX]).is_err() && fits([usize::MAX]).is_err());
        let many = |count| fits(std::iter::repeat_n(REPLY_BYTES_MAX / 1_024 - PART_BYTES, count));
        assert!(many(1_024).is_ok() && many(1_025).is_err());
        let parts = REPLY_BYTES_MAX / PART_BYTES;
        assert!(Room::default().take_parts(parts - 1).is_ok() && Room::default().take_parts(usize::MAX).is_err());
    }

    /// What a command is told, or nothing where it is answered.
    fn refused(twin: &mut Twin, first: &str, repeated: &[&str], count: usize, last: &str) -> Option<String> {
        let mut words: Vec<&str> = first.split(' ').collect();
        repeated.iter().for_each(|word| words.extend(std::iter::repeat_n(*word, count)));
        words.extend(last.split(' ').filter(|word| !word.is_empty()));
        match twin.run(&words) {
            Ran::Reply(reply) if reply.is_error() => Some(crate::twin::text(&reply)),
            _ => None,
        }
    }

    #[test]
    fn what_is_asked_for_again_and_again_has_an_end() {
        let mut twin = Twin::new();
        let large = "x".repeat(64 << 20);
        for first in ["HSET h f", "SADD s", "ZADD z 1", "XADD st 1-1 f"] {
            assert_eq!(refused(&mut twin, first, &[&large], 1, ""), None, "{first}");
        }
        twin.check("XGROUP CREATE st g 0");
        for (first, repeated, last) in [
            ("HMGET h", &["f"][..], ""),
            ("HGETEX h FIELDS 17", &["f"], ""),
            ("HGETDEL h FIELDS 17", &["f"], ""),
            ("HRANDFIELD h -17 WITHVALUES", &[], ""),
            ("SRANDMEMBER s -17", &[], ""),
            ("ZRANDMEMBER z -17", &[], ""),
        ] {
            let refused = refused(&mut twin, first, repeated, 17, last);
            assert_eq!(refused.as_deref(), Some("(error) ERR the reply would be too large"), "{first}");
        }
        // What is asked for once may be as large as it is.
        for (first, repeated, last) in [
            ("XREAD STREAMS", &["st", "0"][..], ""),
            ("XREADGROUP GROUP g c STREAMS", &["st", "0"], ""),
            ("XCLAIM st g c 0", &["1-1"], "FORCE"),
        ] {
            assert_eq!(refused(&mut twin, first, repeated, 1, last), None, "{first}");
            let refused = refused(&mut twin, first, repeated, 18, last);
            assert_eq!(refused.as_deref(), Some("(error) ERR the reply would be too large"), "{first}");
        }
        twin.check("HLEN h => 1");
        let elements = vec!["1"; 20_000];
        assert_eq!(refused(&mut twin, "RPUSH l", &elements, 1, ""), None);
        assert_eq!(refused(&mut twin, "SORT l", &["GET #"], 0, "GET #"), None);
        let gets = "GET # ".repeat(1_000);
        assert_eq!(
            refused(&mut twin, "SORT l", &[], 0, &gets).as_deref(),
            Some("(error) ERR the reply would be too large")
        );
    }
}
