//! The members of a cluster: `n1=host:7000,n2=host:7000`.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Node ids with their cluster addresses. The node itself may stand among them or not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peers(pub BTreeMap<String, String>);

impl Peers {
    /// How many voters there are, counting the node `own` once.
    #[must_use]
    pub fn voters(&self, own: &str) -> usize {
        self.0.keys().filter(|id| *id != own).count() + 1
    }
}

impl FromStr for Peers {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut peers = BTreeMap::new();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (id, address) = part
                .split_once('=')
                .ok_or_else(|| format!("{part:?} is not a peer: give id=host:port, separated by commas"))?;
            let address: crate::Address = address.parse()?;
            let address = address.get().ok_or_else(|| format!("the peer {id:?} needs an address, not \"off\""))?;
            if peers.insert(id.trim().to_owned(), address.to_owned()).is_some() {
                return Err(format!("the peer {id:?} is named twice"));
            }
        }
        Ok(Self(peers))
    }
}

impl fmt::Display for Peers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (id, address)) in self.0.iter().enumerate() {
            if place > 0 {
                f.write_str(",")?;
            }
            write!(f, "{id}={address}")?;
        }
        Ok(())
    }
}

impl Serialize for Peers {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Peers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_are_read_and_counted() {
        let peers: Peers = "n1=a:7000, n2=b:7000".parse().unwrap();
        assert_eq!(peers.to_string(), "n1=a:7000,n2=b:7000");
        assert_eq!(peers.voters("n1"), 2);
        assert_eq!(peers.voters("n3"), 3);
        assert_eq!(Peers::default().voters("n1"), 1);
        assert!("n1=a:7000,n1=b:7000".parse::<Peers>().is_err());
        assert!("a:7000".parse::<Peers>().is_err());
        assert!("n1=off".parse::<Peers>().is_err());
    }
}
