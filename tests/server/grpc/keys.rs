//! Keys.

use std::time::Duration;

use perigee_api::v1;
use perigee_api::v1::{SetCondition, entry, set_request};
use perigee_testkit::resp::Connection;
use perigee_tests::grpc::{Grpc, told};
use perigee_tests::options;
use tonic::Code;

fn items(items: &[&str]) -> v1::Items {
    v1::Items { items: items.iter().map(|item| (*item).to_owned()).collect() }
}

#[tokio::test]
async fn keys_of_all_kinds_are_those_of_the_redis_door() {
    let server = options().with_grpc().with_redis().start().unwrap();
    let client = Grpc::open(&server).await;
    let mut redis = Connection::open(server.redis(), Duration::from_secs(60)).unwrap();
    let set = |key: &str, value: set_request::Value, ttl_ms: u32, condition: SetCondition| {
        let key = key.to_owned();
        let request =
            v1::SetRequest { key, value: Some(value), ttl_ms, condition: condition.into(), ..Default::default() };
        let mut keys = client.keys.clone();
        async move { keys.set(request).await.map(|done| done.into_inner().set) }
    };
    let get = |key: &str| {
        let request = v1::GetRequest { key: key.to_owned(), ..v1::GetRequest::default() };
        let mut keys = client.keys.clone();
        async move { keys.get(request).await.map(|found| found.into_inner().entry.unwrap()) }
    };
    let (member, fields) = (v1::Member { member: "m".into(), score: 1.5 }, [("f".into(), "v".into())].into());
    let cases = [
        ("a:text", "string", set_request::Value::Text("x".into()), entry::Value::Text("x".into())),
        (
            "a:list",
            "list",
            set_request::Value::List(items(&["b", "a", "b"])),
            entry::Value::List(items(&["b", "a", "b"])),
        ),
        ("a:set", "set", set_request::Value::Set(items(&["b", "a", "b"])), entry::Value::Set(items(&["a", "b"]))),
        (
            "a:hash",
            "hash",
            set_request::Value::Hash(v1::Hash { fields }),
            entry::Value::Hash(v1::Hash { fields: [("f".into(), "v".into())].into() }),
        ),
        (
            "a:zset",
            "zset",
            set_request::Value::Zset(v1::SortedSet { members: vec![member.clone()] }),
            entry::Value::Zset(v1::SortedSet { members: vec![member] }),
        ),
    ];
    for (key, kind, written, read) in cases {
        assert!(set(key, written, 0, SetCondition::Always).await.unwrap());
        let found = get(key).await.unwrap();
        assert_eq!((found.r#type.as_str(), found.value, found.expire_at_ms), (kind, Some(read), None), "{key}");
        assert!(redis.ask(&["TYPE", key]).to_string().contains(kind), "{key}");
    }
    let text = |text: &str| set_request::Value::Text(text.to_owned());
    assert!(!set("a:text", text("y"), 0, SetCondition::IfAbsent).await.unwrap());
    assert!(set("a:text", text("z"), 3_600_000, SetCondition::IfPresent).await.unwrap());
    assert!(!set("b:text", text("y"), 0, SetCondition::IfPresent).await.unwrap());
    assert!(set("b:text", text("y"), 0, SetCondition::IfAbsent).await.unwrap());
    assert!(redis.ask(&["GET", "a:text"]).to_string().contains('z'));
    assert!(get("a:text").await.unwrap().expire_at_ms.is_some());
    let empty = set_request::Value::List(v1::Items::default());
    assert_eq!(told(set("a:text", empty, 0, SetCondition::Always).await).0, Code::InvalidArgument);
    assert_eq!(told(get("nothing").await).0, Code::NotFound);

    let scan = |request: v1::ScanRequest| {
        let mut keys = client.keys.clone();
        async move {
            let mut stream = keys.scan(request).await.unwrap().into_inner();
            let mut found = Vec::new();
            while let Some(message) = stream.message().await.unwrap() {
                found.extend(message.keys.into_iter().map(|info| info.key));
            }
            found
        }
    };
    let all = v1::ScanRequest { r#match: "a:*".into(), ..v1::ScanRequest::default() };
    assert_eq!(scan(all.clone()).await, ["a:hash", "a:list", "a:set", "a:text", "a:zset"]);
    let some = v1::ScanRequest { after: "a:hash".into(), limit: 2, ..all.clone() };
    assert_eq!(scan(some).await, ["a:list", "a:set"]);
    assert_eq!(
        scan(v1::ScanRequest { r#type: "string".into(), ..v1::ScanRequest::default() }).await,
        ["a:text", "b:text"]
    );
    let wrong = client.keys.clone().scan(v1::ScanRequest { r#match: "[a]".into(), ..all }).await;
    assert_eq!(wrong.unwrap_err().code(), Code::InvalidArgument);

    let delete = |db| v1::DeleteRequest {
        keys: vec!["a:text".into(), "nothing".into(), "a:list".into()],
        db,
        ..v1::DeleteRequest::default()
    };
    assert_eq!(client.keys.clone().delete(delete(1)).await.unwrap().into_inner().deleted, 0);
    assert_eq!(client.keys.clone().delete(delete(0)).await.unwrap().into_inner().deleted, 2);
    assert_eq!(told(get("a:text").await).0, Code::NotFound);
}
