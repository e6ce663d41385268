//! Checks passwords that clients send in the clear.
//!
//! Each check costs thousands of rounds of a hash: few run at a time, few wait, of one address fewer still, and who was wrong waits for the
//! answer. So guessing is slow, and costs a bounded part of the machine, whoever guesses. A password that was right is not checked again.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use perigee_security::ScramVerifier;
use sha2::{Digest, Sha256};
use tokio::sync::{Semaphore, SemaphorePermit};

/// Passwords that are checked at a time.
const CHECKS_MAX: usize = 4;
/// Checks that run or wait, and those of one address, with the ones that have yet to be told that they were wrong.
const WAITING_MAX: usize = 64;
const WAITING_OF_ADDRESS_MAX: usize = 16;
/// How long who was wrong waits for the answer.
const WRONG: Duration = Duration::from_millis(200);
/// Passwords that were right, and need not be checked again while the role's verifier is the same.
const KNOWN_MAX: usize = 1_024;

/// Too many passwords wait to be checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooMany;

/// Checks passwords, few at a time and each once.
#[derive(Debug)]
pub(crate) struct Passwords {
    turn: Arc<Semaphore>,
    places: Semaphore,
    /// Checks that run or wait, by address.
    waiting: Mutex<HashMap<Option<IpAddr>, usize>>,
    /// Makes what is known useless to who reads memory of another run.
    salt: [u8; 32],
    /// Hashes of verifier and password, with when they were used last.
    known: Mutex<(HashMap<[u8; 32], u64>, u64)>,
}

impl Default for Passwords {
    fn default() -> Self {
        Self {
            turn: Arc::new(Semaphore::new(CHECKS_MAX)),
            places: Semaphore::new(WAITING_MAX),
            waiting: Mutex::default(),
            salt: rand::random(),
            known: Mutex::default(),
        }
    }
}

/// A check that runs or waits.
struct Waiting<'a>(&'a Passwords, Option<IpAddr>, Option<SemaphorePermit<'a>>);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut waiting = self.0.waiting.lock();
        if let Some(count) = waiting.get_mut(&self.1) {
            *count -= 1;
            if *count == 0 {
                waiting.remove(&self.1);
            }
        }
    }
}

impl Passwords {
    /// Whether a password of a client at `address` is right.
    ///
    /// # Errors
    /// [`TooMany`]
    pub(crate) async fn check(
        &self,
        verifier: String,
        password: &str,
        address: Option<IpAddr>,
    ) -> Result<bool, TooMany> {
        let mut hash = Sha256::new_with_prefix(self.salt);
        hash.update((verifier.len() as u64).to_be_bytes());
        hash.update(&verifier);
        hash.update(password);
        let hash: [u8; 32] = hash.finalize().into();
        if self.is_known(&hash) {
            return Ok(true);
        }
        let mut waiting = self.wait(address)?;
        let Ok(turn) = Arc::clone(&self.turn).acquire_owned().await else { return Ok(false) };
        let password = password.to_owned();
        // Thousands of rounds: not on a thread of the network. They run to their end, also when the client has gone: so does its turn.
        let matches = tokio::task::spawn_blocking(move || {
            let right = verifier.parse::<ScramVerifier>().is_ok_and(|verifier| verifier.matches(&password));
            drop(turn);
            right
        });
        let right = matches.await.unwrap_or(false);
        if right {
            self.remember(hash);
        } else {
            // Only its own address waits with it: else a few that guess would keep everybody out.
            drop(waiting.2.take());
            tokio::time::sleep(WRONG).await;
        }
        drop(waiting);
        Ok(right)
    }

    fn wait(&self, address: Option<IpAddr>) -> Result<Waiting<'_>, TooMany> {
        let place = self.places.try_acquire().map_err(|_| TooMany)?;
        let mut waiting = self.waiting.lock();
        let of_address = waiting.entry(address).or_default();
        if *of_address >= WAITING_OF_ADDRESS_MAX {
            return Err(TooMany);
        }
        *of_address += 1;
        Ok(Waiting(self, address, Some(place)))
    }

    fn is_known(&self, hash: &[u8; 32]) -> bool {
        let (known, clock) = &mut *self.known.lock();
        *clock += 1;
        known.get_mut(hash).map(|used| *used = *clock).is_some()
    }

    fn remember(&self, hash: [u8; 32]) {
        let (known, clock) = &mut *self.known.lock();
        if known.len() >= KNOWN_MAX {
            let oldest = known.iter().min_by_key(|(_, used)| **used).map(|(hash, _)| *hash);
            oldest.and_then(|oldest| known.remove(&oldest));
        }
        known.insert(hash, *clock);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_is_checked_against_the_verifier_of_now() {
        let passwords = Passwords::default();
        let verifier = |password| ScramVerifier::from_password_or_verifier(password).unwrap().to_string();
        let first = verifier("one");
        assert_eq!(passwords.check(first.clone(), "one", None).await, Ok(true));
        assert_eq!(passwords.check(first.clone(), "one", None).await, Ok(true));
        assert_eq!(passwords.check(first, "two", None).await, Ok(false));
        // What was right for the verifier before is not for the next.
        assert_eq!(passwords.check(verifier("two"), "one", None).await, Ok(false));
        assert_eq!(passwords.check("no verifier".to_owned(), "one", None).await, Ok(false));
        assert!(passwords.waiting.lock().is_empty());
    }

    /// Who goes away at once, again and again, does not have more checked at a time than who waits.
    #[test]
    fn a_check_keeps_its_turn_when_its_client_goes() {
        let runtime = tokio::runtime::Builder::new_current_thread().max_blocking_threads(1).build().unwrap();
        runtime.block_on(async {
            let passwords = Arc::new(Passwords::default());
            let verifier = ScramVerifier::create("one").unwrap().to_string();
            // Nothing is checked while the one thread waits.
            let (go_on, waiting) = std::sync::mpsc::channel::<()>();
            let held = tokio::task::spawn_blocking(move || waiting.recv().is_err());
            for gone in 1..=CHECKS_MAX + 2 {
                let (checking, verifier) = (Arc::clone(&passwords), verifier.clone());
                let check = tokio::spawn(async move { checking.check(verifier, "two", None).await });
                tokio::task::yield_now().await;
                check.abort();
                assert!(check.await.unwrap_err().is_cancelled());
                assert_eq!(passwords.turn.available_permits(), CHECKS_MAX.saturating_sub(gone));
            }
            assert!(passwords.waiting.lock().is_empty());
            assert_eq!(passwords.places.available_permits(), WAITING_MAX);
            drop(go_on);
            held.await.unwrap();
            assert_eq!(passwords.check(verifier, "one", None).await, Ok(true));
            assert_eq!(passwords.turn.available_permits(), CHECKS_MAX);
        });
    }

    /// Who was wrong and waits for the answer takes no place from others, and of its own address as many as may be.
    #[tokio::test(start_paused = true)]
    async fn who_was_wrong_waits_alone() {
        let passwords = Arc::new(Passwords::default());
        let (one, other) = (Some(IpAddr::from([192, 0, 2, 1])), Some(IpAddr::from([192, 0, 2, 2])));
        let mut wrong = Vec::new();
        for _ in 0..WAITING_OF_ADDRESS_MAX {
            let checking = Arc::clone(&passwords);
            wrong.push(tokio::spawn(async move { checking.check("no verifier".to_owned(), "x", one).await }));
        }
        while passwords.waiting.lock().get(&one).copied().unwrap_or(0) < WAITING_OF_ADDRESS_MAX
            || passwords.places.available_permits() < WAITING_MAX
        {
            tokio::task::yield_now().await;
        }
        assert_eq!(passwords.check("no verifier".to_owned(), "x", one).await, Err(TooMany));
        assert!(passwords.wait(other).is_ok());
        for wrong in wrong {
            assert_eq!(wrong.await.unwrap(), Ok(false));
        }
        assert!(passwords.waiting.lock().is_empty());
    }

    #[tokio::test]
    async fn few_wait_and_of_one_address_fewer() {
        let passwords = Passwords::default();
        let address = |n: u8| Some(IpAddr::from([192, 0, 2, n]));
        let verifier = ScramVerifier::create("one").unwrap().to_string();
        assert_eq!(passwords.check(verifier.clone(), "one", address(1)).await, Ok(true));
        let mut held: Vec<_> = (0..WAITING_OF_ADDRESS_MAX).map(|_| passwords.wait(address(1)).unwrap()).collect();
        assert_eq!(passwords.check(verifier.clone(), "two", address(1)).await, Err(TooMany));
        // A password that is known waits for nobody.
        assert_eq!(passwords.check(verifier.clone(), "one", address(1)).await, Ok(true));
        held.push(passwords.wait(address(2)).unwrap());
        for n in 3.. {
            let Ok(waiting) = passwords.wait(address(n)) else { break };
            held.push(waiting);
        }
        assert_eq!(held.len(), WAITING_MAX);
        drop(held);
        assert_eq!(passwords.check(verifier, "two", address(1)).await, Ok(false));
        assert!(passwords.waiting.lock().is_empty());
    }
}
