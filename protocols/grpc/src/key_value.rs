//! `perigee.v1.KeyValue`: keys through the tables of schema `redis`.

use std::sync::Arc;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use perigee_door::keys::{self, Condition, Found, Held, Scan, Written};
use perigee_door::run::for_rows;
use perigee_door::script::perform;
use perigee_door::{Caller, Door, Query};
use perigee_engine::RowBlock;
use perigee_types::{SqlError, SqlResult, Value};
use prost::Message as _;
use tonic::{Request, Response, Status};

use crate::caller::{caller_of, lease, said};
use crate::error::{lease_status, status};
use crate::once::{Call, key_of, once};
use crate::stream::{Encode, Messages, stream};
use crate::v1;

/// Keys of a message.
const KEYS: usize = 1_000;

/// The service.
pub(crate) struct KeyValueService {
    door: Arc<Door>,
}

impl KeyValueService {
    pub(crate) fn new(door: Arc<Door>) -> Self {
        Self { door }
    }
}

/// The number of a database, as tables have it.
pub(crate) fn database(db: u32) -> Result<i32, Status> {
    i32::try_from(db).map_err(|_| Status::invalid_argument("there is no such numbered database"))
}

#[tonic::async_trait]
impl v1::key_value_server::KeyValue for KeyValueService {
    type ScanStream = Messages<v1::ScanResponse>;

    async fn get(&self, request: Request<v1::GetRequest>) -> Result<Response<v1::GetResponse>, Status> {
        let caller = caller_of(&request)?;
        let v1::GetRequest { key, db, transaction } = request.into_inner();
        let db = database(db)?;
        // Type and value are of one moment.
        let lease = self.door.lease_of_one_moment(&caller, said(&transaction)).await;
        let lease = lease.map_err(|error| lease_status(&error))?;
        let name = key.clone();
        let read =
            perform(&self.door, lease, move |session| async move { keys::read(session, db, &name).await }.boxed());
        let found = read.await.map_err(|error| status(&error))?;
        let found = found.ok_or_else(|| Status::not_found("there is no such key"))?;
        Ok(Response::new(v1::GetResponse { entry: Some(entry(key, found)) }))
    }

    async fn set(&self, request: Request<v1::SetRequest>) -> Result<Response<v1::SetResponse>, Status> {
        let (caller, key) = (caller_of(&request)?, key_of(request.metadata())?);
        Ok(Response::new(once(&self.door, caller, key, request.into_inner()).await?))
    }

    async fn delete(&self, request: Request<v1::DeleteRequest>) -> Result<Response<v1::DeleteResponse>, Status> {
        let (caller, key) = (caller_of(&request)?, key_of(request.metadata())?);
        Ok(Response::new(once(&self.door, caller, key, request.into_inner()).await?))
    }

    async fn scan(&self, request: Request<v1::ScanRequest>) -> Result<Response<Self::ScanStream>, Status> {
        let caller = caller_of(&request)?;
        let request = request.into_inner();
        let text = |text: &str| said(text).map(str::to_owned);
        let scan = Scan {
            db: database(request.db)?,
            pattern: text(&request.r#match),
            after: text(&request.after),
            kind: text(&request.r#type),
            limit: Some(request.limit).filter(|limit| *limit > 0),
        };
        let statement = scan.statement("key, type, (extract(epoch FROM expire_at) * 1000)::bigint, bytes");
        let (sql, parameters) = statement.map_err(|error| status(&error))?;
        let lease = lease(&self.door, &caller, &request.transaction).await?;
        let query = Query { sql, parameters, rows_max: None };
        Ok(Response::new(stream(&self.door, lease, query, Keys)))
    }
}

/// Sets a key.
async fn set(door: &Arc<Door>, caller: &Caller, request: v1::SetRequest) -> Result<v1::SetResponse, Status> {
    let v1::SetRequest { key, db, transaction, value, ttl_ms, condition } = request;
    let db = database(db)?;
    let condition = match condition.try_into() {
        Ok(v1::SetCondition::Always) => Condition::Always,
        Ok(v1::SetCondition::IfAbsent) => Condition::IfAbsent,
        Ok(v1::SetCondition::IfPresent) => Condition::IfPresent,
        Err(_) => return Err(Status::invalid_argument("there is no such condition")),
    };
    let value = value.ok_or_else(|| Status::invalid_argument("there is no value"))?;
    let written = Written::new(held(value));
    let written = written.ok_or_else(|| Status::invalid_argument("an empty value is no value: delete the key"))?;
    let ttl_ms = Some(ttl_ms).filter(|ms| *ms > 0);
    let lease = lease(door, caller, &transaction).await?;
    let write = perform(door, lease, move |session| {
        async move { keys::write(session, db, &key, &written, ttl_ms, condition).await }.boxed()
    });
    let set = write.await.map_err(|error| status(&error))?;
    Ok(v1::SetResponse { set })
}

/// Deletes keys.
async fn delete(door: &Arc<Door>, caller: &Caller, request: v1::DeleteRequest) -> Result<v1::DeleteResponse, Status> {
    let v1::DeleteRequest { keys, db, transaction } = request;
    let db = database(db)?;
    let lease = lease(door, caller, &transaction).await?;
    let delete = perform(door, lease, move |session| {
        async move {
            let mut deleted = 0;
            for key in &keys {
                deleted += u64::from(keys::delete(session, db, key).await?);
            }
            Ok(deleted)
        }
        .boxed()
    });
    let deleted = delete.await.map_err(|error| status(&error))?;
    Ok(v1::DeleteResponse { deleted })
}

impl Call for v1::SetRequest {
    type Answer = v1::SetResponse;

    const KIND: &'static str = "Set";

    fn transaction(&self) -> &str {
        &self.transaction
    }

    fn said(&self) -> Vec<u8> {
        let Some(v1::set_request::Value::Hash(hash)) = &self.value else { return self.encode_to_vec() };
        // A map has no order.
        let mut fields: Vec<_> = hash.fields.iter().collect();
        fields.sort();
        let empty = v1::set_request::Value::Hash(v1::Hash::default());
        let mut said = v1::SetRequest { value: Some(empty), ..self.clone() }.encode_length_delimited_to_vec();
        for (name, value) in fields {
            for text in [name, value] {
                said.extend((text.len() as u64).to_le_bytes());
                said.extend(text.as_bytes());
            }
        }
        said
    }

    fn within(self, transaction: &str) -> Self {
        Self { transaction: transaction.to_owned(), ..self }
    }

    fn run<'a>(self, door: &'a Arc<Door>, caller: &'a Caller) -> BoxFuture<'a, Result<v1::SetResponse, Status>> {
        async move { set(door, caller, self).await }.boxed()
    }
}

impl Call for v1::DeleteRequest {
    type Answer = v1::DeleteResponse;

    const KIND: &'static str = "Delete";

    fn transaction(&self) -> &str {
        &self.transaction
    }

    fn within(self, transaction: &str) -> Self {
        Self { transaction: transaction.to_owned(), ..self }
    }

    fn run<'a>(self, door: &'a Arc<Door>, caller: &'a Caller) -> BoxFuture<'a, Result<v1::DeleteResponse, Status>> {
        async move { delete(door, caller, self).await }.boxed()
    }
}

/// Makes messages of what a scan has found.
struct Keys;

impl Encode for Keys {
    type Message = v1::ScanResponse;

    fn block(&mut self, block: RowBlock, out: &mut Vec<v1::ScanResponse>) -> SqlResult<()> {
        let (mut keys, mut wrong) = (Vec::new(), false);
        for_rows(block, |row| match row.as_slice() {
            [Value::Text(key), Value::Text(kind), end, Value::Int8(bytes)] => keys.push(v1::KeyInfo {
                key: key.clone(),
                r#type: kind.clone(),
                expire_at_ms: end.as_i64(),
                bytes: u64::try_from(*bytes).unwrap_or_default(),
            }),
            _ => wrong = true,
        });
        if wrong {
            return Err(SqlError::internal("a key of another form"));
        }
        while !keys.is_empty() {
            let rest = keys.split_off(keys.len().min(KEYS));
            out.push(v1::ScanResponse { keys: std::mem::replace(&mut keys, rest) });
        }
        Ok(())
    }
}

fn entry(key: String, found: Found) -> v1::Entry {
    use v1::entry::Value;
    let value = match found.held {
        Held::Text(text) => Some(Value::Text(text)),
        Held::Hash(fields) => Some(Value::Hash(v1::Hash { fields: fields.into_iter().collect() })),
        Held::List(items) => Some(Value::List(v1::Items { items })),
        Held::Set(members) => Some(Value::Set(v1::Items { items: members.into_iter().collect() })),
        Held::Zset(members) => {
            let members = members.into_iter().map(|(member, score)| v1::Member { member, score }).collect();
            Some(Value::Zset(v1::SortedSet { members }))
        }
        Held::Other => None,
    };
    v1::Entry { key, r#type: found.kind, value, expire_at_ms: found.expire_at_ms }
}

fn held(value: v1::set_request::Value) -> Held {
    use v1::set_request::Value;
    match value {
        Value::Text(text) => Held::Text(text),
        Value::Hash(hash) => Held::Hash(hash.fields.into_iter().collect()),
        Value::List(list) => Held::List(list.items),
        Value::Set(set) => Held::Set(set.items.into_iter().collect()),
        Value::Zset(set) => Held::Zset(set.members.into_iter().map(|member| (member.member, member.score)).collect()),
    }
}
