//! The bodies of answers: bytes in memory, and files that are read in pieces.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

use super::file_reads::FileReads;
use super::folder::FoundFile;

/// The body of an answer.
#[derive(Debug)]
pub(crate) enum ReplyBody {
    /// Bytes in memory.
    Whole(Bytes),
    /// A file that is read no faster than the client takes it.
    File(FileBody),
}

/// A file as an answer.
///
/// Each piece is read by opening the file again. So a client that does not read its answer keeps no
/// file open. A file that changes meanwhile breaks the connection, because the client was promised
/// the former one.
#[derive(Debug)]
pub(crate) struct FileBody {
    file: FoundFile,
    reads: FileReads,
    /// The first piece, which was read with the file's size, until it is sent.
    first: Bytes,
    /// The piece that is being read.
    reading: Option<Reading>,
    /// Bytes of the file that are not sent yet.
    left: u64,
}

/// The read of a piece.
struct Reading(Pin<Box<dyn Future<Output = io::Result<Bytes>> + Send>>);

impl fmt::Debug for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reading")
    }
}

impl FileBody {
    /// Makes the body of a file of which `first` has been read.
    pub(super) fn new(file: FoundFile, first: Bytes, reads: FileReads) -> Self {
        Self { left: file.len(), file, reads, first, reading: None }
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        let piece = if self.first.is_empty() {
            let Reading(reading) = self.reading.get_or_insert_with(|| {
                let (file, offset) = (self.file.clone(), self.file.len() - self.left);
                let read = self.reads.clone().run(move || file.read(offset));
                Reading(Box::pin(read))
            });
            let piece = ready!(reading.as_mut().poll(cx));
            self.reading = None;
            piece?
        } else {
            std::mem::take(&mut self.first)
        };
        self.left -= piece.len() as u64;
        Poll::Ready(Ok(piece))
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
    use std::fs;

    use http_body_util::BodyExt;

    use super::*;
    use crate::entry::http::file_reads::MAX_WAIT;
    use crate::entry::http::folder::PIECE_LEN;

    async fn next(body: &mut ReplyBody) -> Option<io::Result<Bytes>> {
        Some(body.frame().await?.map(|frame| frame.into_data().expect("there are no trailers")))
    }

    /// Returns the body of a file of a new folder.
    fn file_body(contents: &[u8]) -> (tempfile::TempDir, ReplyBody) {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("file"), contents).unwrap();
        let (file, first) = FoundFile::find(folder.path(), "file".as_ref(), true).unwrap();
        let reads = FileReads::new(MAX_WAIT);
        reads.allow(1);
        (folder, ReplyBody::File(FileBody::new(file, first, reads)))
    }

    #[tokio::test]
    async fn a_file_is_sent_whole_and_in_small_pieces() {
        let contents: Vec<u8> = (0..5 * PIECE_LEN as u32 / 2).map(|n| n as u8).collect();
        let (_folder, mut body) = file_body(&contents);
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
    async fn a_file_that_is_replaced_or_changed_while_it_is_sent_is_an_error() {
        let contents = vec![1; 2 * PIECE_LEN];
        let (folder, mut body) = file_body(&contents);
        assert_eq!(next(&mut body).await.unwrap().unwrap().len(), PIECE_LEN);
        fs::write(folder.path().join("other"), &contents).unwrap();
        fs::rename(folder.path().join("other"), folder.path().join("file")).unwrap();
        assert!(next(&mut body).await.unwrap().is_err());

        let (folder, mut body) = file_body(&contents);
        assert_eq!(next(&mut body).await.unwrap().unwrap().len(), PIECE_LEN);
        fs::write(folder.path().join("file"), "shorter").unwrap();
        assert!(next(&mut body).await.unwrap().is_err());
    }
}
