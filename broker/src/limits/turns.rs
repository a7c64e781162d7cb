//! So many at once, and whoever waits is served in turn: first one of each key, then the next of each. A flood under one
//! key waits for itself.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

/// The places, and the queues in front of them.
#[derive(Debug)]
pub struct Turns<K: Hash + Eq + Clone>(Arc<Mutex<State<K>>>);

#[derive(Debug)]
struct State<K: Hash + Eq + Clone> {
    free: usize,
    waiting: usize,
    queues: HashMap<K, VecDeque<oneshot::Sender<Turn<K>>>>,
    /// Whose turn is next.
    order: VecDeque<K>,
}

/// A place, given up with this value.
#[derive(Debug)]
pub struct Turn<K: Hash + Eq + Clone>(Option<Turns<K>>);

/// All places are taken, and were for too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too much is under way")]
pub struct Busy;

/// As many as there are cores, less one that is left for everything else; at least one.
impl<K: Hash + Eq + Clone> Default for Turns<K> {
    fn default() -> Turns<K> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Turns::new(cores - 1)
    }
}

impl<K: Hash + Eq + Clone> Turns<K> {
    /// `places` at once, at least one.
    #[must_use]
    pub fn new(places: usize) -> Turns<K> {
        Turns(Arc::new(Mutex::new(State {
            free: places.max(1),
            waiting: 0,
            queues: HashMap::new(),
            order: VecDeque::new(),
        })))
    }

    /// A place, at once or within 250 ms.
    ///
    /// # Errors
    /// [`Busy`]; too many wait already, or the wait was in vain.
    pub async fn take(&self, key: &K) -> Result<Turn<K>, Busy> {
        let waits = {
            let mut state = self.lock();
            if state.free > 0 {
                state.free -= 1;
                return Ok(Turn(Some(self.again())));
            }
            state.queue(key)?
        };
        match tokio::time::timeout(PATIENCE, waits).await {
            Ok(Ok(turn)) => Ok(turn),
            Ok(Err(_)) | Err(_) => Err(Busy),
        }
    }

    /// Hands a place to whoever is next and still there.
    fn pass_on(&self) {
        loop {
            let next = {
                let mut state = self.lock();
                match state.next() {
                    Some(next) => next,
                    None => {
                        state.free += 1;
                        return;
                    }
                }
            };
            // Whoever gives up after this drops the place, and so passes it on.
            match next.send(Turn(Some(self.again()))) {
                Ok(()) => return,
                Err(mut turn) => drop(turn.0.take()),
            }
        }
    }

    fn again(&self) -> Turns<K> {
        Turns(Arc::clone(&self.0))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State<K>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Hash + Eq + Clone> State<K> {
    fn queue(&mut self, key: &K) -> Result<oneshot::Receiver<Turn<K>>, Busy> {
        if self.waiting >= MOST {
            return Err(Busy);
        }
        let (turn, waits) = oneshot::channel();
        let queue = self.queues.entry(key.clone()).or_default();
        if queue.is_empty() {
            self.order.push_back(key.clone());
        }
        queue.push_back(turn);
        self.waiting += 1;
        Ok(waits)
    }

    fn next(&mut self) -> Option<oneshot::Sender<Turn<K>>> {
        let key = self.order.pop_front()?;
        let queue = self.queues.get_mut(&key)?;
        let next = queue.pop_front();
        self.waiting -= usize::from(next.is_some());
        if queue.is_empty() {
            self.queues.remove(&key);
        } else {
            self.order.push_back(key);
        }
        next
    }
}

impl<K: Hash + Eq + Clone> Drop for Turn<K> {
    fn drop(&mut self) {
        if let Some(turns) = self.0.take() {
            turns.pass_on();
        }
    }
}

/// SECURITY.md §4, admission.
const PATIENCE: Duration = Duration::from_millis(250);
/// More need not wait: a place would not come in time.
const MOST: usize = 8_192;

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::{Busy, Turns};

    #[tokio::test]
    async fn a_flood_waits_for_itself() {
        let turns = Turns::new(1);
        let (held, served) = (turns.take(&"flood").await.unwrap(), Arc::default());
        let ask = async |key: &'static str, served: &Mutex<Vec<&'static str>>| {
            let turn = turns.take(&key).await.unwrap();
            served.lock().unwrap().push(key);
            drop(turn);
        };
        let served: Arc<Mutex<Vec<&str>>> = served;
        tokio::join!(
            async {
                tokio::join!(
                    ask("flood", &served),
                    ask("flood", &served),
                    ask("flood", &served)
                )
            },
            ask("good", &served),
            async { drop(held) },
        );
        assert_eq!(*served.lock().unwrap(), ["flood", "good", "flood", "flood"]);
    }

    #[tokio::test]
    async fn a_wait_ends_and_costs_no_place() {
        let turns = Turns::new(1);
        let held = turns.take(&1).await.unwrap();
        assert_eq!(turns.take(&2).await.err(), Some(Busy));
        drop(held);
        let again = turns.take(&2).await.unwrap();
        drop(again);
        let state = turns.lock();
        assert_eq!((state.free, state.waiting, state.order.len()), (1, 0, 0));
    }

    #[tokio::test]
    async fn whoever_leaves_the_queue_is_passed_over() {
        let turns = Turns::new(1);
        let held = turns.take(&1).await.unwrap();
        {
            let mut waits = std::pin::pin!(turns.take(&2));
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            assert!(waits.as_mut().poll(&mut context).is_pending());
        }
        drop(held);
        assert!(turns.take(&3).await.is_ok());
    }
}
