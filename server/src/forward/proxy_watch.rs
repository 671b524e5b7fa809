//! Finds PROXY headers where none is expected.

/// Looks for a PROXY header at the beginning of a stream of frames, where none is expected: on
/// `tcp` connections from addresses that are not trusted proxies, whose first bytes no handshake
/// reads. Without it a wrongly configured proxy would show as a peer that never completes its first
/// frame.
///
/// It looks for so much of each version as no frame to a peer can begin with: ids have other bits
/// there.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ProxyWatch {
    /// The entries of [`ProxyWatch::SIGNS`] that the stream begins with so far, one bit each.
    open: u8,
    /// How many bytes of them were seen.
    seen: u8,
}

/// The beginning of a PROXY header of version 2.
pub(crate) const SIGNATURE_V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

impl ProxyWatch {
    pub(crate) const SIGNS: [&[u8]; 3] = [b"PROXY TCP", b"PROXY UNKNO", SIGNATURE_V2];

    /// Makes a watch over a stream of which no byte has arrived. The default looks for nothing.
    pub(crate) const fn new() -> Self {
        Self { open: (1 << Self::SIGNS.len()) - 1, seen: 0 }
    }

    /// Looks at the next bytes; returns whether they complete the beginning of a header.
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
