//! The bodies of answers: what is in memory, and files bit by bit.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use hyper::body::{Body, Frame, SizeHint};
use tokio::fs::File;
use tokio::io::{AsyncRead, ReadBuf};

/// The body of an answer.
#[derive(Debug)]
pub(crate) enum ReplyBody {
    /// What is in memory anyway.
    Whole(Bytes),
    /// A file, of which no more is read than the client takes.
    File(FileBody),
}

/// So many bytes of a file, from its beginning.
#[derive(Debug)]
pub(crate) struct FileBody {
    file: File,
    /// How many bytes are still to come. One that has grown since is cut off; one that has shrunk
    /// breaks the connection, for the client was promised more.
    left: u64,
}

/// Most bytes of a file that are read at once. hyper asks for no more before these are written, so
/// this, and as much again for tokio to read them into, is what an answer that nobody reads costs.
const BIT: usize = 16 * 1024;

impl FileBody {
    pub(super) fn new(file: File, len: u64) -> Self {
        Self { file, left: len }
    }

    fn poll_bit(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        let len = usize::try_from(self.left).map_or(BIT, |left| left.min(BIT));
        let mut bit = BytesMut::zeroed(len);
        let mut unfilled = ReadBuf::new(&mut bit);
        ready!(Pin::new(&mut self.file).poll_read(cx, &mut unfilled))?;
        let read = unfilled.filled().len();
        if read == 0 {
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        }
        self.left -= read as u64;
        bit.truncate(read);
        Poll::Ready(Ok(bit.freeze()))
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let this = self.get_mut();
        if this.is_end_stream() {
            return Poll::Ready(None);
        }
        let bit = match this {
            Self::Whole(bytes) => Ok(std::mem::take(bytes)),
            Self::File(file) => ready!(file.poll_bit(cx)),
        };
        Poll::Ready(Some(bit.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.size_hint().exact() == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(match self {
            Self::Whole(bytes) => bytes.len() as u64,
            Self::File(file) => file.left,
        })
    }
}

impl From<Bytes> for ReplyBody {
    fn from(bytes: Bytes) -> Self {
        Self::Whole(bytes)
    }
}

impl Default for ReplyBody {
    fn default() -> Self {
        Self::Whole(Bytes::new())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use http_body_util::BodyExt;

    use super::*;

    async fn next(body: &mut ReplyBody) -> Option<io::Result<Bytes>> {
        Some(body.frame().await?.map(|frame| frame.into_data().expect("there are no trailers")))
    }

    /// The body of a file of so many bytes that was promised to have `len`.
    fn file_body(contents: &[u8], len: u64) -> ReplyBody {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(contents).unwrap();
        ReplyBody::File(FileBody::new(File::from_std(file.reopen().unwrap()), len))
    }

    #[tokio::test]
    async fn a_file_comes_whole_and_no_bit_is_large() {
        let contents: Vec<u8> = (0..5 * BIT as u32 / 2).map(|n| n as u8).collect();
        let mut body = file_body(&contents, contents.len() as u64);
        let mut got = Vec::new();
        while let Some(bit) = next(&mut body).await {
            let bit = bit.unwrap();
            assert!(!bit.is_empty() && bit.len() <= BIT);
            got.extend_from_slice(&bit);
            assert_eq!(body.size_hint().exact(), Some((contents.len() - got.len()) as u64));
        }
        assert!(got == contents);
    }

    #[tokio::test]
    async fn no_more_comes_than_was_promised_and_less_is_an_error() {
        let mut grown = file_body(b"more than that", 4);
        assert_eq!(next(&mut grown).await.unwrap().unwrap(), "more");
        assert!(next(&mut grown).await.is_none());
        let mut shrunk = file_body(b"less", 5);
        assert_eq!(next(&mut shrunk).await.unwrap().unwrap(), "less");
        let error = next(&mut shrunk).await.unwrap().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
