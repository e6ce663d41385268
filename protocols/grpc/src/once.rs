//! Idempotency keys: a call that a client makes again, as it has not heard the answer, is done once.
//!
//! The metadata `idempotency-key` of what writes: `Sql.Execute`, `KeyValue.Set` and `Delete`, each message of `TimeSeries.Add`. It is
//! what `Idempotency-Key` is at the REST door: the key and the answer stand in the entry of what the call does; of two calls with one
//! key at a time one is committed, and the other gets its answer. What fails has written nothing and is not kept.

use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use futures::future::BoxFuture;
use perigee_door::transactions::TIME_MAX;
use perigee_door::{BeginOptions, Caller, Door, LeaseError};
use perigee_keyspace::Reply;
use perigee_keyspace::command::{GRPC, KEY_BYTES_MAX, Once, REPLY_BYTES_MAX};
use perigee_telemetry::names;
use prost::Message;
use sha2::{Digest as _, Sha256};
use tonic::metadata::MetadataMap;
use tonic::{Code, Status};

use crate::error::{lease_status, status};

/// The metadata with the key.
const KEY: &str = "idempotency-key";

/// The key that a call names.
///
/// # Errors
/// `INVALID_ARGUMENT` for what is none.
pub(crate) fn key_of(metadata: &MetadataMap) -> Result<Option<String>, Status> {
    let mut given = metadata.get_all(KEY).iter();
    let (first, second) = (given.next(), given.next());
    let Some(first) = first else { return Ok(None) };
    let key = first.to_str().ok().filter(|key| !key.is_empty() && key.len() <= KEY_BYTES_MAX && second.is_none());
    let wrong = || Status::invalid_argument(format!("an {KEY} has 1 to {KEY_BYTES_MAX} visible characters of ASCII"));
    key.map(|key| Some(key.to_owned())).ok_or_else(wrong)
}

/// A call that writes.
pub(crate) trait Call: Message + Clone + Default + 'static {
    /// What it answers.
    type Answer: Message + Default + 'static;

    /// What tells it from calls of other kinds, whose bytes may be the same.
    const KIND: &'static str;

    /// The transaction that it names.
    fn transaction(&self) -> &str;

    /// The same call in a transaction that has begun as [`Call::begin`] says.
    fn within(self, transaction: &str) -> Self;

    /// How the transaction is to begin that it runs in.
    fn begin(&self) -> BeginOptions {
        BeginOptions::default()
    }

    /// All that it says: the same bytes whenever it says the same.
    fn said(&self) -> Vec<u8> {
        self.encode_to_vec()
    }

    /// Does it.
    fn run<'a>(self, door: &'a Arc<Door>, caller: &'a Caller) -> BoxFuture<'a, Result<Self::Answer, Status>>;
}

/// Does a call once where its key says so, else each time that it comes.
///
/// # Errors
/// The call's, and those of [`Work`].
pub(crate) async fn once<C: Call>(
    door: &Arc<Door>,
    caller: Caller,
    key: Option<String>,
    call: C,
) -> Result<C::Answer, Status> {
    // Who only reads writes nothing that could be written twice.
    let Some(key) = key.filter(|_| !caller.read_only) else {
        return call.run(door, &caller).await;
    };
    // In a task of its own: a client that goes away comes again, and wants to know what was done.
    let work = Work::new(Arc::clone(door), caller, &key, call)?;
    let done = tokio::spawn(async move { work.run().await });
    done.await.map_err(|_| Status::internal("the call's task has ended"))?
}

/// A call that is to be done once.
struct Work<C> {
    door: Arc<Door>,
    caller: Caller,
    role: u32,
    /// With the role before it: keys are those of their role, whatever that is called.
    key: String,
    digest: u128,
    call: C,
}

impl<C: Call> Work<C> {
    /// # Errors
    /// `INVALID_ARGUMENT` in a transaction, which ends by itself; `RESOURCE_EXHAUSTED` where the role keeps too many keys.
    fn new(door: Arc<Door>, caller: Caller, key: &str, call: C) -> Result<Self, Status> {
        if !call.transaction().is_empty() {
            return Err(Status::invalid_argument("a transaction over several calls takes no idempotency keys"));
        }
        let role = door.engine.store().catalog().role(&caller.user).map_or(0, |role| role.oid.0);
        if !door.idempotency.has_room(role, Instant::now()) {
            let message = "the role keeps too many idempotency keys: a key is kept for a day";
            return Err(Status::resource_exhausted(message));
        }
        let hash: [u8; 32] = Sha256::new().chain_update(C::KIND).chain_update(call.said()).finalize().into();
        let digest = hash.iter().take(16).fold(0, |digest, byte| digest << 8 | u128::from(*byte));
        Ok(Self { key: format!("{role}:{key}"), door, caller, role, digest, call })
    }

    /// Does it, or gives the answer of the first time.
    ///
    /// # Errors
    /// The call's; `FAILED_PRECONDITION` for a key that was said with another one; `ABORTED` where the answer was not kept.
    async fn run(self) -> Result<C::Answer, Status> {
        match self.attempt().await {
            Err(failed) if matches!(failed.code(), Code::Aborted | Code::AlreadyExists) => {
                // Another call with this key may have been faster.
                match self.known().await? {
                    Some(known) => self.replay(known),
                    None => Err(failed),
                }
            }
            done => done,
        }
    }

    async fn attempt(&self) -> Result<C::Answer, Status> {
        let id = self.begin().await?;
        let done = self.within(&id).await;
        if done.is_err() {
            self.undo(&id).await;
        }
        done
    }

    async fn within(&self, id: &str) -> Result<C::Answer, Status> {
        if let Some(known) = self.look(id).await? {
            self.undo(id).await;
            return self.replay(known);
        }
        // Before the call: one that ends the transaction by itself is not done again either.
        self.keep(id, None).await.map_err(|error| lease_status(&error))?;
        let response = self.call.clone().within(id).run(&self.door, &self.caller).await?;
        let answer = response.encode_to_vec();
        let held = Some(answer.len()).filter(|bytes| *bytes <= REPLY_BYTES_MAX).unwrap_or_default();
        let has_room = self.door.idempotency.take(self.role, self.key.len(), held, Instant::now());
        match self.keep(id, has_room.then_some(Reply::Bulk(answer.into()))).await {
            Ok(()) => self.door.commit(&self.caller, id).await.map_err(|error| lease_status(&error))?,
            // A statement has ended the transaction. By COMMIT that it was done is kept; by ROLLBACK it is not yet.
            Err(LeaseError::Missing) => {
                if self.known().await?.is_none() {
                    let again = self.begin().await?;
                    self.keep(&again, None).await.map_err(|error| lease_status(&error))?;
                    self.door.commit(&self.caller, &again).await.map_err(|error| lease_status(&error))?;
                }
            }
            Err(error) => return Err(lease_status(&error)),
        }
        Ok(response)
    }

    async fn begin(&self) -> Result<String, Status> {
        let options = BeginOptions {
            // It is ended here, whatever comes.
            time_ms: u64::try_from(TIME_MAX.as_millis()).ok(),
            ..self.call.begin()
        };
        let begun = self.door.begin(&self.caller, options).await;
        begun.map(|begun| begun.id).map_err(|error| lease_status(&error))
    }

    /// What is known of the key now.
    async fn known(&self) -> Result<Option<Once>, Status> {
        let id = self.begin().await?;
        let known = self.look(&id).await;
        self.undo(&id).await;
        known
    }

    async fn look(&self, id: &str) -> Result<Option<Once>, Status> {
        let lease = self.door.lease(&self.caller, Some(id), None, None).await;
        let mut lease = lease.map_err(|error| lease_status(&error))?;
        lease.once(&self.key).map_err(|error| status(&error))
    }

    async fn keep(&self, id: &str, reply: Option<Reply>) -> Result<(), LeaseError> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let created_ms = i64::try_from(now.as_millis()).unwrap_or(i64::MAX);
        let once = Once { door: GRPC, digest: self.digest, database: 0, created_ms, reply };
        let mut lease = self.door.lease(&self.caller, Some(id), None, None).await?;
        Ok(lease.keep_once(&self.key, &once)?)
    }

    async fn undo(&self, id: &str) {
        // Where it is gone already there is nothing to undo.
        drop(self.door.rollback(&self.caller, id).await);
    }

    fn replay(&self, known: Once) -> Result<C::Answer, Status> {
        if known.door != GRPC || known.digest != self.digest {
            return Err(Status::failed_precondition(format!("the {KEY} was said with another call")));
        }
        metrics::counter!(names::GRPC_REPLAYS_TOTAL).increment(1);
        let answer = match known.reply {
            Some(Reply::Bulk(answer)) => C::Answer::decode(answer).ok(),
            _ => None,
        };
        let gone = "the call was done, and its answer was not kept: too large, too many, or secret";
        answer.ok_or_else(|| Status::aborted(gone))
    }
}
