use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn all(series: &Series) -> Vec<Sample> {
    let mut found = Vec::new();
    series.visit(0, i64::MAX, false, |sample| {
        found.push(sample);
        true
    });
    found
}

fn filled(count: i64, value: impl Fn(i64) -> f64) -> Series {
    let mut series = Series::default();
    for n in 0..count {
        assert_eq!(
            series.add(Sample { time: 1_700_000_000_000 + n * 1_000, value: value(n) }, DuplicatePolicy::Block),
            Added::Last
        );
    }
    series
}

#[test]
fn samples_take_few_bytes() {
    let mut seed = 1_u64;
    let mut noise = move || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 40) as f64 / f64::from(1 << 24)
    };
    let noise: Vec<f64> = (0..100_000).map(|_| noise()).collect();
    type Walk<'a> = (&'a str, Box<dyn Fn(i64) -> f64 + 'a>);
    let walks: [Walk<'_>; 4] = [
        ("a counter", Box::new(|n| (n * 3) as f64)),
        (
            "tenths of degrees",
            Box::new(|n| (200.0 + 50.0 * (n as f64 / 3_600.0).sin() + 3.0 * noise[n as usize]).round() / 10.0),
        ),
        ("constant", Box::new(|_| 7.0)),
        ("noise", Box::new(|n| noise[n as usize])),
    ];
    for (name, value) in walks {
        let series = filled(100_000, value);
        let each = series.bytes as f64 / series.closed as f64;
        println!("{name}: {each:.2} bytes per sample in blocks, {:.2} in memory", series.memory() as f64 / 100_000.0);
        assert!(each < 8.5, "{name}: {each}");
        assert_eq!(all(&series).len(), 100_000);
    }
}

#[test]
fn a_block_is_decoded_only_when_read() {
    let mut series = filled(10_000, |n| n as f64);
    // Damaged blocks would give nothing.
    for block in &mut series.blocks {
        let ends = [block.first, block.last].map(|time| Sample { time, value: 0.0 });
        *block = Block::new(&ends, true);
    }
    let last = series.last().map(|sample| sample.value);
    assert_eq!(last, Some(9_999.0));
    assert_eq!(series.before(i64::MAX).map(|sample| sample.value), last);
}

#[test]
fn retention_forgets_blocks() {
    let mut series = Series::new(SeriesOptions { retention_ms: 1_000_000, ..SeriesOptions::default() });
    for n in 0..100_000 {
        series.add(Sample { time: n * 1_000, value: 1.0 }, DuplicatePolicy::Block);
    }
    assert_eq!(series.count(), 1_001);
    assert!(series.closed < 2_000, "{}", series.closed);
    assert_eq!(series.add(Sample { time: 0, value: 1.0 }, DuplicatePolicy::Last), Added::TooOld);
    assert_eq!(series.first().map(|sample| sample.time), Some(98_999_000));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn it_is_a_map_in_the_order_of_time(
        steps in prop::collection::vec((0..4_000_i64, -50..50_i32, 0..100_u8), 1..1_800),
    ) {
        let (mut series, mut model) = (Series::default(), BTreeMap::new());
        for (time, value, what) in steps {
            let value = f64::from(value);
            match what {
                0 => {
                    let to = time + 200;
                    let gone = model.range(time..=to).count();
                    model.retain(|at, _| !(time..=to).contains(at));
                    prop_assert_eq!(series.delete(time, to), gone);
                }
                1..=20 => {
                    series.add(Sample { time, value }, DuplicatePolicy::Max);
                    model.entry(time).and_modify(|old: &mut f64| *old = old.max(value)).or_insert(value);
                }
                _ => {
                    series.add(Sample { time, value }, DuplicatePolicy::Last);
                    model.insert(time, value);
                }
            }
        }
        let want: Vec<Sample> = model.iter().map(|(time, value)| Sample { time: *time, value: *value }).collect();
        prop_assert_eq!(all(&series), want.clone());
        prop_assert_eq!(series.count(), want.len());
        prop_assert_eq!(series.last(), want.last().copied());
        prop_assert_eq!(series.closed, series.blocks.iter().map(Block::len).sum::<usize>());
        let mut back = Vec::new();
        series.visit(1_000, 3_000, true, |sample| { back.push(sample); true });
        back.reverse();
        prop_assert!(back.iter().eq(want.iter().filter(|sample| (1_000..=3_000).contains(&sample.time))));
        let mut bytes = Vec::new();
        series.encode(&mut bytes);
        let Some(again) = Series::decode(&bytes) else { panic!("decode") };
        prop_assert_eq!(all(&again), want);
        prop_assert_eq!(again.memory(), series.memory());
        let mut twice = Vec::new();
        again.encode(&mut twice);
        prop_assert_eq!(bytes, twice);
    }

    #[test]
    fn garbage_is_refused_or_read(bytes in prop::collection::vec(any::<u8>(), 0..300), cut in 0..2_000_usize, at in 0..2_000_usize) {
        if let Some(series) = Series::decode(&bytes) {
            all(&series);
        }
        // What is nearly right, too.
        let mut bytes = Vec::new();
        filled(700, |n| n as f64).encode(&mut bytes);
        let at = at % bytes.len();
        bytes[at] ^= 1 << (cut % 8);
        bytes.truncate(bytes.len() - if cut % 3 == 0 { cut % bytes.len() } else { 0 });
        if let Some(mut series) = Series::decode(&bytes) {
            let count = all(&series).len();
            prop_assert!(count <= 4_096);
            let (_, _) = (series.count(), series.delete(0, i64::MAX));
        }
    }
}
