//! The seam: a byte stream to the server, whatever carries it.

pub(crate) mod tcp;
pub(crate) mod ws;

use tokio::io::{AsyncRead, AsyncWrite};

/// A stream of bytes in both directions.
pub(crate) trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for S {}

/// Any stream: one type for the driver, and small however large the stream's own type is.
pub(crate) type BoxedStream = Box<dyn ByteStream>;
