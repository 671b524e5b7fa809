//! Headers where there are to be none.

use super::V2;

/// Looks for a header at the beginning of a stream of frames, where there is none to be: on `tcp`
/// connections whose client waits for the greeting, from addresses that are not listed.
///
/// It takes so much of each version for a header as no frame to an id that was ever handed out can
/// begin with: the bits that say that a UUID is a random one are others.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Watch {
    /// Those of [`Watch::TELLS`] that the stream begins with so far, one bit each.
    open: u8,
    /// How many bytes of them it has.
    seen: u8,
}

impl Watch {
    pub(super) const TELLS: [&[u8]; 3] = [b"PROXY TCP", b"PROXY UNKNO", V2];

    /// A watch over a stream of which nothing has come yet; the default is over already.
    pub(crate) const fn new() -> Self {
        Self { open: (1 << Self::TELLS.len()) - 1, seen: 0 }
    }

    /// Looks at what comes next; returns whether that makes a header of the beginning.
    pub(crate) fn finds_header(&mut self, bytes: &[u8]) -> bool {
        for byte in bytes {
            if self.open == 0 {
                return false;
            }
            for (number, tell) in Self::TELLS.iter().enumerate() {
                if tell.get(usize::from(self.seen)) != Some(byte) {
                    self.open &= !(1 << number);
                } else if self.open & (1 << number) != 0 && tell.len() == usize::from(self.seen) + 1
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
