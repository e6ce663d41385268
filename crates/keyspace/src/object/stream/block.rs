//! Entries packed together.
//!
//! ```text
//! entry   flags | ms - first.ms | seq (of the same ms: seq - first.seq) | bytes of the body | body
//! body    the values, when the names of the fields are those of the block's first entry (SAME)
//!         count, then each name and value, otherwise
//! ```
//! Numbers are varints, names and values stand behind their lengths.

use perigee_types::row::{get_bytes, get_varint, put_bytes, put_varint, take};

use super::Id;

const DELETED: u8 = 1;
const SAME: u8 = 2;

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Block {
    /// The id of the entry that it was made for; it may be deleted.
    pub(super) first: Id,
    /// The names of the fields of that entry.
    names: Box<[u8]>,
    bytes: Vec<u8>,
    /// Entries that are there.
    pub(super) live: u32,
    /// Entries that are marked as deleted.
    pub(super) deleted: u32,
}

/// An entry of a stream.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// Its id.
    pub id: Id,
    /// Names where they are kept apart.
    names: Option<&'a [u8]>,
    body: &'a [u8],
}

impl<'a> Entry<'a> {
    /// Its fields with their values, in order.
    pub fn fields(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        let (mut names, mut body) = (self.names, self.body);
        std::iter::from_fn(move || {
            let name = match &mut names {
                Some(names) => get_bytes(names).ok()?,
                None => get_bytes(&mut body).ok()?,
            };
            Some((name, get_bytes(&mut body).ok()?))
        })
    }
}

/// An entry with its place in the block.
pub(super) struct Placed<'a> {
    pub(super) at: usize,
    pub(super) is_deleted: bool,
    pub(super) entry: Entry<'a>,
}

impl Block {
    /// An empty block for an entry with these fields and values in turn.
    pub(super) fn new(first: Id, fields: &[impl AsRef<[u8]>]) -> Self {
        let mut names = Vec::new();
        fields.iter().step_by(2).for_each(|name| put_bytes(name.as_ref(), &mut names));
        Self { first, names: names.into(), bytes: Vec::new(), live: 0, deleted: 0 }
    }

    /// Bytes of its entries.
    pub(super) fn len(&self) -> usize {
        self.names.len() + self.bytes.len()
    }

    /// Bytes of memory, about.
    pub(super) fn memory(&self) -> usize {
        size_of::<Self>() + 48 + self.names.len() + self.bytes.len()
    }

    /// Whether another entry may come in.
    pub(super) fn has_room(&self, bytes: usize, entries_max: i64, bytes_max: i64) -> bool {
        let count = i64::from(self.live) + i64::from(self.deleted);
        let bytes_max = usize::try_from(bytes_max).ok().filter(|max| *max > 0).unwrap_or(1 << 30);
        self.len() + bytes < bytes_max && (entries_max <= 0 || count < entries_max)
    }

    /// Puts an entry behind all others.
    pub(super) fn push(&mut self, id: Id, fields: &[impl AsRef<[u8]>]) {
        let mut names = self.names.as_ref();
        let same = fields.iter().step_by(2).all(|name| get_bytes(&mut names).is_ok_and(|own| own == name.as_ref()))
            && names.is_empty();
        let mut body = Vec::new();
        for (n, part) in fields.iter().enumerate() {
            if !same || n % 2 == 1 {
                put_bytes(part.as_ref(), &mut body);
            }
        }
        self.put(id, if same { SAME } else { 0 }, &body);
        self.live += 1;
    }

    fn put(&mut self, id: Id, flags: u8, body: &[u8]) {
        let delta = id.ms - self.first.ms;
        self.bytes.push(flags);
        put_varint(delta, &mut self.bytes);
        put_varint(if delta == 0 { id.seq - self.first.seq } else { id.seq }, &mut self.bytes);
        put_bytes(body, &mut self.bytes);
    }

    /// All entries in order, also those that are deleted.
    pub(super) fn all(&self) -> impl Iterator<Item = Placed<'_>> {
        let mut rest = self.bytes.as_slice();
        std::iter::from_fn(move || {
            let at = self.bytes.len() - rest.len();
            let flags = *take(&mut rest, 1).ok()?.first()?;
            let delta = get_varint(&mut rest).ok()?;
            let seq = get_varint(&mut rest).ok()?;
            let seq = if delta == 0 { self.first.seq.checked_add(seq)? } else { seq };
            let id = Id { ms: self.first.ms.checked_add(delta)?, seq };
            let names = (flags & SAME != 0).then_some(&*self.names);
            let entry = Entry { id, names, body: get_bytes(&mut rest).ok()? };
            Some(Placed { at, is_deleted: flags & DELETED != 0, entry })
        })
    }

    /// The entries that are there, in order.
    pub(super) fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        self.all().filter(|placed| !placed.is_deleted).map(|placed| placed.entry)
    }

    /// Marks entries as deleted: as many as `choose` says yes to, from the first on.
    pub(super) fn mark(&mut self, mut choose: impl FnMut(Id, u32) -> bool) -> u32 {
        let mut places = Vec::new();
        for placed in self.all().filter(|placed| !placed.is_deleted) {
            if !choose(placed.entry.id, self.live - places.len() as u32) {
                break;
            }
            places.push(placed.at);
        }
        self.mark_places(&places)
    }

    /// Marks one entry as deleted; says whether it was there.
    pub(super) fn mark_one(&mut self, id: Id) -> bool {
        let place = self.all().find(|placed| placed.entry.id == id && !placed.is_deleted).map(|placed| placed.at);
        self.mark_places(place.as_slice()) > 0
    }

    fn mark_places(&mut self, places: &[usize]) -> u32 {
        for at in places {
            if let Some(flags) = self.bytes.get_mut(*at) {
                *flags |= DELETED;
            }
        }
        let count = places.len() as u32;
        self.live -= count;
        self.deleted += count;
        count
    }

    /// Drops the bytes of deleted entries. Not for the last block of a stream: it counts them to know when it is full.
    pub(super) fn compact(&mut self) {
        let mut bytes = Vec::new();
        let mut starts: Vec<(usize, bool)> = self.all().map(|placed| (placed.at, placed.is_deleted)).collect();
        starts.push((self.bytes.len(), true));
        for pair in starts.windows(2) {
            if let [(from, false), (to, _)] = pair {
                bytes.extend_from_slice(self.bytes.get(*from..*to).unwrap_or_default());
            }
        }
        self.bytes = bytes;
        self.deleted = 0;
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        put_varint(self.first.ms, out);
        put_varint(self.first.seq, out);
        put_bytes(&self.names, out);
        put_bytes(&self.bytes, out);
    }

    /// Reads what `encode` wrote, and checks every entry.
    pub(super) fn decode(bytes: &mut &[u8]) -> Option<Self> {
        let first = Id { ms: get_varint(bytes).ok()?, seq: get_varint(bytes).ok()? };
        let names: Box<[u8]> = get_bytes(bytes).ok()?.into();
        let packed = get_bytes(bytes).ok()?.to_vec();
        let mut block = Self { first, names, bytes: packed, live: 0, deleted: 0 };
        let count_of = |mut bytes: &[u8]| {
            let mut count = 0_usize;
            while !bytes.is_empty() {
                get_bytes(&mut bytes).ok()?;
                count += 1;
            }
            Some(count)
        };
        let names = count_of(&block.names)?;
        let (mut live, mut deleted, mut end, mut last) = (0, 0, 0, None);
        for placed in block.all() {
            let Entry { id, names: apart, body } = placed.entry;
            let parts = count_of(body)?;
            let fits = if apart.is_some() { parts == names } else { parts % 2 == 0 };
            if !fits || last.is_some_and(|last| last >= id) || id < first {
                return None;
            }
            last = Some(id);
            *(if placed.is_deleted { &mut deleted } else { &mut live }) += 1;
            // Where the entry ends: its body is a part of the block's bytes.
            end = (body.as_ptr() as usize + body.len()) - block.bytes.as_ptr() as usize;
        }
        if end != block.bytes.len() || live == 0 {
            return None;
        }
        (block.live, block.deleted) = (live, deleted);
        Some(block)
    }
}
