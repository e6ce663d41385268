//! `Idempotency-Key`: a request that a client sends again, as it has not heard the answer, is done once.
//!
//! ```text
//! BEGIN -- look at the key -- keep "it was done" -- the request, in this transaction -- keep its answer -- COMMIT
//!            `-- known: the answer of the first time; another request: 422
//! ```
//!
//! Key and answer stand in the log entry of what the request does, as those of `PERIGEE.ONCE` do. Of two requests with one key that come at
//! the same time one is committed; the other gets its answer. What fails has written nothing, and is not kept: it may be tried again.

use std::sync::Arc;
use std::time::Instant;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequestParts as _, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use futures::StreamExt as _;
use perigee_door::kept::HOUR_S;
use perigee_door::{BeginOptions, Isolation, LeaseError};
use perigee_keyspace::Reply;
use perigee_keyspace::command::{KEY_BYTES_MAX, Once, REPLY_BYTES_MAX, REST};
use perigee_telemetry::names;
use sha2::{Digest as _, Sha256};

use crate::error::{Answer, Problem};
use crate::identity::Caller;
use crate::precondition::Preconditions;
use crate::server::{Door, read_packed};
use crate::transactions::TRANSACTION;

/// The header with the key.
const KEY: &str = "idempotency-key";
/// The header of an answer that is that of an earlier request.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
/// What is kept of the head of an answer.
const KEPT: [HeaderName; 4] =
    [header::CONTENT_TYPE, header::LOCATION, header::ETAG, HeaderName::from_static("perigee-command")];
/// Bytes of an answer: it is given behind the commit, so it has to be held.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// Does a request with a key once; others as they are.
pub(crate) async fn once(State(door): State<Arc<Door>>, request: Request, next: Next) -> Response {
    let writes = [Method::POST, Method::PUT, Method::PATCH, Method::DELETE].contains(request.method());
    if !writes || !request.headers().contains_key(KEY) || !request.uri().path().starts_with("/v1/") {
        return next.run(request).await;
    }
    // In a task of its own: a client that goes away comes again, and wants to know what was done.
    let done = tokio::spawn(async move { run(&door, request, &next).await });
    match done.await {
        Ok(answer) => answer.into_response(),
        Err(_) => Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the request's task has ended").into_response(),
    }
}

async fn run(door: &Arc<Door>, request: Request, next: &Next) -> Answer {
    let (mut parts, body) = request.into_parts();
    let key = key_of(&parts)?;
    if parts.headers.contains_key(TRANSACTION) || parts.uri.path().starts_with("/v1/transactions") {
        return Err(Problem::bad("a transaction over several requests takes no idempotency keys"));
    }
    let caller = Caller::from_request_parts(&mut parts, door).await?;
    let body = read_packed(door, body).await?;
    parts.extensions.insert(caller.clone());
    if caller.read_only {
        // It writes nothing that could be written twice.
        return Ok(next.clone().run(Request::from_parts(parts, Body::from(body))).await);
    }
    let role = door.engine.store().catalog().role(&caller.user).map_or(0, |role| role.oid.0);
    if !door.shared.idempotency.has_room(role, Instant::now()) {
        let detail = "the role keeps too many idempotency keys: a key is kept for a day";
        return Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, detail).retry_after(HOUR_S));
    }
    let digest = digest_of(&caller, role, &parts, &body);
    // Keys are those of their role, whatever that is called: who has the name later finds none of them.
    let key = format!("{role}:{key}");
    // What a client has compared with what it knows stays so until the commit.
    let isolation = (!Preconditions::of(&parts.headers).are_none()).then_some(Isolation::RepeatableRead);
    let work = Work { door: door.clone(), caller, role, key, digest, isolation };
    let first = work.attempt(&parts, &body, next).await;
    let is_conflict = |answer: &Answer| match answer {
        Ok(response) => response.status() == StatusCode::CONFLICT,
        Err(problem) => problem.status() == StatusCode::CONFLICT,
    };
    if !is_conflict(&first) {
        return first;
    }
    // Another request with this key may have been faster.
    match work.known().await {
        Ok(Some(known)) => replay(known, digest),
        _ => first,
    }
}

fn key_of(parts: &Parts) -> Answer<String> {
    let mut given = parts.headers.get_all(KEY).iter();
    let key = match (given.next(), given.next()) {
        (Some(key), None) => key.to_str().ok().filter(|key| !key.is_empty() && key.len() <= KEY_BYTES_MAX),
        _ => None,
    };
    let wrong = || Problem::bad(format!("an Idempotency-Key has 1 to {KEY_BYTES_MAX} visible characters of ASCII"));
    key.map(str::to_owned).ok_or_else(wrong)
}

/// Tells requests from others, with who sends them: another role may have the name later.
fn digest_of(caller: &Caller, role: u32, parts: &Parts, body: &[u8]) -> u128 {
    let mut hash = Sha256::new();
    let header = |name| parts.headers.get(name).map(HeaderValue::as_bytes).unwrap_or_default();
    let address = parts.uri.path_and_query().map_or("/", |address| address.as_str());
    for part in [
        caller.user.as_bytes(),
        &role.to_be_bytes()[..],
        parts.method.as_str().as_bytes(),
        address.as_bytes(),
        header(header::CONTENT_TYPE),
        header(header::CONTENT_ENCODING),
        body,
    ] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let hash: [u8; 32] = hash.finalize().into();
    let (begin, _) = hash.split_at(16);
    begin.iter().fold(0, |digest, byte| digest << 8 | u128::from(*byte))
}

/// A request that is to be done once.
struct Work {
    door: Arc<Door>,
    caller: Caller,
    role: u32,
    key: String,
    digest: u128,
    isolation: Option<Isolation>,
}

impl Work {
    async fn attempt(&self, parts: &Parts, body: &Bytes, next: &Next) -> Answer {
        let open = self.begin().await?;
        if let Some(known) = self.look(&open).await? {
            open.undo().await;
            return replay(known, self.digest);
        }
        // Before the request: one that ends the transaction by itself is not done again either.
        self.keep(&open, None).await?;
        let mut request = Request::from_parts(parts.clone(), Body::from(body.clone()));
        let name = HeaderValue::from_str(&open.id).map_err(|_| Problem::bad("the transaction has no name"))?;
        request.headers_mut().insert(TRANSACTION, name);
        let response = next.clone().run(request).await;
        if !response.status().is_success() {
            open.undo().await;
            return Ok(response);
        }
        let (head, body) = response.into_parts();
        let body = match whole(body).await {
            Ok(body) => body,
            Err(problem) => {
                open.undo().await;
                return Err(problem);
            }
        };
        let mut kept = vec![Reply::Integer(i64::from(head.status.as_u16())), Reply::Bulk(body.clone())];
        for name in KEPT {
            if let Some(value) = head.headers.get(&name) {
                kept.push(Reply::Bulk(Bytes::copy_from_slice(name.as_str().as_bytes())));
                kept.push(Reply::Bulk(Bytes::copy_from_slice(value.as_bytes())));
            }
        }
        // One that is larger is not kept.
        let held = Some(body.len()).filter(|bytes| *bytes <= REPLY_BYTES_MAX).unwrap_or_default();
        let has_room = self.door.shared.idempotency.take(self.role, self.key.len(), held, Instant::now());
        match self.keep(&open, has_room.then_some(Reply::Array(kept))).await {
            Ok(()) => open.commit().await?,
            // The request has ended the transaction. By COMMIT that it was done is kept; by ROLLBACK it is not yet.
            Err(LeaseError::Missing) => {
                open.forget();
                if self.known().await?.is_none() {
                    let again = self.begin().await?;
                    self.keep(&again, None).await?;
                    again.commit().await?;
                }
            }
            Err(error) => {
                open.undo().await;
                return Err(error.into());
            }
        }
        Ok(Response::from_parts(head, Body::from(body)))
    }

    /// What is known of the key now.
    async fn known(&self) -> Answer<Option<Once>> {
        let open = self.begin().await?;
        let known = self.look(&open).await;
        open.undo().await;
        Ok(known?)
    }

    async fn begin(&self) -> Answer<Open> {
        // It is ended here, whatever comes.
        let time_ms = Some(perigee_door::transactions::TIME_MAX.as_millis() as u64);
        let options = BeginOptions { time_ms, isolation: self.isolation, ..BeginOptions::default() };
        let begun = self.door.shared.begin(&self.caller, options).await?;
        Ok(Open { door: self.door.clone(), caller: self.caller.clone(), id: begun.id, is_ended: false })
    }

    async fn look(&self, open: &Open) -> Result<Option<Once>, LeaseError> {
        let mut lease = self.door.shared.lease(&self.caller, Some(&open.id), None, None).await?;
        Ok(lease.once(&self.key)?)
    }

    async fn keep(&self, open: &Open, reply: Option<Reply>) -> Result<(), LeaseError> {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let created_ms = i64::try_from(now.as_millis()).unwrap_or(i64::MAX);
        let once = Once { door: REST, digest: self.digest, database: 0, created_ms, reply };
        let mut lease = self.door.shared.lease(&self.caller, Some(&open.id), None, None).await?;
        Ok(lease.keep_once(&self.key, &once)?)
    }
}

/// The transaction of a request; undone unless it was committed.
struct Open {
    door: Arc<Door>,
    caller: Caller,
    id: String,
    is_ended: bool,
}

impl Open {
    async fn commit(mut self) -> Result<(), LeaseError> {
        self.is_ended = true;
        self.door.shared.commit(&self.caller, &self.id).await
    }

    async fn undo(mut self) {
        self.is_ended = true;
        // Where it is gone already there is nothing to undo.
        drop(self.door.shared.rollback(&self.caller, &self.id).await);
    }

    fn forget(mut self) {
        self.is_ended = true;
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if self.is_ended {
            return;
        }
        let (door, caller, id) = (self.door.clone(), self.caller.clone(), std::mem::take(&mut self.id));
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { drop(door.shared.rollback(&caller, &id).await) });
        }
    }
}

/// The whole body of an answer.
async fn whole(body: Body) -> Answer<Bytes> {
    let (mut parts, mut whole) = (body.into_data_stream(), Vec::new());
    while let Some(part) = parts.next().await {
        let broken = |error| {
            let detail = format!("the answer broke off, and nothing was written: {error}");
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail)
        };
        whole.extend_from_slice(&part.map_err(broken)?);
        if whole.len() > ANSWER_BYTES_MAX {
            let detail =
                format!("the answer to a request with an Idempotency-Key has at most {ANSWER_BYTES_MAX} bytes");
            return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail));
        }
    }
    Ok(whole.into())
}

/// The answer of the first time.
fn replay(known: Once, digest: u128) -> Answer {
    if known.door != REST || known.digest != digest {
        let detail = "the Idempotency-Key was said with another request";
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail));
    }
    metrics::counter!(names::REST_REPLAYS_TOTAL).increment(1);
    let gone = || {
        Problem::new(
            StatusCode::CONFLICT,
            "the request was done, and its answer was not kept: too large, too many, or secret",
        )
    };
    let Some(Reply::Array(kept)) = known.reply else { return Err(gone()) };
    let [Reply::Integer(status), Reply::Bulk(body), head @ ..] = kept.as_slice() else { return Err(gone()) };
    let mut response = Response::new(Body::from(body.clone()));
    let status = u16::try_from(*status).ok().and_then(|status| StatusCode::from_u16(status).ok());
    *response.status_mut() = status.ok_or_else(gone)?;
    let headers = response.headers_mut();
    for pair in head.chunks_exact(2) {
        if let [Reply::Bulk(name), Reply::Bulk(value)] = pair
            && let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value))
        {
            headers.insert(name, value);
        }
    }
    headers.insert(REPLAYED, HeaderValue::from_static("true"));
    Ok(response)
}
