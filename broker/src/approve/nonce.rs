//! Nonces of ballots: ours, for one person and one request, and for a few minutes. Nothing is kept of them; that a vote
//! counts once is its request's own guard.

use ring::hmac;
use stint_policy::{Seconds, Timestamp};

use crate::random;

/// Makes and knows them. All replicas have the same key.
#[derive(Debug)]
pub struct Nonces(hmac::Key);

impl Nonces {
    /// `key`: a secret of the log.
    #[must_use]
    pub fn new(key: &[u8; 32]) -> Nonces {
        Nonces(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    /// 6 bytes of time, 10 at random, 16 that only we can make.
    pub(super) fn draw(&self, request: &str, person: &str, now: Timestamp) -> [u8; 32] {
        let mut nonce = [0; 32];
        let (open, tag) = nonce.split_at_mut(OPEN);
        let [_, _, time @ ..] = now.as_millis().to_be_bytes();
        let drawn: [u8; 10] = random::bytes();
        for (to, from) in open.iter_mut().zip(time.iter().chain(&drawn)) {
            *to = *from;
        }
        let made = self.tag(open, request, person);
        for (to, from) in tag.iter_mut().zip(made.as_ref()) {
            *to = *from;
        }
        nonce
    }

    /// Whether it is one of ours, for these two, and not too old.
    pub(super) fn is_ours(
        &self,
        nonce: &[u8; 32],
        (request, person): (&str, &str),
        now: Timestamp,
    ) -> bool {
        let (open, tag) = nonce.split_at(OPEN);
        let made = self.tag(open, request, person);
        let made = made.as_ref().get(..tag.len()).unwrap_or_default();
        let mut time = [0; 8];
        for (to, from) in time.iter_mut().skip(2).zip(open) {
            *to = *from;
        }
        let drawn = Timestamp::from_millis(i64::from_be_bytes(time));
        let age = now.seconds_since(drawn);
        subtle::ConstantTimeEq::ct_eq(made, tag).into()
            && (0..=i64::from(LIFE.as_u32())).contains(&age)
    }

    fn tag(&self, open: &[u8], request: &str, person: &str) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(b"stint/ballot/v1\n");
        context.update(open);
        context.update(request.as_bytes());
        context.update(b"\n");
        context.update(person.as_bytes());
        context.sign()
    }
}

/// Time and chance.
const OPEN: usize = 16;
/// As long as a person needs to reach for their key.
pub(super) const LIFE: Seconds = Seconds::new(300);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_is_for_one_person_and_request_and_a_few_minutes() {
        let nonces = Nonces::new(&[7; 32]);
        let at = Timestamp::from_millis(1_800_000_000_123);
        let nonce = nonces.draw("req_a", "dana", at);
        let later = |seconds| at.plus(Seconds::new(seconds));
        for (nonces, request, person, now, expected) in [
            (&nonces, "req_a", "dana", at, true),
            (&nonces, "req_a", "dana", later(300), true),
            (&nonces, "req_a", "dana", later(302), false),
            (&nonces, "req_b", "dana", at, false),
            (&nonces, "req_a", "kim", at, false),
            (&Nonces::new(&[8; 32]), "req_a", "dana", at, false),
        ] {
            assert_eq!(nonces.is_ours(&nonce, (request, person), now), expected);
        }
        for place in 0..32 {
            let mut spoiled = nonce;
            spoiled[place] ^= 1;
            assert!(!nonces.is_ours(&spoiled, ("req_a", "dana"), at), "{place}");
        }
        assert_ne!(nonce, nonces.draw("req_a", "dana", at));
    }
}
