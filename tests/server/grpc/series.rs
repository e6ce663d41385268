//! Series.

use std::time::Duration;

use perigee_api::v1;
use perigee_api::v1::value::Kind;
use perigee_testkit::resp::Connection;
use perigee_tests::grpc::{Grpc, told};
use perigee_tests::options;
use tonic::Code;

/// What a client streams counts as long as what it has proved itself with.
#[tokio::test]
async fn a_stream_of_samples_ends_with_the_key_that_has_opened_it() {
    let server = options()
        .with_grpc()
        .env("PERIGEE_SECURITY__AUTHENTICATION", "scram-sha-256")
        .env("PERIGEE_ADMIN_TOKEN", "an-admin-token-of-tests")
        .start()
        .unwrap();
    let owner = Grpc::at(&server, Some("Bearer an-admin-token-of-tests".to_owned())).await;
    let made = owner.rows("CALL perigee.create_api_key('postgres')").await.remove(0);
    let words: Vec<String> = made
        .into_iter()
        .filter_map(|value| match value {
            Some(Kind::Text(text)) => Some(text),
            _ => None,
        })
        .collect();
    let (id, key) = (words.first().unwrap(), words.last().unwrap());
    let client = Grpc::at(&server, Some(format!("Bearer {key}"))).await;
    let (messages, waiting) = tokio::sync::mpsc::channel(1);
    let stream = futures::stream::unfold(waiting, |mut waiting| async move {
        let ts_ms: i64 = waiting.recv().await?;
        let samples = vec![v1::SeriesSample { key: "s".to_owned(), ts_ms, value: 1.0 }];
        Some((v1::AddRequest { samples, ..v1::AddRequest::default() }, waiting))
    });
    let mut series = client.series.clone();
    let request = client.request(stream);
    let added = tokio::spawn(async move { series.add(request).await });
    messages.send(1).await.unwrap();
    let count = || async { owner.rows("SELECT count(*) FROM redis.samples").await.remove(0).remove(0) };
    while count().await != Some(Kind::Integer(1)) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    owner.run(&format!("CALL perigee.revoke_api_key('{id}')")).await;
    messages.send(2).await.unwrap();
    let (code, state) = told(added.await.unwrap().map(drop));
    assert_eq!((code, state.as_str()), (Code::Unauthenticated, "28000"));
    assert_eq!(count().await, Some(Kind::Integer(1)));
}

#[tokio::test]
async fn samples_are_added_in_streams_and_read_by_key_and_by_labels() {
    let server = options().with_grpc().with_redis().start().unwrap();
    let client = Grpc::open(&server).await;
    let mut redis = Connection::open(server.redis(), Duration::from_secs(60)).unwrap();
    for (key, room) in [("s:1", "kitchen"), ("s:2", "kitchen"), ("s:3", "hall")] {
        assert!(redis.ask(&["TS.CREATE", key, "LABELS", "room", room, "kind", "heat"]).to_string().contains("OK"));
    }
    let sample = |key: &str, ts_ms: i64, value: f64| v1::SeriesSample { key: key.to_owned(), ts_ms, value };
    let messages = |from: i64| {
        (from..from + 3).map(move |n| v1::AddRequest {
            samples: ["s:1", "s:2", "s:3", "s:new"].map(|key| sample(key, n * 1_000, n as f64)).into(),
            ..v1::AddRequest::default()
        })
    };
    let add = |messages: Vec<v1::AddRequest>| {
        let mut series = client.series.clone();
        async move { series.add(futures::stream::iter(messages)).await.map(|done| done.into_inner().added) }
    };
    assert_eq!(add(messages(0).chain(messages(3)).collect()).await.unwrap(), 24);
    // What is sent again changes nothing.
    assert_eq!(add(messages(0).collect()).await.unwrap(), 12);
    let window = |from_ms, to_ms, aggregate: v1::Aggregate, bucket_ms| {
        Some(v1::Window { from_ms, to_ms, aggregate: aggregate.into(), bucket_ms })
    };
    let range = |key: &str, window, limit| {
        let request = v1::RangeRequest { key: key.to_owned(), window, limit, ..v1::RangeRequest::default() };
        let mut series = client.series.clone();
        async move {
            let mut stream = series.range(request).await?.into_inner();
            let mut found = Vec::new();
            while let Some(message) = stream.message().await? {
                found.extend(message.samples.into_iter().map(|sample| (sample.ts_ms, sample.value)));
            }
            Ok::<_, tonic::Status>(found)
        }
    };
    let whole: Vec<_> = (0..6).map(|n| (n * 1_000, n as f64)).collect();
    assert_eq!(range("s:new", None, 0).await.unwrap(), whole);
    let part = window(Some(1_000), Some(3_000), v1::Aggregate::None, 0);
    assert_eq!(range("s:1", part, 2).await.unwrap(), whole[1..3]);
    let sums = window(None, None, v1::Aggregate::Sum, 2_000);
    assert_eq!(range("s:1", sums, 0).await.unwrap(), [(0, 1.0), (2_000, 5.0), (4_000, 9.0)]);
    let half = window(None, None, v1::Aggregate::Sum, 0);
    assert_eq!(range("s:1", half, 0).await.unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(range("nothing", None, 0).await.unwrap(), []);

    let labelled = |labels: &[(&str, &str)], window| {
        let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let request = v1::QuerySeriesRequest { labels, window, ..v1::QuerySeriesRequest::default() };
        let mut series = client.series.clone();
        async move {
            let mut stream = series.query_series(request).await?.into_inner();
            let mut found = Vec::new();
            while let Some(message) = stream.message().await? {
                let samples = message.samples.into_iter().map(|sample| (sample.ts_ms, sample.value));
                found.push((message.key, samples.collect::<Vec<_>>()));
            }
            Ok::<_, tonic::Status>(found)
        }
    };
    let found = labelled(&[("room", "kitchen"), ("kind", "heat")], None).await.unwrap();
    assert_eq!(found, [("s:1".to_owned(), whole.clone()), ("s:2".to_owned(), whole)]);
    let most = window(None, None, v1::Aggregate::Max, 3_000);
    assert_eq!(labelled(&[("room", "hall")], most).await.unwrap(), [("s:3".into(), vec![(0, 2.0), (3_000, 5.0)])]);
    assert_eq!(labelled(&[("room", "attic")], None).await.unwrap(), []);
    assert_eq!(labelled(&[("o'clock", "'")], None).await.unwrap(), []);
    assert_eq!(labelled(&[], None).await.unwrap_err().code(), Code::InvalidArgument);
}
