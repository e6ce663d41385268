//! A block: some hundred samples, times and values compressed apart.

use bytes::Bytes;
use pco::ChunkConfig;
use pco::standalone::{simple_compress, simple_decompress_into};
use perigee_types::row::{get_bytes, get_varint, put_bytes, put_varint};

use super::Sample;

/// More samples than any block has.
const SAMPLES_MAX: u64 = 4_096;

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Block {
    /// The time of its first sample.
    pub(super) first: i64,
    /// The time of its last one.
    pub(super) last: i64,
    count: u32,
    times: Bytes,
    values: Bytes,
}

impl Block {
    /// From samples in order; at least one.
    pub(super) fn new(samples: &[Sample], is_compressed: bool) -> Self {
        let times: Vec<i64> = samples.iter().map(|sample| sample.time).collect();
        let values: Vec<f64> = samples.iter().map(|sample| sample.value).collect();
        let config = is_compressed.then(ChunkConfig::default);
        let packed = config.as_ref().and_then(|config| simple_compress(&times, config).ok());
        let times = smaller(packed, times.iter().map(|time| *time as u64));
        let packed = config.as_ref().and_then(|config| simple_compress(&values, config).ok());
        let values = smaller(packed, values.iter().map(|value| value.to_bits()));
        Self {
            first: samples.first().map_or(0, |sample| sample.time),
            last: samples.last().map_or(0, |sample| sample.time),
            count: samples.len() as u32,
            times: times.into(),
            values: values.into(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.count as usize
    }

    pub(super) fn bytes(&self) -> usize {
        self.times.len() + self.values.len()
    }

    /// Its samples; none where it is damaged, which the LSM's checksums find first.
    pub(super) fn decode(&self) -> Vec<Sample> {
        let (mut times, mut values) = (vec![0_i64; self.len()], vec![0_f64; self.len()]);
        if self.times.len() == self.len() * 8 {
            numbers(&self.times).zip(&mut times).for_each(|(number, time)| *time = number as i64);
        } else if !simple_decompress_into(&self.times, &mut times).is_ok_and(|done| done.n_processed == self.len()) {
            return Vec::new();
        }
        if self.values.len() == self.len() * 8 {
            numbers(&self.values).zip(&mut values).for_each(|(number, value)| *value = f64::from_bits(number));
        } else if !simple_decompress_into(&self.values, &mut values).is_ok_and(|done| done.n_processed == self.len()) {
            return Vec::new();
        }
        times.into_iter().zip(values).map(|(time, value)| Sample { time, value }).collect()
    }

    /// samples | first | last - first | times | values
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        put_varint(u64::from(self.count), out);
        put_varint(self.first as u64, out);
        put_varint((self.last - self.first) as u64, out);
        put_bytes(&self.times, out);
        put_bytes(&self.values, out);
    }

    pub(super) fn decode_from(rest: &mut &[u8]) -> Option<Self> {
        let count = get_varint(rest).ok().filter(|count| (1..=SAMPLES_MAX).contains(count))?;
        let first = i64::try_from(get_varint(rest).ok()?).ok()?;
        let last = first.checked_add(i64::try_from(get_varint(rest).ok()?).ok()?)?;
        let times = Bytes::copy_from_slice(get_bytes(rest).ok()?);
        let values = Bytes::copy_from_slice(get_bytes(rest).ok()?);
        Some(Self { first, last, count: count as u32, times, values })
    }
}

/// The compressed form where it is shorter, or eight bytes for each number: so the length tells which it is.
fn smaller(compressed: Option<Vec<u8>>, numbers: impl ExactSizeIterator<Item = u64>) -> Vec<u8> {
    let plain = numbers.len() * 8;
    compressed.filter(|bytes| bytes.len() < plain).unwrap_or_else(|| numbers.flat_map(u64::to_le_bytes).collect())
}

fn numbers(bytes: &[u8]) -> impl Iterator<Item = u64> {
    bytes.as_chunks::<8>().0.iter().map(|chunk| u64::from_le_bytes(*chunk))
}
