//! What every request says of itself, in one header: protocol version, cluster, from whom, to whom.
//!
//! `perigee-member: 1 <cluster, 32 hex digits> <name> <incarnation, 32 hex digits> <name> <incarnation>`; a zero stands for what
//! is not known yet, which only a hello may leave open.

use perigee_consensus::Node;
use tonic::Status;
use tonic::metadata::MetadataMap;

const HEADER: &str = "perigee-member";

/// Version of the messages between members. Members of different versions do not talk.
pub(crate) const PROTOCOL: u32 = 1;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// Zero: none yet.
    pub(crate) cluster: u128,
    pub(crate) from: (String, u128),
    /// An incarnation of zero: whichever there is.
    pub(crate) to: (String, u128),
}

impl Header {
    pub(crate) fn put(&self, metadata: &mut MetadataMap) -> Result<(), Status> {
        let Self { cluster, from, to } = self;
        let text = format!("{PROTOCOL} {cluster:032x} {} {:032x} {} {:032x}", from.0, from.1, to.0, to.1);
        let value = text.parse().map_err(|_| Status::invalid_argument("a node name that no header can hold"))?;
        metadata.insert(HEADER, value);
        Ok(())
    }

    pub(crate) fn read(metadata: &MetadataMap) -> Result<Self, Status> {
        let text = metadata.get(HEADER).and_then(|value| value.to_str().ok());
        let text = text.ok_or_else(|| Status::unauthenticated("the request does not say which member sends it"))?;
        let mut fields = text.split(' ');
        let mut next = || fields.next().ok_or_else(|| Status::invalid_argument("the member header is cut off"));
        let version = next()?;
        if version != PROTOCOL.to_string() {
            return Err(Status::failed_precondition(format!(
                "the request speaks version {version} of the cluster protocol, this node version {PROTOCOL}"
            )));
        }
        let number = |text: &str| {
            u128::from_str_radix(text, 16)
                .map_err(|_| Status::invalid_argument("the member header has no number there"))
        };
        let cluster = number(next()?)?;
        let from = (next()?.to_owned(), number(next()?)?);
        let to = (next()?.to_owned(), number(next()?)?);
        Ok(Self { cluster, from, to })
    }

    /// Whether `node` of `cluster` is meant. A hello may come from a node that knows neither.
    pub(crate) fn check(&self, node: &Node, cluster: u128, hello: bool) -> Result<(), Status> {
        if self.to.0 != node.name {
            return Err(Status::failed_precondition(format!(
                "the request is for node {:?}, this is {:?}: the peers name a wrong address",
                self.to.0, node.name
            )));
        }
        if hello {
            return Ok(());
        }
        if cluster == 0 || self.cluster != cluster {
            return Err(Status::permission_denied(format!(
                "the request is of cluster {:032x}, this node of {cluster:032x}",
                self.cluster
            )));
        }
        if self.to.1 != node.incarnation {
            return Err(Status::failed_precondition("the request is for another incarnation of this node"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        Header { cluster: 7, from: ("n1".into(), 1), to: ("n2".into(), u128::MAX) }
    }

    fn node(name: &str, incarnation: u128) -> Node {
        Node { name: name.into(), incarnation, address: String::new() }
    }

    #[test]
    fn a_header_survives_a_round_trip() {
        let mut metadata = MetadataMap::new();
        header().put(&mut metadata).unwrap();
        assert_eq!(Header::read(&metadata).unwrap(), header());
    }

    #[test]
    fn what_is_no_header_is_refused() {
        assert!(Header::read(&MetadataMap::new()).is_err());
        for text in ["", "1", "1 7 n1 1", "2 7 n1 1 n2 1", "1 x n1 1 n2 1", "1 7 n1 1 n2 z"] {
            let mut metadata = MetadataMap::new();
            metadata.insert(HEADER, text.parse().unwrap());
            assert!(Header::read(&metadata).is_err(), "{text:?}");
        }
    }

    #[test]
    fn another_cluster_name_or_incarnation_is_refused() {
        let header = header();
        assert!(header.check(&node("n2", u128::MAX), 7, false).is_ok());
        assert!(header.check(&node("n2", u128::MAX), 8, false).is_err(), "another cluster");
        assert!(header.check(&node("n2", u128::MAX), 0, false).is_err(), "none yet");
        assert!(header.check(&node("n2", 5), 7, false).is_err(), "another incarnation");
        assert!(header.check(&node("n3", u128::MAX), 7, false).is_err(), "another node");
        assert!(header.check(&node("n3", u128::MAX), 7, true).is_err(), "another node, hello");
        assert!(header.check(&node("n2", 5), 0, true).is_ok(), "a hello comes before all that");
    }
}
