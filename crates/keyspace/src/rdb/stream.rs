//! Streams.
//!
//! ```text
//! stream    nodes: each its first id (16 bytes, big ends first) and a listpack | entries | last id
//!           from 7.0: first id | largest deleted id | entries ever added
//!           groups: name | last id | from 7.0: entries read | pending: id, time, count
//!                   | consumers: name | seen | from 7.2: active | ids of what they have
//! listpack  there | deleted | fields: n | names | 0
//!           entries: flags | distance of ms | distance of seq | (n | names and values) or values | elements to go back
//! ```

use super::input::Input;
use super::kind;
use super::listpack::{Builder, Listpack};
use super::output::{number, string};
use crate::State;
use crate::object::Stream;
use crate::object::stream::{BlockLimits, Group, Id};

const DELETED: i64 = 1;
const SAME_FIELDS: i64 = 2;
/// Entries and bytes of a node that is written.
const NODE_ENTRIES_MAX: usize = 100;
const NODE_BYTES_MAX: usize = 4_096;
/// Bytes that entries may come to, whatever they take in the payload.
const EXPANDED_BYTES_MAX: usize = 64 << 20;
const EXPANDED_RATIO_MAX: usize = 16;

fn read_id(input: &mut Input<'_>) -> Option<Id> {
    Some(Id { ms: input.number()?, seq: input.number()? })
}

fn read_raw_id(bytes: &[u8]) -> Option<Id> {
    let mut input = Input::new(bytes);
    let id = Id { ms: u64::from_be_bytes(input.array()?), seq: u64::from_be_bytes(input.array()?) };
    input.is_empty().then_some(id)
}

pub(super) fn read(input: &mut Input<'_>, kind: u8, state: &State) -> Option<Stream> {
    let limits = BlockLimits {
        entries: state.settings.number("stream-node-max-entries", 100),
        bytes: state.settings.number("stream-node-max-bytes", 4_096),
    };
    let mut stream = Stream::default();
    let mut room = EXPANDED_BYTES_MAX.max(input.0.len().saturating_mul(EXPANDED_RATIO_MAX));
    for _ in 0..input.count()? {
        let first = read_raw_id(&input.string()?)?;
        read_node(first, &input.string()?, limits, &mut stream, &mut room)?;
    }
    let count = input.number()?;
    if count != stream.count() {
        return None;
    }
    let last = read_id(input)?;
    if last < stream.last {
        return None;
    }
    stream.last = last;
    (stream.added, stream.max_deleted) = (count, Id::MIN);
    if kind >= kind::STREAM_2 {
        read_id(input)?;
        stream.max_deleted = read_id(input)?;
        stream.added = input.number()?;
    }
    for _ in 0..input.count()? {
        let name = input.string()?;
        let group = read_group(input, kind, &stream)?;
        if stream.group(&name).is_some() {
            return None;
        }
        stream.put_group(&name, group);
    }
    Some(stream)
}

/// `room` is for the bytes of all entries: many may share names that are written once.
fn read_node(first: Id, bytes: &[u8], limits: BlockLimits, stream: &mut Stream, room: &mut usize) -> Option<()> {
    let mut pack = Listpack::new(bytes)?;
    let count = pack.integer()?.checked_add(pack.integer()?)?;
    let mut names = Vec::new();
    for _ in 0..pack.integer()? {
        names.push(pack.must()?.text());
    }
    pack.integer()?;
    for _ in 0..count {
        let flags = pack.integer()?;
        let id = Id {
            ms: first.ms.wrapping_add(pack.integer()?.cast_unsigned()),
            seq: first.seq.wrapping_add(pack.integer()?.cast_unsigned()),
        };
        let mut fields = Vec::new();
        if flags & SAME_FIELDS != 0 {
            for name in &names {
                fields.extend([name.clone(), pack.must()?.text()]);
            }
        } else {
            for _ in 0..pack.integer()? {
                fields.extend([pack.must()?.text(), pack.must()?.text()]);
            }
        }
        pack.integer()?;
        *room = room.checked_sub(fields.iter().map(|part| part.len()).sum())?;
        if flags & DELETED == 0 {
            if id <= stream.last || fields.is_empty() {
                return None;
            }
            stream.push(id, &fields, limits);
        }
    }
    pack.next().is_none().then_some(())
}

fn read_group(input: &mut Input<'_>, kind: u8, stream: &Stream) -> Option<Group> {
    let last = read_id(input)?;
    let read = match kind {
        kind::STREAM => stream.count_to(last),
        // All ones say that nobody knows.
        _ => Some(input.number()?).filter(|read| *read != u64::MAX),
    };
    let mut group = Group::new(last, read);
    let mut pending = std::collections::BTreeMap::new();
    for _ in 0..input.count()? {
        let id = read_raw_id(input.take(16)?)?;
        let time = input.time()?;
        if pending.insert(id, (time, i64::try_from(input.number()?).ok()?)).is_some() {
            return None;
        }
    }
    for _ in 0..input.count()? {
        let name = input.string()?;
        let seen = input.time()?;
        let active = if kind >= kind::STREAM_3 { input.time()? } else { seen };
        if !group.see(&name, seen) {
            return None;
        }
        for _ in 0..input.count()? {
            let id = read_raw_id(input.take(16)?)?;
            let (time, count) = pending.remove(&id)?;
            group.give(id, &name, time, count, active);
        }
        if active >= 0 {
            group.be_active(&name, active);
        }
    }
    // What is pending is with somebody.
    pending.is_empty().then_some(group)
}

fn write_id(id: Id, out: &mut Vec<u8>) {
    number(id.ms, out);
    number(id.seq, out);
}

fn raw_id(id: Id) -> [u8; 16] {
    (u128::from(id.ms) << 64 | u128::from(id.seq)).to_be_bytes()
}

pub(super) fn write(stream: &Stream, out: &mut Vec<u8>) {
    let nodes = nodes(stream);
    number(nodes.len() as u64, out);
    for (first, pack) in nodes {
        string(&raw_id(first), out);
        string(&pack, out);
    }
    number(stream.count(), out);
    write_id(stream.last, out);
    write_id(stream.first(), out);
    write_id(stream.max_deleted, out);
    number(stream.added, out);
    number(stream.groups().len() as u64, out);
    for (name, group) in stream.groups() {
        string(name, out);
        write_group(group, out);
    }
}

/// Names with values.
type Fields<'a> = Vec<(&'a [u8], &'a [u8])>;

fn nodes(stream: &Stream) -> Vec<(Id, Vec<u8>)> {
    let entries: Vec<(Id, Fields<'_>)> =
        stream.range(Id::MIN, Id::MAX).map(|entry| (entry.id, entry.fields().collect())).collect();
    let mut nodes = Vec::new();
    let mut rest = entries.into_iter().peekable();
    while let Some((first, fields)) = rest.peek() {
        let first = *first;
        let names: Vec<&[u8]> = fields.iter().map(|(name, _)| *name).collect();
        // How many there are stands in front of them.
        let mut body: Vec<(Id, bool, Fields<'_>)> = Vec::new();
        let mut bytes = 0;
        while let Some((id, fields)) =
            rest.next_if(|_| body.is_empty() || (body.len() < NODE_ENTRIES_MAX && bytes < NODE_BYTES_MAX))
        {
            bytes += fields.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
            let same = fields.iter().map(|(name, _)| *name).eq(names.iter().copied());
            body.push((id, same, fields));
        }
        let mut pack = Builder::new();
        pack.integer(body.len() as i64);
        pack.integer(0);
        pack.integer(names.len() as i64);
        names.iter().for_each(|name| pack.string(name));
        pack.integer(0);
        for (id, same, fields) in body {
            pack.integer(if same { SAME_FIELDS } else { 0 });
            pack.integer(id.ms.wrapping_sub(first.ms).cast_signed());
            pack.integer(id.seq.wrapping_sub(first.seq).cast_signed());
            if !same {
                pack.integer(fields.len() as i64);
            }
            for (name, value) in &fields {
                if !same {
                    pack.string(name);
                }
                pack.string(value);
            }
            pack.integer(if same { fields.len() + 3 } else { 2 * fields.len() + 4 } as i64);
        }
        nodes.push((first, pack.finish()));
    }
    nodes
}

fn write_group(group: &Group, out: &mut Vec<u8>) {
    write_id(group.last, out);
    number(group.read.unwrap_or(u64::MAX), out);
    // What nobody has cannot be told.
    let pending = || group.pending().iter().filter(|(_, pending)| pending.consumer.is_some());
    number(pending().count() as u64, out);
    for (id, pending) in pending() {
        out.extend_from_slice(&raw_id(*id));
        out.extend_from_slice(&pending.time.to_le_bytes());
        number(pending.count.cast_unsigned(), out);
    }
    number(group.consumers().len() as u64, out);
    for (name, consumer) in group.consumers() {
        string(name, out);
        out.extend_from_slice(&consumer.seen.to_le_bytes());
        number(consumer.pending.len() as u64, out);
        consumer.pending.iter().for_each(|id| out.extend_from_slice(&raw_id(*id)));
    }
}
