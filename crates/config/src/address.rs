//! Where a door listens: `HOST:PORT`, or `off`.

use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A listen address as written. Names are resolved when the door opens, not when the file is read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Address {
    /// The door stays closed.
    #[default]
    Off,
    /// `HOST:PORT`; port 0 lets the system choose.
    At(String),
}

impl Address {
    /// `HOST:PORT`, unless the door is closed.
    #[must_use]
    pub fn get(&self) -> Option<&str> {
        match self {
            Self::Off => None,
            Self::At(address) => Some(address),
        }
    }

    /// The socket addresses behind the name; none when the door is closed.
    ///
    /// # Errors
    /// When the name cannot be resolved.
    pub fn resolve(&self) -> std::io::Result<Vec<SocketAddr>> {
        match self {
            Self::Off => Ok(Vec::new()),
            Self::At(address) => address.to_socket_addrs().map(Iterator::collect),
        }
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text == "off" {
            return Ok(Self::Off);
        }
        let wrong = || format!("{text:?} is not an address: give HOST:PORT, as in \"127.0.0.1:5432\", or \"off\"");
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        port.parse::<u16>().map_err(|_| wrong())?;
        // An IPv6 address needs its brackets, or its last group would be read as the port.
        let bare_v6 = host.contains(':') && !(host.starts_with('[') && host.ends_with(']'));
        if host.is_empty() || bare_v6 || host.contains(char::is_whitespace) {
            return Err(wrong());
        }
        Ok(Self::At(text.to_owned()))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.get().unwrap_or("off"))
    }
}

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Option<&str>) {
        let parsed = text.parse::<Address>();
        assert_eq!(parsed.as_ref().ok().map(ToString::to_string).as_deref(), expected, "{text}");
    }

    #[test]
    fn addresses_are_read() {
        check("off", Some("off"));
        check("127.0.0.1:5432", Some("127.0.0.1:5432"));
        check("localhost:0", Some("localhost:0"));
        check("[::1]:5432", Some("[::1]:5432"));
        check("::1:5432", None);
        check(":5432", None);
        check("5432", None);
        check("host:", None);
        check("host:70000", None);
        check("a b:1", None);
    }
}
