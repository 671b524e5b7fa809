//! The bodies of answers: bytes in memory, and files that are read in pieces.

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
    /// Bytes in memory.
    Whole(Bytes),
    /// A file that is read no faster than the client takes it.
    File(FileBody),
}

/// The first bytes of a file.
#[derive(Debug)]
pub(crate) struct FileBody {
    file: File,
    /// Bytes of the file that are not read yet. A file that has grown is cut off there. One that
    /// has shrunk breaks the connection, because the client was promised more bytes.
    left: u64,
}

/// Most bytes of a file that are read at once.
///
/// hyper asks for more only when these are written. So an answer that the client does not read
/// holds this much memory, and as much again in tokio's buffer.
const PIECE_LEN: usize = 16 * 1024;

impl FileBody {
    pub(super) fn new(file: File, len: u64) -> Self {
        Self { file, left: len }
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        let len = usize::try_from(self.left).map_or(PIECE_LEN, |left| left.min(PIECE_LEN));
        let mut piece = BytesMut::zeroed(len);
        let mut unfilled = ReadBuf::new(&mut piece);
        ready!(Pin::new(&mut self.file).poll_read(cx, &mut unfilled))?;
        let read = unfilled.filled().len();
        if read == 0 {
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        }
        self.left -= read as u64;
        piece.truncate(read);
        Poll::Ready(Ok(piece.freeze()))
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
        let piece = match this {
            Self::Whole(bytes) => Ok(std::mem::take(bytes)),
            Self::File(file) => ready!(file.poll_piece(cx)),
        };
        Poll::Ready(Some(piece.map(Frame::data)))
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

    /// Returns the body of a file with these contents that is announced as `len` bytes long.
    fn file_body(contents: &[u8], len: u64) -> ReplyBody {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(contents).unwrap();
        ReplyBody::File(FileBody::new(File::from_std(file.reopen().unwrap()), len))
    }

    #[tokio::test]
    async fn a_file_is_sent_whole_and_in_small_pieces() {
        let contents: Vec<u8> = (0..5 * PIECE_LEN as u32 / 2).map(|n| n as u8).collect();
        let mut body = file_body(&contents, contents.len() as u64);
        let mut got = Vec::new();
        while let Some(piece) = next(&mut body).await {
            let piece = piece.unwrap();
            assert!(!piece.is_empty() && piece.len() <= PIECE_LEN);
            got.extend_from_slice(&piece);
            assert_eq!(body.size_hint().exact(), Some((contents.len() - got.len()) as u64));
        }
        assert!(got == contents);
    }

    #[tokio::test]
    async fn a_grown_file_is_cut_off_and_a_shrunk_file_is_an_error() {
        let mut grown = file_body(b"more than that", 4);
        assert_eq!(next(&mut grown).await.unwrap().unwrap(), "more");
        assert!(next(&mut grown).await.is_none());
        let mut shrunk = file_body(b"less", 5);
        assert_eq!(next(&mut shrunk).await.unwrap().unwrap(), "less");
        let error = next(&mut shrunk).await.unwrap().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
