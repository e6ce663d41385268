use proptest::prelude::*;

use super::*;
use crate::twin::{Twin, text};
use crate::{Ran, Reply};

/// What redis-server 7.0.15 gave for DUMP: what it is, the payload, a command about `k` and its reply.
const FROM_REDIS: &[(&str, &str, &str, &str)] = &[
    ("a string", "000568656c6c6f0a006372df766534200a", "GET k", "\"hello\""),
    ("an integer of 8 bits", "00c0f90a005e26d130d7a242ab", "GET k", "\"-7\""),
    ("an integer of 16 bits", "00c1e8030a0089d1478ebac4b764", "GET k", "\"1000\""),
    ("an integer of 32 bits", "00c26079feff0a00a1ca8470cc216d9d", "GET k", "\"-100000\""),
    ("a compressed string", "00c30b40c80361626361e0b9020161620a00144dbdd96b522749", "STRLEN k", "200"),
    (
        "a list in listpacks",
        "1201021616000000040081610282626203dffd02f2e0930404ff0a0078a03b6bb5466400",
        "SORT k ALPHA",
        "[\"-3\", \"300000\", \"a\", \"bb\"]",
    ),
    (
        "a list in several listpacks",
        "1202020b0b000000020001010201ff02090900000001000301ff0a00215911c477bc6b89",
        "SORT k ALPHA BY x",
        "[\"1\", \"2\", \"3\"]",
    ),
    (
        "a set of integers",
        "0b140400000003000000ffffffff05000000701101000a00efdab8fb74444e88",
        "SORT k",
        "[\"-1\", \"5\", \"70000\"]",
    ),
    ("a set", "02020178c0010a0016faac4f543ce1e9", "SORT k ALPHA", "[\"1\", \"x\"]"),
    (
        "a small sorted set",
        "1114140000000400816102010181620283322e3504ff0a00d44c6ea4f644d9d7",
        "ZRANGE k 0 -1 WITHSCORES",
        "<\"a\": ,1, \"b\": ,2.5>",
    ),
    (
        "a sorted set",
        "05020161000000000000f03f0162000000000000f0ff0a0056182c65cb5b9381",
        "ZRANGE k 0 -1 WITHSCORES",
        "<\"b\": ,-inf, \"a\": ,1>",
    ),
    ("a small hash", "1012120000000400816602817602816e020501ff0a008490939f57b4f3c2", "TYPE k", "hash"),
    ("a hash", "040201660176016ec0050a0075cf1024b38fa82f", "TYPE k", "hash"),
    (
        "a stream",
        "13011000000000000000010000000000000001c3393e073e00000018000201400007816602000102010020010381760204201200002003000240170981770281670281780208200f401740200101ff0202010101010203010167010181ffffffffffffffff010000000000000001000000000000000132c699fda10100000101016332c699fda101000001000000000000000100000000000000010a006555b12722d4d344",
        "XPENDING k g",
        "[1, \"1-1\", \"1-1\", [[\"c\", \"1\"]]]",
    ),
];

fn restore_into(twin: &mut Twin, payload: &[u8]) -> String {
    match twin.run(&[&b"RESTORE"[..], b"k", b"0", payload, b"REPLACE"]) {
        Ran::Reply(reply) => text(&reply),
        Ran::Block(_) => "(waits)".to_owned(),
    }
}

fn dump_of(twin: &mut Twin) -> Vec<u8> {
    match twin.run(&["DUMP", "k"]) {
        Ran::Reply(Reply::Bulk(payload)) => payload.to_vec(),
        other => panic!("{other:?}"),
    }
}

/// The payloads that Redis gave.
pub(crate) fn payloads() -> Vec<Vec<u8>> {
    FROM_REDIS.iter().map(|(_, payload, ..)| hex::decode(payload).unwrap()).collect()
}

/// A payload with a right footer.
pub(crate) fn sealed(body: &[u8]) -> Vec<u8> {
    let mut payload = [body, &VERSION.to_le_bytes()].concat();
    payload.extend_from_slice(&crc::crc64(&payload).to_le_bytes());
    payload
}

#[test]
fn payloads_of_redis_are_taken_and_given_back() {
    for (name, payload, command, want) in FROM_REDIS {
        let mut twin = Twin::new();
        assert_eq!(restore_into(&mut twin, &hex::decode(payload).unwrap()), "OK", "{name}");
        assert_eq!(twin.line(command), *want, "{name}");
        let again = dump_of(&mut twin);
        assert_eq!(restore_into(&mut twin, &again), "OK", "{name}");
        assert_eq!(twin.line(command), *want, "{name}");
        assert_eq!(dump_of(&mut twin), again, "{name}");
    }
}

#[test]
fn short_strings_have_the_bytes_of_redis() {
    for (name, payload, ..) in &FROM_REDIS[..4] {
        let mut twin = Twin::new();
        restore_into(&mut twin, &hex::decode(payload).unwrap());
        assert_eq!(hex::encode(dump_of(&mut twin)), *payload, "{name}");
    }
}

/// A ziplist of parts that are heads with their data.
fn ziplist(parts: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut before = 0;
    for part in parts {
        out.push(before as u8);
        out.extend_from_slice(part);
        before = part.len() + 1;
    }
    let total = (out.len() + 11) as u32;
    [&total.to_le_bytes()[..], &[0; 4], &(parts.len() as u16).to_le_bytes(), &out, &[0xff]].concat()
}

fn framed(kind: u8, bytes: &[u8]) -> Vec<u8> {
    let mut body = vec![kind];
    output::number(bytes.len() as u64, &mut body);
    body.extend_from_slice(bytes);
    sealed(&body)
}

#[test]
fn forms_of_other_versions_are_taken() {
    let check = |payload: Vec<u8>, command: &str, want: &str| {
        let mut twin = Twin::new();
        assert_eq!(restore_into(&mut twin, &payload), "OK", "{command}");
        assert_eq!(twin.line(command), want);
    };
    let list =
        ziplist(&[b"\x01a", b"\xfe\x80", b"\xc0\xff\x7f", b"\xf0\x00\x00\x80", b"\xfd", b"\xd0\x00\x00\x00\x80"]);
    let elements = "[\"a\", \"-128\", \"32767\", \"-8388608\", \"12\", \"-2147483648\"]";
    check(framed(kind::LIST_ZIPLIST, &list), "SORT k BY nosort", elements);
    let mut node = vec![kind::LIST_QUICKLIST, 1];
    node.push(list.len() as u8);
    node.extend_from_slice(&list);
    check(sealed(&node), "SORT k BY nosort", elements);
    let pairs = ziplist(&[b"\x01a", b"\xf2", b"\x01b", b"\x032.5"]);
    check(framed(kind::ZSET_ZIPLIST, &pairs), "ZRANGE k 0 -1 WITHSCORES", "<\"a\": ,1, \"b\": ,2.5>");
    check(sealed(b"\x03\x02\x01a\x031.5\x01b\xff"), "ZRANGE k 0 -1 WITHSCORES", "<\"b\": ,-inf, \"a\": ,1.5>");
    let mut pack = listpack::Builder::new();
    for member in ["x", "y"] {
        pack.string(member.as_bytes());
    }
    pack.integer(-4_000);
    check(framed(kind::SET_LISTPACK, &pack.finish()), "SORT k ALPHA", "[\"-4000\", \"x\", \"y\"]");
    check(sealed(b"\x00\x0e0123456789abcd"), "GET k", "\"0123456789abcd\"");
}

#[test]
fn fields_keep_their_ends() {
    let state = crate::State::default();
    let now = 1_704_067_200_000;
    let mut pack = listpack::Builder::new();
    for (name, end) in [("a", now + 5_000), ("b", 0), ("over", now - 1)] {
        pack.string(name.as_bytes());
        pack.string(b"value");
        pack.integer(end);
    }
    let pack = pack.finish();
    let mut body = vec![kind::HASH_LISTPACK_EX];
    body.extend_from_slice(&(now - 1).to_le_bytes());
    output::string(&pack, &mut body);
    let check = |payload: &[u8]| {
        let Ok(Value::Hash(hash)) = restore(payload, &state, now) else { panic!("{payload:?}") };
        let fields: Vec<_> = hash.iter().map(|field| (field.name.to_vec(), field.value.to_vec(), field.end)).collect();
        let value = b"value".to_vec();
        assert_eq!(fields, [(b"a".to_vec(), value.clone(), Some(now + 5_000)), (b"b".to_vec(), value, None)]);
        Value::Hash(hash)
    };
    let value = check(&sealed(&body));
    check(&dump(&value, now).unwrap());
}

#[test]
fn what_is_no_payload_is_refused() {
    let mut twin = Twin::new();
    let bad =
        |twin: &mut Twin, body: &[u8]| assert_eq!(restore_into(twin, &sealed(body)), "(error) ERR Bad data format");
    // An empty object, bytes behind the value, a count of more than there is, twice the same member, a type of modules.
    for body in [&b"\x01\x00"[..], b"\x00\x01ab", b"\x02\x05\x01a", b"\x02\x02\x01a\x01a", b"\x07\x00", b""] {
        bad(&mut twin, body);
    }
    bad(&mut twin, b"\x05\x01\x01a\x00\x00\x00\x00\x00\x00\xf8\x7f");
    // A length of 2^63, compressed strings that come to more than they may.
    bad(&mut twin, b"\x00\x81\x80\x00\x00\x00\x00\x00\x00\x00");
    bad(&mut twin, b"\x00\xc3\x02\x80\x7f\xff\xff\xff\x00a");
    bad(&mut twin, b"\x00\xc3\x03\x05\x20\x00\x00");
    for payload in [&b""[..], b"foo", b"\x00\x01a\x0d\x00\x00\x00\x00\x00\x00\x00\x00\x00"] {
        assert_eq!(restore_into(&mut twin, payload), "(error) ERR DUMP payload version or checksum are wrong");
    }
}

proptest! {
    #[test]
    fn garbage_is_refused_or_read(
        which in 0..FROM_REDIS.len(),
        places in prop::collection::vec((any::<usize>(), any::<u8>()), 0..6),
        cut in any::<usize>(),
    ) {
        let mut body = hex::decode(FROM_REDIS[which].1).unwrap();
        body.truncate(body.len() - FOOTER_BYTES);
        let length = body.len();
        for (at, byte) in places {
            body[at % length] = byte;
        }
        if cut % 4 == 0 {
            body.truncate(cut % (length + 1));
        }
        let state = crate::State::default();
        if let Ok(value) = restore(&sealed(&body), &state, 1) {
            let again = dump(&value, 1).unwrap();
            prop_assert!(restore(&again, &state, 1).is_ok());
        }
    }

    #[test]
    fn any_bytes_are_refused_or_read(body in prop::collection::vec(any::<u8>(), 0..64), kind in 0_u8..26) {
        let body = [&[kind][..], &body].concat();
        let _ = restore(&sealed(&body), &crate::State::default(), 1);
    }
}

#[test]
fn a_payload_that_unpacks_to_more_than_memory_is_refused() {
    // A zero, and copies of it, 264 at a time.
    let payload = |copies: usize| {
        let mut packed = vec![0, 0];
        (0..copies).for_each(|_| packed.extend([0xe0, 0xff, 0]));
        let mut payload = vec![kind::STRING, 0xc3];
        for length in [packed.len(), 1 + 264 * copies] {
            payload.push(0x80);
            payload.extend(u32::try_from(length).unwrap().to_be_bytes());
        }
        payload.extend(packed);
        payload.extend(10_u16.to_le_bytes());
        let checksum = crc::crc64(&payload);
        payload.extend(checksum.to_le_bytes());
        payload
    };
    let mut twin = Twin::new();
    assert_eq!(restore_into(&mut twin, &payload(10)), "OK");
    twin.check("STRLEN k => 2641");
    assert_eq!(restore_into(&mut twin, &payload((1 << 30) / 264 + 1)), "(error) ERR Bad data format");
}
