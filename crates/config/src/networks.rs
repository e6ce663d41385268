//! Networks: `10.0.0.5,192.168.0.0/16,fd00::/8`, or the same as a list.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Addresses, each a network of one, and networks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks(pub Vec<IpNet>);

impl FromStr for Networks {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(network).collect::<Result<_, _>>().map(Self)
    }
}

fn network(text: &str) -> Result<IpNet, String> {
    let address = text.parse::<IpAddr>().map(IpNet::from);
    let network = address
        .or_else(|_| text.parse())
        .map_err(|_| format!("{text:?} is no address and no network: give 10.0.0.5, 10.0.0.0/8 or fd00::/8"))?;
    // A longer prefix was meant, or another address.
    if network.addr() != network.network() {
        return Err(format!("{text:?} has an address within its network: give {}", network.trunc()));
    }
    Ok(network)
}

impl fmt::Display for Networks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, network) in self.0.iter().enumerate() {
            write!(f, "{}{network}", if place == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

impl Serialize for Networks {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Networks {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Text(String),
            List(Vec<String>),
        }
        let text = match Form::deserialize(deserializer)? {
            Form::Text(text) => text,
            Form::List(list) => list.join(","),
        };
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_read() {
        let networks: Networks = "10.0.0.5, 192.168.0.0/16,fd00::/8".parse().unwrap();
        assert_eq!(networks.to_string(), "10.0.0.5/32,192.168.0.0/16,fd00::/8");
        assert_eq!("".parse::<Networks>().unwrap(), Networks::default());
        for (wrong, part) in
            [("10.0.0.5/8", "give 10.0.0.0/8"), ("proxy.example", "no network"), ("10.0.0.0/33", "no network")]
        {
            let error = wrong.parse::<Networks>().unwrap_err();
            assert!(error.contains(part), "{error}");
        }
        let list: Networks =
            toml::from_str::<toml::Table>("n = [\"10.0.0.5\", \"::1\"]").unwrap()["n"].clone().try_into().unwrap();
        assert_eq!(list.to_string(), "10.0.0.5/32,::1/128");
    }
}
