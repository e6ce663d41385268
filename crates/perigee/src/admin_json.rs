//! Answers of `perigee admin` as JSON. Scripts depend on their names: they stay.

use perigee_api::v1;
use serde_json::{Value, json};

pub(crate) fn status(status: &v1::StatusResponse) -> Value {
    let log = status.log.as_ref().map(|log| {
        json!({
            "first": log.first,
            "last": log.last,
            "synced": log.synced,
            "committed": log.committed,
            "bytes": log.bytes,
        })
    });
    json!({
        "node": status.node,
        "version": status.version,
        "role": status.role,
        "term": status.term,
        "voters": status.voters,
        "log": log,
        "applied": status.applied,
        "checkpoint": status.checkpoint,
        "sessions": status.sessions,
        "started_micros": status.started_micros,
    })
}

pub(crate) fn verified(verified: &v1::VerifyResponse) -> Value {
    let index = |index: &v1::IndexReport| json!({"name": index.name, "entries": index.entries});
    let table = |table: &v1::TableReport| {
        let indexes = table.indexes.iter().map(index).collect::<Vec<_>>();
        json!({"schema": table.schema, "name": table.name, "rows": table.rows, "indexes": indexes})
    };
    let log = verified.log.as_ref().map(|log| {
        json!({
            "first": log.first,
            "last": log.last,
            "records": log.records,
            "bytes": log.bytes,
            "head": hex::encode(&log.head),
            "attested": log.attested,
        })
    });
    json!({
        "index": verified.index,
        "tables": verified.tables.iter().map(table).collect::<Vec<_>>(),
        "log": log,
        "faults": verified.faults,
    })
}

pub(crate) fn compared(compared: &v1::VerifyClusterResponse) -> Value {
    let member = |member: &v1::MemberState| json!({"name": member.name, "error": text(&member.error), "differs": member.differs});
    json!({
        "index": compared.index,
        "parts": compared.parts,
        "majority": compared.majority,
        "members": compared.members.iter().map(member).collect::<Vec<_>>(),
    })
}

pub(crate) fn cluster(cluster: &v1::ClusterResponse) -> Value {
    let member = |member: &v1::ClusterMember| {
        json!({
            "name": member.name,
            "incarnation": member.incarnation,
            "address": member.address,
            "voter": member.voter,
            "leads": member.leads,
            "matched": member.matched,
            "answered_ms": member.answered_ms,
        })
    };
    json!({
        "node": cluster.node,
        "leader": text(&cluster.leader),
        "term": cluster.term,
        "committed": cluster.committed,
        "applied": cluster.applied,
        "members": cluster.members.iter().map(member).collect::<Vec<_>>(),
    })
}

pub(crate) fn pinged(pinged: &v1::PingClusterResponse) -> Value {
    let member = |member: &v1::PingedMember| {
        let asked = json!({"name": member.name, "address": member.address, "voter": member.voter});
        let answer = match &*member.error {
            "" => json!({
                "round_trip_micros": member.round_trip_micros,
                "version": member.version,
                "role": member.role,
                "term": member.term,
                "committed": member.committed,
                "applied": member.applied,
            }),
            error => json!({"error": error}),
        };
        merged(asked, answer)
    };
    Value::Array(pinged.members.iter().map(member).collect())
}

pub(crate) fn tiers(tiers: &[v1::TableTier]) -> Value {
    let tier = |tier: &v1::TableTier| {
        json!({
            "schema": tier.schema,
            "table": tier.table,
            "tier": tier.tier,
            "rows": tier.rows,
            "bytes": tier.bytes,
            "files": tier.files,
            "oldest_micros": tier.oldest_micros,
            "newest_micros": tier.newest_micros,
        })
    };
    Value::Array(tiers.iter().map(tier).collect())
}

pub(crate) fn schema(objects: &[v1::SchemaObject]) -> Value {
    let object = |object: &v1::SchemaObject| json!({"schema": object.schema, "name": object.name, "kind": object.kind, "statements": object.statements});
    Value::Array(objects.iter().map(object).collect())
}

pub(crate) fn migration(name: &str, done: &v1::ApplyMigrationResponse) -> Value {
    json!({
        "name": name,
        "applied": done.applied,
        "statements": done.statements,
        "sha256": done.sha256,
        "applied_micros": done.applied_micros,
    })
}

/// A text, or nothing where it is empty.
fn text(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

fn merged(mut one: Value, other: Value) -> Value {
    if let (Value::Object(one), Value::Object(other)) = (&mut one, other) {
        one.extend(other);
    }
    one
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_is_null() {
        let cluster = cluster(&v1::ClusterResponse::default());
        assert_eq!((&cluster["leader"], &cluster["members"]), (&Value::Null, &json!([])));
        let tiers = tiers(&[v1::TableTier { oldest_micros: Some(1), ..v1::TableTier::default() }]);
        assert_eq!((&tiers[0]["oldest_micros"], &tiers[0]["newest_micros"]), (&json!(1), &Value::Null));
    }

    #[test]
    fn who_does_not_answer_says_why() {
        let away = v1::PingedMember { error: "away".to_owned(), ..v1::PingedMember::default() };
        let found = pinged(&v1::PingClusterResponse { members: vec![away, v1::PingedMember::default()] });
        assert_eq!((&found[0]["error"], &found[0]["version"]), (&json!("away"), &Value::Null));
        assert_eq!((&found[1]["error"], &found[1]["version"]), (&Value::Null, &json!("")));
    }
}
