//! Finds a PROXY header in a peer's first bytes, where none is expected.

/// Looks for a PROXY header at the beginning of a stream of frames, where none is expected.
///
/// No handshake reads the first bytes of a `tcp` connection whose address is not a trusted proxy's.
/// Without this check, a wrongly configured proxy would look like a peer that never completes its
/// first frame.
///
/// The beginnings in [`ProxyWatch::SIGNS`] are so long that no frame to a peer begins with one: an
/// id has other bits there.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ProxyWatch {
    /// The entries of [`ProxyWatch::SIGNS`] that the stream may still begin with, one bit each.
    open: u8,
    /// Number of bytes seen so far.
    seen: u8,
}

/// The beginning of a PROXY header of version 2.
pub(crate) const SIGNATURE_V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

impl ProxyWatch {
    pub(crate) const SIGNS: [&[u8]; 3] = [b"PROXY TCP", b"PROXY UNKNO", SIGNATURE_V2];

    /// Makes a watch over a stream before its first byte. The default looks for nothing.
    pub(crate) const fn new() -> Self {
        Self { open: (1 << Self::SIGNS.len()) - 1, seen: 0 }
    }

    /// Looks at the next bytes. Returns whether they complete the beginning of a header.
    pub(crate) fn finds_header(&mut self, bytes: &[u8]) -> bool {
        for byte in bytes {
            if self.open == 0 {
                return false;
            }
            for (number, sign) in Self::SIGNS.iter().enumerate() {
                if sign.get(usize::from(self.seen)) != Some(byte) {
                    self.open &= !(1 << number);
                } else if self.open & (1 << number) != 0 && sign.len() == usize::from(self.seen) + 1
                {
                    self.open = 0;
                    return true;
                }
            }
            self.seen += 1;
        }
        false
    }
}
