//! The byte stream inside TLS, between rustls, which does no I/O, and a socket.

use std::io::{self, Read, Write};

use rustls::ServerConnection;

use crate::forward::buffer_pool::BufferPool;
use crate::forward::outbox::Outbox;

/// Most bytes of output that TLS buffers, approximately: rustls's own limit. TLS is filled up to it
/// before bytes stay in the outbox. rustls does not tell how much it holds at a given time.
pub(crate) const MAX_HELD: usize = 64 * 1024;

/// Writes the outbox through TLS until it is empty or the socket has no room.
pub(crate) fn write(
    socket: &mut impl Write,
    tls: &mut ServerConnection,
    outbox: &mut Outbox,
    pool: &mut BufferPool,
    progress: &mut bool,
) -> io::Result<()> {
    loop {
        while !outbox.is_empty() {
            // Takes up to the limit of its own buffer, which bounds what TLS holds.
            match tls.writer().write(outbox.sealed())? {
                0 => break,
                len => outbox.advance(len, pool),
            }
        }
        if !tls.wants_write() {
            return Ok(());
        }
        tls.write_tls(socket)?;
        *progress = true;
    }
}

/// The outcome of decrypting bytes from the socket.
pub(crate) struct Decrypted {
    /// Length of the plain text, in bytes.
    pub(crate) len: usize,
    /// The peer has announced the end of its stream.
    pub(crate) closed: bool,
}

/// Decrypts until the input is used up or the plain text fills its space.
pub(crate) fn decrypt(
    tls: &mut ServerConnection,
    wire: &mut &[u8],
    plain: &mut [u8],
) -> Result<Decrypted, rustls::Error> {
    let was_long = wire.len() > SHORT;
    let mut len = 0;
    loop {
        match tls.reader().read(&mut plain[len..]) {
            Ok(0) if len < plain.len() => return Ok(Decrypted { len, closed: true }),
            Ok(0) => return Ok(Decrypted { len, closed: false }),
            Ok(more) => {
                len += more;
                continue;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return Ok(Decrypted { len, closed: true }),
        }
        if wire.is_empty() {
            if was_long {
                release_buffer(tls);
            }
            return Ok(Decrypted { len, closed: false });
        }
        tls.read_tls(wire).map_err(|error| rustls::Error::General(error.to_string()))?;
        tls.process_new_packets()?;
    }
}

/// Longest input that does not make rustls's buffer grow, in bytes: it reads that much at a time.
const SHORT: usize = 4096;

/// Makes rustls free the memory by which its buffer grew for long records. It shrinks the buffer
/// only when it is about to read, and the next read may be hours away.
fn release_buffer(tls: &mut ServerConnection) {
    struct Nothing;
    impl Read for Nothing {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::WouldBlock.into())
        }
    }
    let result = tls.read_tls(&mut Nothing);
    debug_assert!(result.is_err(), "nothing was read");
}
