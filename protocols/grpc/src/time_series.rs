//! `perigee.v1.TimeSeries`: series through `redis.series` and `redis.samples`.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use perigee_door::run::for_rows;
use perigee_door::script::perform;
use perigee_door::series::{self, Aggregate, Moment, Range, Which};
use perigee_door::{Caller, Door, Query};
use perigee_engine::RowBlock;
use perigee_types::{SqlError, SqlResult, Value};
use tonic::{Request, Response, Status, Streaming};

use crate::caller::{caller_of, lease};
use crate::error::status;
use crate::key_value::database;
use crate::once::{Call, key_of, once};
use crate::stream::{Encode, Messages, stream};
use crate::v1;

/// Samples of a message.
const SAMPLES: usize = 4_096;
/// How long the next message of a client may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// The service.
pub(crate) struct TimeSeriesService {
    door: Arc<Door>,
}

impl TimeSeriesService {
    pub(crate) fn new(door: Arc<Door>) -> Self {
        Self { door }
    }
}

/// The moment of milliseconds since 1970.
fn moment(ms: i64) -> Result<Moment, Status> {
    let micros = ms.checked_mul(1_000).ok_or_else(|| Status::invalid_argument(format!("{ms} is no time")))?;
    Ok(Ok(micros))
}

/// Which samples a window has.
fn range(which: Which, db: u32, window: Option<v1::Window>, limit: u64) -> Result<Range, Status> {
    let window = window.unwrap_or_default();
    let aggregate = match window.aggregate.try_into() {
        Ok(v1::Aggregate::None) => None,
        Ok(v1::Aggregate::Avg) => Some(Aggregate::Avg),
        Ok(v1::Aggregate::Sum) => Some(Aggregate::Sum),
        Ok(v1::Aggregate::Min) => Some(Aggregate::Min),
        Ok(v1::Aggregate::Max) => Some(Aggregate::Max),
        Ok(v1::Aggregate::Count) => Some(Aggregate::Count),
        Err(_) => return Err(Status::invalid_argument("there is no such aggregate")),
    };
    let bucket = match (aggregate, window.bucket_ms) {
        (None, 0) => None,
        (Some(aggregate), ms @ 1..) => Some((aggregate, ms)),
        _ => return Err(Status::invalid_argument("aggregate and bucket_ms go together")),
    };
    Ok(Range {
        db: database(db)?,
        which,
        from: window.from_ms.map(moment).transpose()?,
        to: window.to_ms.map(moment).transpose()?,
        bucket,
        limit: Some(limit).filter(|limit| *limit > 0),
    })
}

fn query(range: &Range) -> Result<Query, Status> {
    let (sql, parameters) = range.statement().map_err(|error| status(&error))?;
    Ok(Query { sql, parameters, rows_max: None })
}

#[tonic::async_trait]
impl v1::time_series_server::TimeSeries for TimeSeriesService {
    type RangeStream = Messages<v1::RangeResponse>;
    type QuerySeriesStream = Messages<v1::QuerySeriesResponse>;

    async fn add(&self, request: Request<Streaming<v1::AddRequest>>) -> Result<Response<v1::AddResponse>, Status> {
        let (caller, key) = (caller_of(&request)?, key_of(request.metadata())?);
        let mut messages = request.into_inner();
        let (mut added, mut number) = (0, 0_u64);
        loop {
            let next = tokio::time::timeout(PATIENCE, messages.message()).await;
            let late = |_| Status::deadline_exceeded("the next message did not come in time");
            let Some(message) = next.map_err(late)?? else {
                return Ok(Response::new(v1::AddResponse { added }));
            };
            // Each message is written by itself, so each has a key: where it stands tells it from the others.
            number += 1;
            let key = key.as_ref().map(|key| format!("{key}#{number}"));
            added += once(&self.door, caller.clone(), key, message).await?.added;
        }
    }

    async fn range(&self, request: Request<v1::RangeRequest>) -> Result<Response<Self::RangeStream>, Status> {
        let caller = caller_of(&request)?;
        let v1::RangeRequest { key, window, db, transaction, limit } = request.into_inner();
        let query = query(&range(Which::Key(key), db, window, limit)?)?;
        let lease = lease(&self.door, &caller, &transaction).await?;
        Ok(Response::new(stream(&self.door, lease, query, OfOne)))
    }

    async fn query_series(
        &self,
        request: Request<v1::QuerySeriesRequest>,
    ) -> Result<Response<Self::QuerySeriesStream>, Status> {
        let caller = caller_of(&request)?;
        let v1::QuerySeriesRequest { labels, window, db, transaction } = request.into_inner();
        let query = query(&range(Which::Labels(labels.into_iter().collect()), db, window, 0)?)?;
        let lease = lease(&self.door, &caller, &transaction).await?;
        Ok(Response::new(stream(&self.door, lease, query, OfMany)))
    }
}

/// Adds the samples of a message.
async fn add(door: &Arc<Door>, caller: &Caller, request: v1::AddRequest) -> Result<v1::AddResponse, Status> {
    let v1::AddRequest { samples, transaction, db } = request;
    let db = database(db)?;
    let moments: Vec<Moment> = samples.iter().map(|sample| moment(sample.ts_ms)).collect::<Result<_, _>>()?;
    let lease = lease(door, caller, &transaction).await?;
    let add = perform(door, lease, move |session| {
        async move {
            let pairs = samples.iter().zip(&moments);
            let samples: Vec<_> =
                pairs.map(|(sample, ts)| series::Sample { key: &sample.key, ts, value: sample.value }).collect();
            series::add(session, db, &samples).await
        }
        .boxed()
    });
    Ok(v1::AddResponse { added: add.await.map_err(|error| status(&error))? })
}

impl Call for v1::AddRequest {
    type Answer = v1::AddResponse;

    const KIND: &'static str = "Add";

    fn transaction(&self) -> &str {
        &self.transaction
    }

    fn within(self, transaction: &str) -> Self {
        Self { transaction: transaction.to_owned(), ..self }
    }

    fn run<'a>(self, door: &'a Arc<Door>, caller: &'a Caller) -> BoxFuture<'a, Result<v1::AddResponse, Status>> {
        async move { add(door, caller, self).await }.boxed()
    }
}

fn sample(ts: &Value, value: &Value) -> SqlResult<v1::Sample> {
    match (ts, value) {
        (Value::Timestamptz(micros), Value::Float8(value)) => {
            Ok(v1::Sample { ts_ms: micros.div_euclid(1_000), value: *value })
        }
        _ => Err(SqlError::internal("a sample of another form")),
    }
}

/// Makes messages of samples of one series.
struct OfOne;

impl Encode for OfOne {
    type Message = v1::RangeResponse;

    fn block(&mut self, block: RowBlock, out: &mut Vec<v1::RangeResponse>) -> SqlResult<()> {
        let mut rows = Vec::new();
        for_rows(block, |row| rows.push(row));
        for rows in rows.chunks(SAMPLES) {
            let of = |row: &perigee_types::Row| match row.as_slice() {
                [ts, value] => sample(ts, value),
                _ => Err(SqlError::internal("a sample of another form")),
            };
            out.push(v1::RangeResponse { samples: rows.iter().map(of).collect::<SqlResult<_>>()? });
        }
        Ok(())
    }
}

/// Makes messages of samples of several series, which come one after the other.
struct OfMany;

impl Encode for OfMany {
    type Message = v1::QuerySeriesResponse;

    fn block(&mut self, block: RowBlock, out: &mut Vec<v1::QuerySeriesResponse>) -> SqlResult<()> {
        let mut rows = Vec::new();
        for_rows(block, |row| rows.push(row));
        let mut last: Option<v1::QuerySeriesResponse> = None;
        for row in &rows {
            let [Value::Text(key), ts, value] = row.as_slice() else {
                return Err(SqlError::internal("a sample of another form"));
            };
            let sample = sample(ts, value)?;
            match &mut last {
                Some(last) if last.key == *key && last.samples.len() < SAMPLES => last.samples.push(sample),
                _ => out.extend(last.replace(v1::QuerySeriesResponse { key: key.clone(), samples: vec![sample] })),
            }
        }
        out.extend(last);
        Ok(())
    }
}
