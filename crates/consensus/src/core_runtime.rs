//! The async runtime that openraft runs on: tokio, except for sleeps too short for its timer.
//!
//! openraft collects write completions for a microsecond before it tells core. tokio's timer counts milliseconds, so that
//! microsecond is one to two thousand, and every commit behind a fast disk waits for it; under virtual time it never ends
//! at all while there is work. A sleep below half a tick is over at once here.

use std::future::{Future, Ready, ready};
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures::future::{Either, lazy};
use openraft::async_runtime::{AsyncRuntime, Instant};
use openraft_rt::deterministic_rng::DeterministicRng;
use openraft_rt_tokio::{TokioInstant, TokioRuntime};

/// Makes generators from seeds.
type Seeded = DeterministicRng<TokioRuntime>;

#[cfg(test)]
thread_local! {
    /// In a simulation: where the next seed comes from.
    static SEEDS: std::cell::RefCell<Option<perigee_runtime::sim::SimRandom>> = const { std::cell::RefCell::new(None) };
}

/// Makes what this thread draws from here on depend on `seed` alone.
#[cfg(test)]
pub(crate) fn seed_with(seed: u64) {
    SEEDS.with_borrow_mut(|seeds| *seeds = Some(perigee_runtime::sim::SimRandom::new(seed)));
}

/// A random number; in a simulation one that the seed gives.
pub(crate) fn seed() -> u64 {
    #[cfg(test)]
    if let Some(seed) = SEEDS.with_borrow_mut(|seeds| seeds.as_mut().map(perigee_runtime::sim::SimRandom::next_u64)) {
        return seed;
    }
    perigee_log::random_id() as u64
}

/// A number that no other call gives; in a simulation one that the seed gives.
pub(crate) fn unique() -> u128 {
    u128::from(seed()) << 64 | u128::from(seed())
}

/// Below this tokio would sleep far too long.
const SHORTEST: Duration = Duration::from_micros(500);

/// See the module.
#[derive(Debug)]
pub(crate) struct CoreRuntime(TokioRuntime);

impl AsyncRuntime for CoreRuntime {
    type JoinError = <TokioRuntime as AsyncRuntime>::JoinError;
    type JoinHandle<T: Send + 'static> = <TokioRuntime as AsyncRuntime>::JoinHandle<T>;
    type Sleep = Either<Ready<()>, <TokioRuntime as AsyncRuntime>::Sleep>;
    type Instant = TokioInstant;
    type TimeoutError = <TokioRuntime as AsyncRuntime>::TimeoutError;
    type Timeout<R, T: Future<Output = R> + Send> = <TokioRuntime as AsyncRuntime>::Timeout<R, T>;
    type ThreadLocalRng = <Seeded as AsyncRuntime>::ThreadLocalRng;
    type Mpsc = <TokioRuntime as AsyncRuntime>::Mpsc;
    #[cfg(not(test))]
    type Watch = <TokioRuntime as AsyncRuntime>::Watch;
    /// tokio's wakes in an order of chance.
    #[cfg(test)]
    type Watch = crate::tests::watch::InOrder;
    type Oneshot = <TokioRuntime as AsyncRuntime>::Oneshot;
    type Mutex<T: Send + 'static> = <TokioRuntime as AsyncRuntime>::Mutex<T>;

    fn spawn<T>(future: T) -> Self::JoinHandle<T::Output>
    where
        T: Future + Send + 'static,
        T::Output: Send + 'static,
    {
        TokioRuntime::spawn(future)
    }

    fn sleep(duration: Duration) -> Self::Sleep {
        if duration < SHORTEST { Either::Left(ready(())) } else { Either::Right(TokioRuntime::sleep(duration)) }
    }

    fn sleep_until(deadline: TokioInstant) -> Self::Sleep {
        if deadline < TokioInstant::now() + SHORTEST {
            Either::Left(ready(()))
        } else {
            Either::Right(TokioRuntime::sleep_until(deadline))
        }
    }

    fn timeout<R, F: Future<Output = R> + Send>(duration: Duration, future: F) -> Self::Timeout<R, F> {
        TokioRuntime::timeout(duration, future)
    }

    fn timeout_at<R, F: Future<Output = R> + Send>(deadline: TokioInstant, future: F) -> Self::Timeout<R, F> {
        TokioRuntime::timeout_at(deadline, future)
    }

    fn is_panic(join_error: &Self::JoinError) -> bool {
        TokioRuntime::is_panic(join_error)
    }

    /// Asked for when an election time is drawn.
    fn thread_rng() -> Self::ThreadLocalRng {
        let drawn = lazy(|_| Seeded::thread_rng());
        let mut scope = pin!(Seeded::scope(seed(), drawn));
        match scope.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(random) => random,
            Poll::Pending => unreachable!("it is ready at once"),
        }
    }

    fn new(threads: usize) -> Self {
        Self(TokioRuntime::new(threads))
    }

    fn block_on<F, T>(&mut self, future: F) -> T
    where
        F: Future<Output = T>,
    {
        self.0.block_on(future)
    }
}
