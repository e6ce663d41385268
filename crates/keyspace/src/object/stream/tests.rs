use proptest::prelude::*;

use super::*;

const LIMITS: BlockLimits = BlockLimits { entries: 7, bytes: 200 };

/// One change of a stream.
#[derive(Clone, Debug)]
enum Change {
    Push(u64, Vec<u8>, bool),
    Delete(u64),
    Trim(u64, bool),
    TrimTo(u64, bool),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        8 => (1..4_u64, any::<Vec<u8>>(), any::<bool>()).prop_map(|(step, value, same)| Change::Push(step, value, same)),
        4 => (0..60_u64).prop_map(Change::Delete),
        1 => (0..30_u64, any::<bool>()).prop_map(|(max, approximately)| Change::Trim(max, approximately)),
        1 => (0..60_u64, any::<bool>()).prop_map(|(id, approximately)| Change::TrimTo(id, approximately)),
    ]
}

fn id(ms: u64) -> Id {
    Id { ms, seq: ms % 3 }
}

fn ids(stream: &Stream) -> Vec<Id> {
    stream.range(Id::MIN, Id::MAX).map(|entry| entry.id).collect()
}

proptest! {
    /// A sorted map does the same.
    #[test]
    fn a_stream_is_a_sorted_map(changes in proptest::collection::vec(change(), 0..120)) {
        let (mut stream, mut model, mut last) = (Stream::default(), BTreeMap::new(), 0);
        for change in changes {
            match change {
                Change::Push(step, value, same) => {
                    last += step;
                    let name: &[u8] = if same { b"name" } else { &value };
                    stream.push(id(last), &[name, &value], LIMITS);
                    model.insert(id(last), (name.to_vec(), value.clone()));
                }
                Change::Delete(ms) => {
                    prop_assert_eq!(stream.delete(id(ms)), model.remove(&id(ms)).is_some());
                }
                Change::Trim(max, approximately) => {
                    let removed = stream.trim(&Trim { keep: Keep::Count(max), approximately, limit: 0 });
                    for _ in 0..removed {
                        model.pop_first();
                    }
                    prop_assert!(approximately || model.len() as u64 <= max);
                }
                Change::TrimTo(ms, approximately) => {
                    let removed = stream.trim(&Trim { keep: Keep::From(id(ms)), approximately, limit: 0 });
                    for _ in 0..removed {
                        model.pop_first();
                    }
                    prop_assert!(approximately || model.range(..id(ms)).next().is_none());
                }
            }
            prop_assert_eq!(stream.count(), model.len() as u64);
            prop_assert_eq!(stream.first(), model.keys().next().copied().unwrap_or(Id::MIN));
        }
        prop_assert_eq!(ids(&stream), model.keys().copied().collect::<Vec<_>>());
        for (id, (name, value)) in &model {
            let entry = stream.get(*id).map(|entry| entry.fields().collect::<Vec<_>>());
            prop_assert_eq!(entry, Some(vec![(name.as_slice(), value.as_slice())]));
        }
        for from in 0..10 {
            let (from, to) = (id(from), id(from + 15));
            let want: Vec<Id> = model.range(from..=to).map(|(id, _)| *id).collect();
            prop_assert_eq!(stream.range(from, to).map(|entry| entry.id).collect::<Vec<_>>(), want.clone());
            let back: Vec<Id> = stream.backwards(from, to).map(|entry| entry.id).collect();
            prop_assert_eq!(back, want.into_iter().rev().collect::<Vec<_>>());
        }
        let mut group = Group::new(id(3), Some(2));
        for (n, id) in model.keys().enumerate() {
            group.see(if n % 2 == 0 { b"a" } else { b"b" }, 5);
            group.give(*id, if n % 2 == 0 { b"a" } else { b"b" }, 7, 1, 8);
            if n % 3 == 0 {
                group.release(*id, 2);
            }
        }
        stream.put_group(b"g", group.clone());
        let mut bytes = Vec::new();
        stream.encode(&mut bytes);
        let back = Stream::decode(&bytes).ok_or_else(|| TestCaseError::fail("not read back"))?;
        prop_assert_eq!(ids(&back), ids(&stream));
        prop_assert_eq!(back.group(b"g"), Some(&group));
        prop_assert_eq!((back.first(), back.last, back.added), (stream.first(), stream.last, stream.added));
        prop_assert_eq!(back.memory(), stream.memory());
        let mut again = Vec::new();
        back.encode(&mut again);
        prop_assert_eq!(again, bytes);
    }

    /// Whatever the bytes are, reading them ends.
    #[test]
    fn garbage_is_refused(bytes: Vec<u8>, cut in 0..200_usize, flip in 0..200_usize) {
        let _ = Stream::decode(&bytes);
        let mut stream = Stream::default();
        (1..20).for_each(|ms| stream.push(id(ms), &[b"a", b"b"], LIMITS));
        stream.put_group(b"g", Group::new(id(3), None));
        let mut bytes = Vec::new();
        stream.encode(&mut bytes);
        let _ = Stream::decode(bytes.get(..cut).unwrap_or_default());
        if let Some(byte) = bytes.get_mut(flip) {
            *byte ^= 0x5a;
        }
        if let Some(stream) = Stream::decode(&bytes) {
            let _ = (ids(&stream), stream.backwards(Id::MIN, Id::MAX).count());
        }
    }
}
