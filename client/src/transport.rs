//! Byte streams to the server, over any transport.

pub(crate) mod tcp;
pub(crate) mod ws;

use tokio::io::{AsyncRead, AsyncWrite};

/// A stream of bytes in both directions.
pub(crate) trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for S {}

/// A stream of any type. The box keeps it small, whatever the stream's own size.
pub(crate) type BoxedStream = Box<dyn ByteStream>;
