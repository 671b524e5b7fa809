//! What the server remembers of an id that a peer may resume.

use std::time::Duration;

use waddell_core::{Instant, NotResumed};

/// What the server remembers of an id that a peer may resume: which tokens are good, and when it
/// was resumed.
///
/// A resume with a token of the latest generation begins the next one. Tokens of the generation
/// before are good as well, because the connection may have broken before the new one arrived. They
/// begin no generation, so that this may happen any number of times in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lease {
    generation: u32,
    /// When other connections took over the id while it was connected; the latest first.
    takeovers: [Option<Instant>; MAX_TAKEOVERS],
}

impl Lease {
    /// Makes the lease of an id whose latest token has that generation.
    pub(crate) const fn new(generation: u32) -> Self {
        Self { generation, takeovers: [None; MAX_TAKEOVERS] }
    }

    /// Returns the generation of the id's latest token.
    pub(crate) const fn generation(&self) -> u32 {
        self.generation
    }

    /// Checks the token of a connection that resumes the id, which has that generation. Returns the
    /// generation of its next token.
    pub(crate) fn resume(&mut self, generation: u32) -> Result<u32, NotResumed> {
        match self.generation.wrapping_sub(generation) {
            0 => self.generation = self.generation.wrapping_add(1),
            1 => {}
            _older => return Err(NotResumed::Stale),
        }
        Ok(self.generation)
    }

    /// Does the same if the id is connected. Two programs with one token would take it from each
    /// other for ever, so an id is taken over a few times in a row at most.
    pub(crate) fn take_over(&mut self, generation: u32, now: Instant) -> Result<u32, NotResumed> {
        let [.., first] = self.takeovers;
        if first.is_some_and(|first| now - first < TAKEOVERS_IN) {
            return Err(NotResumed::Contested);
        }
        let next = self.resume(generation)?;
        self.takeovers.rotate_right(1);
        self.takeovers[0] = Some(now);
        Ok(next)
    }
}

/// Most takeovers of one id within [`TAKEOVERS_IN`].
const MAX_TAKEOVERS: usize = 3;
const TAKEOVERS_IN: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::since_epoch(Duration::from_secs(seconds))
    }

    #[test]
    fn the_latest_token_and_the_one_before_are_good() {
        let mut lease = Lease::new(7);
        assert_eq!(lease.resume(5), Err(NotResumed::Stale));
        assert_eq!(lease.resume(8), Err(NotResumed::Stale));
        assert_eq!(lease.resume(7), Ok(8));
        assert_eq!(lease.resume(8), Ok(9));
        assert_eq!(lease.resume(7), Err(NotResumed::Stale));
    }

    #[test]
    fn a_client_that_gets_no_new_token_may_use_the_old_one_again_and_again() {
        let mut lease = Lease::new(7);
        for _ in 0..10 {
            assert_eq!(lease.resume(7), Ok(8));
        }
        assert_eq!(lease.resume(8), Ok(9));
        assert_eq!(lease.resume(7), Err(NotResumed::Stale));
    }

    #[test]
    fn generations_go_on_after_their_end() {
        let mut lease = Lease::new(u32::MAX);
        assert_eq!(lease.resume(u32::MAX), Ok(0));
        assert_eq!(lease.resume(u32::MAX), Ok(0));
        assert_eq!(lease.resume(0), Ok(1));
    }

    #[test]
    fn an_id_is_taken_over_three_times_in_ten_seconds() {
        let mut lease = Lease::new(0);
        for second in 0..3 {
            assert!(lease.take_over(second, at(second.into())).is_ok());
        }
        assert_eq!(lease.take_over(3, at(9)), Err(NotResumed::Contested));
        assert_eq!(lease.take_over(3, at(10)), Ok(4));
        assert_eq!(lease.take_over(4, at(10)), Err(NotResumed::Contested));
        assert!(lease.resume(4).is_ok(), "it is not contested while it is not connected");
    }
}
