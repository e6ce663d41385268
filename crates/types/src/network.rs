//! Addresses of networks: `inet`, `cidr`, `macaddr`, `macaddr8`.
//!
//! A value is kept as bytes whose order is PostgreSQL's. Of `inet` and `cidr` these are the family (4 or 6), the address with the
//! bits behind the mask cleared, the length of the mask, and the address as it is; of the others the bytes of the address. Two
//! networks of which one holds the other differ in the first only behind the shorter mask, so the shorter one comes first.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use crate::error::{SqlError, SqlResult, SqlState};
use crate::text::invalid_syntax;

/// Which of these types.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum AddressType {
    /// inet: an address, and the network that it is in
    Inet,
    /// cidr: a network, whose address has nothing behind the mask
    Cidr,
    /// macaddr: six bytes
    Mac,
    /// macaddr8: eight bytes
    Mac8,
}

impl AddressType {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            AddressType::Inet => "inet",
            AddressType::Cidr => "cidr",
            AddressType::Mac => "macaddr",
            AddressType::Mac8 => "macaddr8",
        }
    }

    /// Its oid, and that of its arrays.
    #[must_use]
    pub fn oids(self) -> (u32, u32) {
        match self {
            AddressType::Inet => (869, 1041),
            AddressType::Cidr => (650, 651),
            AddressType::Mac => (829, 1040),
            AddressType::Mac8 => (774, 775),
        }
    }

    /// `typlen`
    #[must_use]
    pub fn type_length(self) -> i16 {
        match self {
            AddressType::Inet | AddressType::Cidr => -1,
            AddressType::Mac => 6,
            AddressType::Mac8 => 8,
        }
    }

    /// Reads a value's text as the bytes that are kept.
    ///
    /// # Errors
    /// `22P02`
    pub fn parse(self, text: &str) -> SqlResult<Vec<u8>> {
        let trimmed = text.trim_ascii();
        let invalid = || invalid_syntax(self.name(), text);
        match self {
            AddressType::Inet | AddressType::Cidr => {
                let network = Network::parse(trimmed, self == AddressType::Cidr).ok_or_else(invalid)?;
                if self == AddressType::Cidr && network != network.network() {
                    return Err(SqlError::new(
                        SqlState::InvalidTextRepresentation,
                        format!("invalid cidr value: \"{text}\""),
                    )
                    .detail("Value has bits set to right of mask."));
                }
                Ok(network.encode())
            }
            AddressType::Mac => hardware(trimmed).filter(|bytes| bytes.len() == 6).ok_or_else(invalid),
            AddressType::Mac8 => hardware(trimmed).map(widened).ok_or_else(invalid),
        }
    }

    /// The text of bytes that are kept.
    #[must_use]
    pub fn format(self, kept: &[u8]) -> String {
        match self {
            AddressType::Inet | AddressType::Cidr => {
                let Some(network) = Network::decode(kept) else { return String::new() };
                if self == AddressType::Cidr || network.bits != network.bits_max() {
                    format!("{}/{}", network.address, network.bits)
                } else {
                    network.address.to_string()
                }
            }
            AddressType::Mac | AddressType::Mac8 => {
                kept.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":")
            }
        }
    }

    /// The bytes of the binary format.
    #[must_use]
    pub fn to_wire(self, kept: &[u8]) -> Vec<u8> {
        let network = match self {
            AddressType::Inet | AddressType::Cidr => Network::decode(kept),
            AddressType::Mac | AddressType::Mac8 => return kept.to_vec(),
        };
        let Some(network) = network else { return Vec::new() };
        let octets = network.octets();
        let family = if network.is_v4() { WIRE_V4 } else { WIRE_V6 };
        let mut wire = vec![family, network.bits, u8::from(self == AddressType::Cidr), octets.len() as u8];
        wire.extend_from_slice(&octets);
        wire
    }

    /// The bytes that are kept, of those of the binary format.
    ///
    /// # Errors
    /// `22P03`
    pub fn from_wire(self, wire: &[u8]) -> SqlResult<Vec<u8>> {
        let invalid = |what: &str| {
            let text = format!("invalid {what} in external \"{}\" value", self.name());
            SqlError::new(SqlState::InvalidBinaryRepresentation, text)
        };
        match self {
            AddressType::Mac if wire.len() == 6 => return Ok(wire.to_vec()),
            AddressType::Mac8 if wire.len() == 8 || wire.len() == 6 => return Ok(widened(wire.to_vec())),
            AddressType::Mac | AddressType::Mac8 => return Err(invalid("length")),
            AddressType::Inet | AddressType::Cidr => {}
        }
        let [family, bits, _, length, octets @ ..] = wire else { return Err(invalid("length")) };
        if usize::from(*length) != octets.len() {
            return Err(invalid("length"));
        }
        let address = match *family {
            WIRE_V4 => <[u8; 4]>::try_from(octets).map(IpAddr::from),
            WIRE_V6 => <[u8; 16]>::try_from(octets).map(IpAddr::from),
            _ => return Err(invalid("address family")),
        };
        let network = Network { address: address.map_err(|_| invalid("length"))?, bits: *bits };
        if network.bits > network.bits_max() {
            return Err(invalid("bits"));
        }
        if self == AddressType::Cidr && network != network.network() {
            return Err(SqlError::new(SqlState::InvalidBinaryRepresentation, "invalid external \"cidr\" value")
                .detail("Value has bits set to right of mask."));
        }
        Ok(network.encode())
    }
}

/// Families in the binary format.
const WIRE_V4: u8 = 2;
const WIRE_V6: u8 = 3;

/// An address with the length of its network's mask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// The address.
    pub address: IpAddr,
    /// How many bits from the front are the network's.
    pub bits: u8,
}

impl Network {
    fn is_v4(self) -> bool {
        self.address.is_ipv4()
    }

    /// How many bits an address of this family has.
    #[must_use]
    pub fn bits_max(self) -> u8 {
        if self.is_v4() { 32 } else { 128 }
    }

    /// 4 or 6.
    #[must_use]
    pub fn family(self) -> u8 {
        if self.is_v4() { 4 } else { 6 }
    }

    fn octets(self) -> Vec<u8> {
        match self.address {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        }
    }

    /// The address as a number of [`Self::bits_max`] bits.
    fn number(self) -> u128 {
        match self.address {
            IpAddr::V4(address) => u128::from(u32::from(address)),
            IpAddr::V6(address) => u128::from(address),
        }
    }

    /// The network with the address of a number, whose bits beyond the family's are left out.
    fn with_number(self, number: u128) -> Self {
        let address = match self.address {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::from((number & u128::from(u32::MAX)) as u32)),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::from(number)),
        };
        Self { address, ..self }
    }

    /// A number with the bits set that are the host's.
    fn host_bits(self) -> u128 {
        let behind = u32::from(self.bits_max().saturating_sub(self.bits));
        1u128.checked_shl(behind).map_or(u128::MAX, |bit| bit - 1)
    }

    /// The network that it is in: nothing is set behind the mask.
    #[must_use]
    pub fn network(self) -> Self {
        self.with_number(self.number() & !self.host_bits())
    }

    /// The last address of its network.
    #[must_use]
    pub fn broadcast(self) -> Self {
        self.with_number(self.number() | self.host_bits())
    }

    /// The mask of its network, as an address.
    #[must_use]
    pub fn netmask(self) -> Self {
        Self { bits: self.bits_max(), ..self.with_number(!self.host_bits()) }
    }

    /// What the mask leaves out, as an address.
    #[must_use]
    pub fn hostmask(self) -> Self {
        Self { bits: self.bits_max(), ..self.with_number(self.host_bits()) }
    }

    /// The same address in a network of another length; `None` where the family has no such length.
    #[must_use]
    pub fn with_bits(self, bits: i32) -> Option<Self> {
        let bits = if bits == -1 { self.bits_max() } else { u8::try_from(bits).ok()? };
        (bits <= self.bits_max()).then_some(Self { bits, ..self })
    }

    /// The address that stands so many behind it; `None` beyond the first or the last.
    #[must_use]
    pub fn moved(self, by: i64) -> Option<Self> {
        let number = if by < 0 {
            self.number().checked_sub(u128::from(by.unsigned_abs()))?
        } else {
            self.number().checked_add(u128::from(by.unsigned_abs()))?
        };
        let fits = !self.is_v4() || number <= u128::from(u32::MAX);
        fits.then(|| self.with_number(number))
    }

    /// How far its address is behind another's; `None` for another family or a distance beyond a bigint.
    #[must_use]
    pub fn distance(self, other: Self) -> Option<i64> {
        if self.is_v4() != other.is_v4() {
            return None;
        }
        let (own, other) = (self.number(), other.number());
        if own >= other {
            i64::try_from(own - other).ok()
        } else {
            let below = i128::try_from(other - own).ok()?;
            i64::try_from(-below).ok()
        }
    }

    /// Whether another network lies in this one, or is it.
    #[must_use]
    pub fn holds(self, other: Self) -> bool {
        self.is_v4() == other.is_v4()
            && self.bits <= other.bits
            && self.network().number() == Self { bits: self.bits, ..other }.network().number()
    }

    /// The smallest network that holds both; `None` for two families.
    #[must_use]
    pub fn merged(self, other: Self) -> Option<Self> {
        if self.is_v4() != other.is_v4() {
            return None;
        }
        let unlike = self.number() ^ other.number();
        let common = unlike.leading_zeros().saturating_sub(128 - u32::from(self.bits_max()));
        let bits = common.min(u32::from(self.bits)).min(u32::from(other.bits));
        Some(Self { bits: u8::try_from(bits).ok()?, ..self }.network())
    }

    /// The bytes that are kept.
    #[must_use]
    pub fn encode(self) -> Vec<u8> {
        let mut kept = vec![self.family()];
        kept.extend_from_slice(&self.network().octets());
        kept.push(self.bits);
        kept.extend_from_slice(&self.octets());
        kept
    }

    /// Of the bytes that are kept; `None` where they are none.
    #[must_use]
    pub fn decode(kept: &[u8]) -> Option<Self> {
        let (family, rest) = kept.split_first()?;
        let length = match family {
            4 => 4,
            6 => 16,
            _ => return None,
        };
        let bits = *rest.get(length)?;
        let octets = rest.get(length + 1..)?;
        let address = match length {
            4 => IpAddr::from(<[u8; 4]>::try_from(octets).ok()?),
            _ => IpAddr::from(<[u8; 16]>::try_from(octets).ok()?),
        };
        let network = Self { address, bits };
        (bits <= network.bits_max()).then_some(network)
    }

    /// Reads an address; behind a slash the length of its mask. Octets at the end may be left out where there is one, and in a
    /// cidr also where there is none: its length follows from the address's class then, and covers what is written.
    fn parse(text: &str, is_cidr: bool) -> Option<Self> {
        let (address, bits) = split(text)?;
        let network = if address.contains(':') {
            let address: Ipv6Addr = address.parse().ok()?;
            Self { address: IpAddr::V6(address), bits: bits.unwrap_or(128) }
        } else {
            let (octets, count) = octets(address)?;
            let written = u8::try_from(count * 8).ok()?;
            let bits = match bits {
                Some(bits) => bits,
                None if is_cidr => bits_of_class(octets[0], written),
                None if count == 4 => 32,
                None => return None,
            };
            // An inet has all octets that its mask reaches into.
            if !is_cidr && bits / 8 * 8 > written {
                return None;
            }
            Self { address: IpAddr::from(octets), bits }
        };
        (network.bits <= network.bits_max()).then_some(network)
    }
}

/// The length of a network that is written as its first octets, so many bits of them.
fn bits_of_class(first: u8, written: u8) -> u8 {
    let of_class = match first {
        240.. => 32,
        224.. => 8,
        192.. => 24,
        128.. => 16,
        _ => 8,
    };
    match of_class.max(written) {
        8 if first == 224 => 4,
        bits => bits,
    }
}

/// An address and the length behind its slash.
fn split(text: &str) -> Option<(&str, Option<u8>)> {
    match text.split_once('/') {
        None => Some((text, None)),
        Some((address, bits)) => {
            let digits = !bits.is_empty() && bits.bytes().all(|byte| byte.is_ascii_digit());
            digits.then(|| bits.parse().ok()).flatten().map(|bits| (address, Some(bits)))
        }
    }
}

/// One to four octets, with zeros for those that are not there, and their count.
fn octets(text: &str) -> Option<([u8; 4], usize)> {
    let mut octets = [0; 4];
    let mut count = 0;
    for part in text.split('.') {
        let digits = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        *octets.get_mut(count)? = if digits { part.parse().ok()? } else { return None };
        count += 1;
    }
    Some((octets, count))
}

/// The bytes of a hardware address: hexadecimal digits in groups of two, of four or of six with one kind of mark between them, or
/// without any.
fn hardware(text: &str) -> Option<Vec<u8>> {
    let mark = text.chars().find(|c| matches!(c, ':' | '-' | '.'));
    let groups: Vec<&str> = match mark {
        Some(mark) => text.split(mark).collect(),
        None => vec![text],
    };
    let length = match (groups.len(), mark) {
        (6 | 8, Some(':' | '-')) => 2,
        (3 | 4, Some('.' | '-')) => 4,
        (2, Some(':' | '-')) => text.len() / 2,
        (1, None) => text.len(),
        _ => return None,
    };
    let fits = |group: &&str| group.len() == length || length == 2 && group.len() == 1;
    if !groups.iter().all(fits) {
        return None;
    }
    // A zero before a single digit may be left out.
    let digits: String =
        groups.iter().map(|group| if group.len() == 1 { format!("0{group}") } else { (*group).to_owned() }).collect();
    if !matches!(digits.len(), 12 | 16) || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let pairs = digits.as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

/// Six bytes as eight: `ff:fe` stands in their middle.
fn widened(bytes: Vec<u8>) -> Vec<u8> {
    match bytes.as_slice() {
        [a, b, c, d, e, f] => vec![*a, *b, *c, 0xff, 0xfe, *d, *e, *f],
        _ => bytes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(ty: AddressType, text: &str) -> Option<String> {
        ty.parse(text).ok().map(|kept| ty.format(&kept))
    }

    #[test]
    fn texts() {
        use AddressType::{Cidr, Inet, Mac, Mac8};
        for (ty, text, want) in [
            (Inet, "192.168.0.1", Some("192.168.0.1")),
            (Inet, " 192.168.0.1/24 ", Some("192.168.0.1/24")),
            (Inet, "10.1/16", Some("10.1.0.0/16")),
            (Inet, "10.1", None),
            (Inet, "10.0.0.1/33", None),
            (Inet, "256.0.0.1", None),
            (Inet, "::1", Some("::1")),
            (Inet, "2001:DB8::1/64", Some("2001:db8::1/64")),
            (Inet, "::ffff:1.2.3.4", Some("::ffff:1.2.3.4")),
            (Inet, "x", None),
            (Inet, "1.2.3.4/", None),
            (Cidr, "192.168.1", Some("192.168.1.0/24")),
            (Cidr, "10", Some("10.0.0.0/8")),
            (Cidr, "10.1.2.3", Some("10.1.2.3/32")),
            (Cidr, "10.1.2.3/8", None),
            (Cidr, "::/0", Some("::/0")),
            (Mac, "08:00:2b:01:02:03", Some("08:00:2b:01:02:03")),
            (Mac, "08-00-2B-01-02-03", Some("08:00:2b:01:02:03")),
            (Mac, "08002b:010203", Some("08:00:2b:01:02:03")),
            (Mac, "0800.2b01.0203", Some("08:00:2b:01:02:03")),
            (Mac, "08002b010203", Some("08:00:2b:01:02:03")),
            (Mac, "8:0:2b:1:2:3", Some("08:00:2b:01:02:03")),
            (Mac, "0800-2b01-0203", Some("08:00:2b:01:02:03")),
            (Mac, "0800:2b01:0203", None),
            (Mac, "08:00:2b:01:02", None),
            (Mac, "08:00:2b:01:02:zz", None),
            (Mac8, "08:00:2b:01:02:03", Some("08:00:2b:ff:fe:01:02:03")),
            (Mac8, "08:00:2b:01:02:03:04:05", Some("08:00:2b:01:02:03:04:05")),
        ] {
            assert_eq!(shown(ty, text).as_deref(), want, "{text}");
        }
    }

    #[test]
    fn bytes_are_in_order() {
        let ordered = [
            "0.0.0.0/0",
            "10.0.0.0/8",
            "10.0.0.0/9",
            "10.0.0.0",
            "10.0.0.1",
            "10.128.0.0/9",
            "11.0.0.0/8",
            "11.0.0.1/8",
            "192.168.0.0/24",
            "::/0",
            "::1",
            "ff00::/8",
        ];
        let kept: Vec<Vec<u8>> = ordered.iter().map(|text| AddressType::Inet.parse(text).unwrap()).collect();
        assert!(kept.is_sorted(), "{kept:?}");
    }

    #[test]
    fn wires_go_there_and_back() {
        for (ty, text) in [
            (AddressType::Inet, "10.1.2.3/8"),
            (AddressType::Inet, "2001:db8::1"),
            (AddressType::Cidr, "10.0.0.0/8"),
            (AddressType::Mac, "08:00:2b:01:02:03"),
            (AddressType::Mac8, "08:00:2b:01:02:03:04:05"),
        ] {
            let kept = ty.parse(text).unwrap();
            assert_eq!(ty.from_wire(&ty.to_wire(&kept)).unwrap(), kept, "{text}");
        }
        for wire in [&[][..], &[2, 24, 0, 4, 1, 2, 3], &[2, 33, 0, 4, 1, 2, 3, 4], &[9, 24, 0, 4, 1, 2, 3, 4]] {
            assert!(AddressType::Inet.from_wire(wire).is_err(), "{wire:?}");
        }
        assert!(AddressType::Cidr.from_wire(&[2, 8, 1, 4, 10, 1, 0, 0]).is_err());
    }

    #[test]
    fn networks_hold_networks() {
        let of = |text: &str| Network::decode(&AddressType::Inet.parse(text).unwrap()).unwrap();
        let text = |network: Network| AddressType::Inet.format(&network.encode());
        assert!(of("10.0.0.0/8").holds(of("10.1.2.3")));
        assert!(of("10.0.0.0/8").holds(of("10.9.0.0/8")));
        assert!(!of("10.0.0.0/9").holds(of("10.128.0.0/9")));
        assert!(!of("0.0.0.0/0").holds(of("::1")));
        assert_eq!(text(of("192.168.1.5/24").broadcast()), "192.168.1.255/24");
        assert_eq!(text(of("192.168.1.5/24").network()), "192.168.1.0/24");
        assert_eq!(text(of("192.168.1.5/24").netmask()), "255.255.255.0");
        assert_eq!(text(of("192.168.1.5/24").hostmask()), "0.0.0.255");
        assert_eq!(text(of("192.168.1.5/24").merged(of("192.168.2.5/24")).unwrap()), "192.168.0.0/22");
        assert_eq!(of("0.0.0.0/0").network(), of("0.0.0.0/0"));
        assert_eq!(of("::/0").broadcast().number(), u128::MAX);
        assert_eq!(of("10.0.0.1").moved(-2).map(text).as_deref(), Some("9.255.255.255"));
        assert_eq!(of("255.255.255.255").moved(1), None);
        assert_eq!(of("10.0.1.0").distance(of("10.0.0.0")), Some(256));
        assert_eq!(of("10.0.0.0").distance(of("10.0.1.0")), Some(-256));
        assert_eq!(of("10.0.0.1").with_bits(33), None);
        assert_eq!(of("10.0.0.1/8").with_bits(-1).map(text).as_deref(), Some("10.0.0.1"));
    }
}
