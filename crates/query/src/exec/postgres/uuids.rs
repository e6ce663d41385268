//! The functions of the extension uuid-ossp.

use std::sync::{Arc, LazyLock};

use datafusion::logical_expr::ScalarUDF;
use perigee_types::{SqlType, Value};
use uuid::{ContextV1, Timestamp, Uuid};

use super::function::{Eval, Function, overload};

use SqlType as T;

/// Keeps apart what is made within one tick of the clock.
static CLOCK: LazyLock<ContextV1> = LazyLock::new(|| ContextV1::new(rand::random()));

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    let fixed: [(&'static str, Eval); 5] = [
        ("uuid_nil", |_, _| Ok(value(Uuid::nil()))),
        ("uuid_ns_dns", |_, _| Ok(value(Uuid::NAMESPACE_DNS))),
        ("uuid_ns_url", |_, _| Ok(value(Uuid::NAMESPACE_URL))),
        ("uuid_ns_oid", |_, _| Ok(value(Uuid::NAMESPACE_OID))),
        ("uuid_ns_x500", |_, _| Ok(value(Uuid::NAMESPACE_X500))),
    ];
    // Version 1 with a node of chance in place of a network card's address, which nobody is to learn.
    let new: [(&'static str, Eval); 3] = [
        ("uuid_generate_v1", |_, _| Ok(value(version_1()))),
        ("uuid_generate_v1mc", |_, _| Ok(value(version_1()))),
        ("uuid_generate_v4", |_, _| Ok(value(Uuid::new_v4()))),
    ];
    let named: [(&'static str, Eval); 2] = [
        ("uuid_generate_v3", |a, _| Ok(value(Uuid::new_v3(&namespace(&a[0]), name(&a[1]))))),
        ("uuid_generate_v5", |a, _| Ok(value(Uuid::new_v5(&namespace(&a[0]), name(&a[1]))))),
    ];
    let fixed = fixed.map(|(name, eval)| Function::new(name, vec![overload(&[], T::Uuid, eval)]).udf());
    let new = new.map(|(name, eval)| Function::new(name, vec![overload(&[], T::Uuid, eval)]).volatile().udf());
    let named = named.map(|(name, eval)| Function::new(name, vec![overload(&[T::Uuid, T::Text], T::Uuid, eval)]).udf());
    fixed.into_iter().chain(new).chain(named).collect()
}

fn value(uuid: Uuid) -> Value {
    Value::Uuid(uuid.into_bytes())
}

fn version_1() -> Uuid {
    let mut node: [u8; 6] = rand::random();
    // The bit that no address of a card has.
    node[0] |= 1;
    Uuid::new_v1(Timestamp::now(&*CLOCK), &node)
}

fn namespace(value: &Value) -> Uuid {
    match value {
        Value::Uuid(bytes) => Uuid::from_bytes(*bytes),
        _ => Uuid::nil(),
    }
}

fn name(value: &Value) -> &[u8] {
    value.as_str().unwrap_or_default().as_bytes()
}
