//! Who is connected: no more than there is room for, and no peer takes the room of all others.
//!
//! At a cap the connection goes that was longest without a complete request (SECURITY.md §4): whoever only sits there
//! makes room for whoever comes. A connection whose request is being answered is never the one.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use crate::limits::peers::PeerKey;

/// Everybody who is connected to one listener.
#[derive(Debug)]
pub(super) struct Crowd {
    caps: Caps,
    state: Mutex<State>,
}

/// How many at once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caps {
    pub(super) connections: usize,
    pub(super) per_peer: usize,
    pub(super) handshakes: usize,
}

#[derive(Debug, Default)]
struct State {
    /// Ids and ranks come out of one count.
    next: u64,
    members: HashMap<u64, Member>,
    /// Rank to id of those without a request that is being answered: the longest so first.
    waiting: BTreeMap<u64, u64>,
    peers: HashMap<PeerKey, Peer>,
    handshaking: usize,
}

#[derive(Debug)]
struct Member {
    /// None: a proxy, which speaks for many.
    peer: Option<PeerKey>,
    rank: Option<u64>,
    handshaking: bool,
    cut: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Peer {
    members: usize,
    handshaking: usize,
    waiting: BTreeMap<u64, u64>,
}

/// A place among them, given up with this value.
#[derive(Debug)]
pub(super) struct Seat {
    crowd: Arc<Crowd>,
    id: u64,
    cut: Arc<Notify>,
}

impl Crowd {
    pub(super) fn new(caps: Caps) -> Arc<Crowd> {
        Arc::new(Crowd {
            caps,
            state: Mutex::default(),
        })
    }

    /// A place for one more; none if all places are taken by requests that are being answered.
    pub(super) fn enter(self: &Arc<Self>, peer: Option<PeerKey>) -> Option<Seat> {
        let mut state = self.lock();
        let of_peer = peer.and_then(|peer| state.peers.get(&peer));
        if of_peer.is_some_and(|it| it.members >= self.caps.per_peer) {
            let (_, id) = of_peer.and_then(|it| it.waiting.first_key_value())?;
            let id = *id;
            state.evict(id);
        }
        if state.members.len() >= self.caps.connections {
            let id = *state.waiting.first_key_value()?.1;
            state.evict(id);
        }
        let id = state.count();
        let cut = Arc::new(Notify::new());
        let member = Member {
            peer,
            rank: None,
            handshaking: false,
            cut: Arc::clone(&cut),
        };
        state.members.insert(id, member);
        if let Some(peer) = peer {
            state.peers.entry(peer).or_default().members += 1;
        }
        state.wait(id);
        Some(Seat {
            crowd: Arc::clone(self),
            id,
            cut,
        })
    }

    /// Makes room where the system has none.
    pub(super) fn evict_one(&self) {
        let mut state = self.lock();
        if let Some(id) = state.waiting.first_key_value().map(|(_, id)| *id) {
            state.evict(id);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn count(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// From now on it is without a complete request.
    fn wait(&mut self, id: u64) {
        self.work(id); // its former rank is nobody's
        let rank = self.count();
        let Some(member) = self.members.get_mut(&id) else {
            return;
        };
        member.rank = Some(rank);
        self.waiting.insert(rank, id);
        if let Some(peer) = member.peer.and_then(|peer| self.peers.get_mut(&peer)) {
            peer.waiting.insert(rank, id);
        }
    }

    fn work(&mut self, id: u64) {
        let Some(member) = self.members.get_mut(&id) else {
            return;
        };
        let (peer, rank) = (member.peer, member.rank.take());
        if let Some(rank) = rank {
            self.waiting.remove(&rank);
            if let Some(peer) = peer.and_then(|peer| self.peers.get_mut(&peer)) {
                peer.waiting.remove(&rank);
            }
        }
    }

    fn evict(&mut self, id: u64) {
        if let Some(member) = self.leave(id) {
            // Kept for whoever is not waiting for it yet.
            member.cut.notify_one();
        }
    }

    fn leave(&mut self, id: u64) -> Option<Member> {
        self.work(id);
        let member = self.members.remove(&id)?;
        self.handshaking -= usize::from(member.handshaking);
        if let Some(key) = member.peer
            && let Some(peer) = self.peers.get_mut(&key)
        {
            peer.members -= 1;
            peer.handshaking -= usize::from(member.handshaking);
            if peer.members == 0 {
                self.peers.remove(&key);
            }
        }
        Some(member)
    }

    /// Of the peer with the most handshakes the oldest: a flood of them crowds itself out.
    fn crowding(&self) -> Option<u64> {
        let peers = self.peers.iter();
        let (most, _) = peers.max_by_key(|(_, peer)| peer.handshaking)?;
        let theirs = self.waiting.values().filter(|id| {
            let member = self.members.get(id);
            member.is_some_and(|it| it.handshaking && it.peer == Some(*most))
        });
        theirs.min().copied()
    }
}

impl Seat {
    /// Waits until the place is needed for somebody else.
    pub(super) async fn cut(&self) {
        self.cut.notified().await;
    }

    /// A complete request is being answered.
    pub(super) fn works(&self) {
        self.crowd.lock().work(self.id);
    }

    /// It was answered.
    pub(super) fn waits(&self) {
        self.crowd.lock().wait(self.id);
    }

    /// A handshake begins; where there are too many, another one ends.
    pub(super) fn shakes_hands(&self) {
        let mut state = self.crowd.lock();
        if state.handshaking >= self.crowd.caps.handshakes
            && let Some(id) = state.crowding()
        {
            state.evict(id);
        }
        state.shakes(self.id);
    }

    /// It is over.
    pub(super) fn shook_hands(&self) {
        self.crowd.lock().shook(self.id);
    }
}

impl State {
    fn shakes(&mut self, id: u64) {
        if let Some(member) = self.members.get_mut(&id).filter(|it| !it.handshaking) {
            member.handshaking = true;
            self.handshaking += 1;
            if let Some(peer) = member.peer.and_then(|peer| self.peers.get_mut(&peer)) {
                peer.handshaking += 1;
            }
        }
    }

    fn shook(&mut self, id: u64) {
        if let Some(member) = self.members.get_mut(&id).filter(|it| it.handshaking) {
            member.handshaking = false;
            self.handshaking -= 1;
            if let Some(peer) = member.peer.and_then(|peer| self.peers.get_mut(&peer)) {
                peer.handshaking -= 1;
            }
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        drop(self.crowd.lock().leave(self.id));
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::sync::Arc;

    use super::{Caps, Crowd, Seat};
    use crate::limits::peers::PeerKey;

    fn crowd(connections: usize, per_peer: usize, handshakes: usize) -> Arc<Crowd> {
        Crowd::new(Caps {
            connections,
            per_peer,
            handshakes,
        })
    }

    fn peer(n: u8) -> Option<PeerKey> {
        Some(PeerKey::of(IpAddr::from([10, 0, 0, n])))
    }

    fn is_cut(seat: &Seat) -> bool {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        let cut = std::pin::pin!(seat.cut());
        cut.poll(&mut context).is_ready()
    }

    #[test]
    fn the_one_longest_without_a_request_makes_room() {
        let crowd = crowd(3, 3, 9);
        let [one, two, three] = [1, 2, 3].map(|n| crowd.enter(peer(n)).unwrap());
        one.works();
        one.waits(); // has had a request since
        two.works(); // has one now
        let four = crowd.enter(peer(4)).unwrap();
        assert!(is_cut(&three) && !is_cut(&one) && !is_cut(&two) && !is_cut(&four));
        let five = crowd.enter(peer(5)).unwrap();
        assert!(is_cut(&one) && !is_cut(&two) && !is_cut(&four) && !is_cut(&five));
    }

    #[test]
    fn nobody_is_cut_in_the_middle_of_a_request() {
        let crowd = crowd(2, 2, 9);
        let seats = [1, 2].map(|n| crowd.enter(peer(n)).unwrap());
        seats.iter().for_each(Seat::works);
        assert!(crowd.enter(peer(3)).is_none());
        drop(seats);
        assert!(crowd.enter(peer(3)).is_some());
    }

    #[test]
    fn a_peer_at_its_cap_pays_itself() {
        let crowd = crowd(10, 2, 9);
        let other = crowd.enter(peer(1)).unwrap();
        let greedy = [(); 4].map(|()| crowd.enter(peer(2)).unwrap());
        assert_eq!(greedy.each_ref().map(is_cut), [true, true, false, false]);
        assert!(!is_cut(&other));
        // A trusted proxy has no cap of its own.
        let proxied = [(); 4].map(|()| crowd.enter(None).unwrap());
        assert!(!proxied.iter().any(is_cut));
    }

    #[test]
    fn of_too_many_handshakes_one_of_the_greediest_peer_ends() {
        let crowd = crowd(10, 10, 3);
        let good = crowd.enter(peer(1)).unwrap();
        good.shakes_hands();
        let flood = [(); 3].map(|()| {
            let seat = crowd.enter(peer(2)).unwrap();
            seat.shakes_hands();
            seat
        });
        assert_eq!(flood.each_ref().map(is_cut), [true, false, false]);
        assert!(!is_cut(&good));
        flood[1].shook_hands();
        let late = crowd.enter(peer(3)).unwrap();
        late.shakes_hands();
        assert!(!is_cut(&good) && !is_cut(&late) && !is_cut(&flood[2]));
    }

    #[test]
    fn nothing_is_left_of_those_who_went() {
        let crowd = crowd(3, 3, 3);
        let seats = [1, 2, 1].map(|n| crowd.enter(peer(n)).unwrap());
        seats.iter().for_each(Seat::shakes_hands);
        seats[0].works();
        seats[0].waits();
        drop(seats);
        let state = crowd.lock();
        assert!(state.members.is_empty() && state.peers.is_empty() && state.waiting.is_empty());
        assert_eq!(state.handshaking, 0);
    }
}
