//! Where a client's token comes from.

use std::error::Error;
use std::fmt;
use std::io;
use std::sync::Arc;

use futures_util::future::BoxFuture;

/// Where a client's token comes from.
#[derive(Clone)]
pub(crate) enum TokenSource {
    Fixed(Arc<str>),
    /// Called before each dial, and when the present token expires soon.
    Provider(Arc<dyn Fn() -> AskToken + Send + Sync>),
}

/// A token that is being asked for.
pub(crate) type AskToken = BoxFuture<'static, io::Result<String>>;

impl TokenSource {
    pub(crate) fn provider<F, D, E>(provider: F) -> Self
    where
        F: Fn() -> D + Send + Sync + 'static,
        D: Future<Output = Result<String, E>> + Send + 'static,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        Self::Provider(Arc::new(move || {
            let asking = provider();
            Box::pin(async move { asking.await.map_err(|error| failed(error.into())) })
        }))
    }
}

impl fmt::Debug for TokenSource {
    /// Does not show a token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fixed(_) => "Fixed(..)",
            Self::Provider(_) => "Provider(..)",
        })
    }
}

fn failed(error: Box<dyn Error + Send + Sync>) -> io::Error {
    io::Error::other(format!("could not get a token: {error}"))
}
