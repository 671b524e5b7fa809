//! Checks the credentials of a client, and admits it or not.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use waddell_core::{Capabilities, Hello, Instant, Notice};

use super::Connection;
use super::authentication::{Check, Verdict};
use super::end::{End, Refusal};
use crate::auth::admitted::{Admitted, Credentials, Refused};
use crate::forward::extension::{Offer, Terms, seconds};
use crate::forward::read_counts::ReadCounts;
use crate::labels::AuthResult;

impl Connection {
    /// Checks credentials, or begins to; `None` if this client needs none. Only the answer of a
    /// service takes time.
    pub(super) fn check(&self, token: &[u8], agent: Option<&str>) -> Option<Check> {
        let authentication = self.inbound.authentication()?;
        let access = self.io.worker.shared.secrets().access.clone()?;
        let credentials = Credentials {
            token: token.to_vec(),
            address: authentication.client.address,
            origin: authentication.client.origin.clone(),
            transport: self.io.peer().transport().as_str(),
            agent: agent.map(str::to_owned),
        };
        let mut check: Pin<Box<dyn Future<Output = Verdict>>> =
            Box::pin(async move { access.check(&credentials).await });
        // The task polls it again.
        Some(match check.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(verdict) => Check::Done(verdict),
            Poll::Pending => Check::Running(check),
        })
    }

    /// Goes on once credentials are checked. Pending until then: nothing is to be read.
    pub(super) fn poll_check(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        let Some(check) = self.inbound.check_mut() else { return Poll::Ready(Ok(())) };
        let verdict = match check {
            Check::Running(check) => ready!(check.as_mut().poll(cx)),
            Check::Done(_) => return Poll::Ready(Ok(())),
        };
        *check = Check::Done(verdict);
        // This answers the request that has waited.
        Poll::Ready(self.account(|_, _| Ok(())))
    }

    /// Admits the client that says this HELLO, or returns why not. Returns whether it has no place
    /// among the connections of its subject, unless it takes over one of them.
    pub(super) fn admit(
        &mut self,
        hello: &Hello<'_>,
        verdict: Option<Verdict>,
        now: Instant,
    ) -> Result<bool, End> {
        let metrics = &self.io.worker.shared.metrics;
        let Some(verdict) = verdict else {
            let is_admitted = !self.inbound.is_in_lobby();
            // Without a verdict about credentials, a reload has switched authentication off.
            if is_admitted || hello.credentials.is_some() || self.may_lack_credentials() {
                if !is_admitted {
                    metrics.auth(AuthResult::Legacy);
                }
                return Ok(false);
            }
            metrics.auth(AuthResult::Missing);
            return Err(self.refuse(hello, Refused::Unauthorized));
        };
        let counted = verdict.and_then(|admitted| {
            match self.io.worker.shared.subjects.count(&admitted) {
                Ok(place) => Ok((admitted, place, false)),
                // The other connection gives its place to this one.
                Err(_) if self.may_take_over(hello, &admitted) => Ok((admitted, None, true)),
                Err(refused) => Err(refused),
            }
        });
        match counted {
            Ok((admitted, place, needs_place)) => {
                metrics.auth(AuthResult::Admitted);
                if place.is_some() {
                    self.io.peer().link().set_place(place);
                }
                self.accept(&admitted, now);
                Ok(needs_place)
            }
            Err(refused) => {
                metrics.auth(refused.into());
                Err(self.refuse(hello, refused))
            }
        }
    }

    /// Takes a place for a connection that was to get that of another one, and did not.
    pub(super) fn take_place(&mut self) -> Result<(), Refused> {
        let Some(authentication) = self.inbound.authentication() else { return Ok(()) };
        let Terms { subject, expires_in, limits, .. } = authentication.terms.clone();
        let subjects = &self.io.worker.shared.subjects;
        let place = subjects.count(&Admitted { subject, expires_in, limits })?;
        self.io.peer().link().set_place(place);
        Ok(())
    }

    /// Returns whether the client resumes an id that a connection of the same subject has.
    fn may_take_over(&self, hello: &Hello<'_>, admitted: &Admitted) -> bool {
        let terms = Terms { subject: admitted.subject.clone(), ..Terms::default() };
        let claims =
            hello.resume_token.map(|token| Offer::new(&self.io.worker, terms).verify(token));
        let Some(Ok(claims)) = claims else { return false };
        self.io.worker.shared.registry.get(claims.id).is_some()
    }

    /// Answers AUTH, and handles the frames after it.
    pub(super) fn answer_auth(
        &mut self,
        verdict: Option<Verdict>,
        counts: &mut ReadCounts,
    ) -> Result<(), End> {
        counts.control();
        let now = counts.read_at;
        let metrics = &self.io.worker.shared.metrics;
        let Some(authentication) = self.inbound.authentication() else {
            return self.release(counts);
        };
        match verdict {
            Some(Ok(admitted)) if admitted.subject == authentication.terms.subject => {
                metrics.auth(AuthResult::Admitted);
                self.accept(&admitted, now);
            }
            // The present credentials stay good: that there is no decision is not a no.
            Some(Err(Refused::Busy)) => metrics.auth(AuthResult::Busy),
            None => {}
            Some(Ok(_) | Err(Refused::Unauthorized | Refused::TooMany)) => {
                metrics.auth(AuthResult::Unauthorized);
                return Err(End::Refused(Refusal::Unauthorized));
            }
        }
        let left = self.inbound.authentication().and_then(|it| it.time_left(now));
        let expires_in = left.map_or(0, |left| seconds(left).max(1));
        self.send_own(&Notice::Authorized { expires_in });
        self.release(counts)
    }

    /// Takes credentials that are good.
    fn accept(&mut self, admitted: &Admitted, now: Instant) {
        let Some(authentication) = self.inbound.authentication_mut() else { return };
        authentication.set(admitted, now);
        let limit = authentication.terms.tighten(self.io.worker.config().limits.rate_limit);
        self.inbound.state.set_rate_limit(limit, now);
    }

    /// Returns the end of a client that said this HELLO and is not admitted.
    pub(super) fn refuse(&mut self, hello: &Hello<'_>, refused: Refused) -> End {
        if !self.inbound.is_in_lobby() {
            self.io.worker.shared.metrics.peer_extended();
        }
        // CLOSING says which frames were not handled.
        self.inbound.state.extend(hello, Capabilities::NONE);
        End::Refused(refused.into())
    }
}
