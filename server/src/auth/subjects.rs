//! How many connections each subject has.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::admitted::{Admitted, Refused, Subject};

/// Counts the connections of each subject, and refuses those beyond the limit.
#[derive(Debug)]
pub(crate) struct Subjects {
    counts: Mutex<Counts>,
}

#[derive(Debug)]
struct Counts {
    max: usize,
    by_subject: HashMap<Subject, usize>,
}

/// A connection in the count of its subject. Dropping it removes it.
#[derive(Debug)]
pub(crate) struct SubjectPlace {
    subjects: Arc<Subjects>,
    subject: Subject,
}

impl Subjects {
    /// Makes the counts. 0 means no limit.
    pub(crate) fn new(max: usize) -> Self {
        let subjects = Self { counts: Mutex::new(Counts { max: 0, by_subject: HashMap::new() }) };
        subjects.set_max(max);
        subjects
    }

    /// Changes the limit for new connections. 0 means no limit.
    pub(crate) fn set_max(&self, max: usize) {
        self.counts().max = if max == 0 { usize::MAX } else { max };
    }

    /// Counts a connection of the subject. Returns `None` if the client has no subject, and so no
    /// limit.
    ///
    /// # Errors
    ///
    /// [`Refused::TooMany`] if the subject has as many as the server or its credentials allow.
    pub(crate) fn count(
        self: &Arc<Self>,
        admitted: &Admitted,
    ) -> Result<Option<SubjectPlace>, Refused> {
        let Some(subject) = &admitted.subject else { return Ok(None) };
        let mut counts = self.counts();
        let max = match admitted.limits.max_connections.map(NonZeroU32::get) {
            Some(claimed) => usize::try_from(claimed).map_or(counts.max, |it| it.min(counts.max)),
            None => counts.max,
        };
        let count = counts.by_subject.get(subject).copied().unwrap_or(0);
        if count >= max {
            return Err(Refused::TooMany);
        }
        counts.by_subject.insert(subject.clone(), count + 1);
        Ok(Some(SubjectPlace { subjects: Arc::clone(self), subject: subject.clone() }))
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for SubjectPlace {
    fn drop(&mut self) {
        let mut counts = self.subjects.counts();
        if let Some(count) = counts.by_subject.get_mut(&self.subject) {
            *count -= 1;
            if *count == 0 {
                counts.by_subject.remove(&self.subject);
            }
        }
        let capacity = counts.by_subject.capacity();
        if capacity > 1024 && counts.by_subject.len() * 4 < capacity {
            counts.by_subject.shrink_to_fit();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::admitted::SubjectLimits;
    use super::*;

    fn admitted(name: &str, max_connections: u32) -> Admitted {
        let max_connections = NonZeroU32::new(max_connections);
        Admitted {
            subject: Subject::new(name),
            expires_in: None,
            limits: SubjectLimits { max_connections, ..SubjectLimits::default() },
        }
    }

    #[test]
    fn the_limit_holds_for_each_subject_and_a_place_is_given_back() {
        let subjects = Arc::new(Subjects::new(2));
        let first = subjects.count(&admitted("alice", 0)).unwrap();
        let _second = subjects.count(&admitted("alice", 0)).unwrap();
        assert_eq!(subjects.count(&admitted("alice", 0)).unwrap_err(), Refused::TooMany);
        let _other = subjects.count(&admitted("bob", 0)).unwrap();
        drop(first);
        subjects.count(&admitted("alice", 0)).unwrap();
    }

    #[test]
    fn credentials_may_lower_the_limit_and_not_raise_it() {
        let subjects = Arc::new(Subjects::new(2));
        let _first = subjects.count(&admitted("alice", 9)).unwrap();
        assert_eq!(subjects.count(&admitted("alice", 1)).unwrap_err(), Refused::TooMany);
        let _second = subjects.count(&admitted("alice", 9)).unwrap();
        assert_eq!(subjects.count(&admitted("alice", 9)).unwrap_err(), Refused::TooMany);
    }

    #[test]
    fn without_a_limit_or_a_subject_no_connection_is_refused() {
        let subjects = Arc::new(Subjects::new(0));
        let held: Vec<_> =
            (0..2_000).map(|_| subjects.count(&admitted("alice", 0)).unwrap()).collect();
        assert_eq!(subjects.count(&admitted("alice", 2_000)).unwrap_err(), Refused::TooMany);
        drop(held);
        assert!(subjects.counts().by_subject.is_empty());
        subjects.set_max(1);
        let _one = subjects.count(&admitted("alice", 0)).unwrap();
        subjects.count(&admitted("alice", 0)).unwrap_err();
        // Without a subject there is nothing to count.
        assert!(subjects.count(&admitted("", 1)).unwrap().is_none());
    }
}
