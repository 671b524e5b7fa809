//! Frames: a 2-byte length prefix and the payload after it.
//!
//! ```text
//!   0      2                    2 + length
//!   +------+----------------------+
//!   |length|       payload        |      length: u16, little-endian, of the payload alone
//!   +------+----------------------+
//! ```

use alloc::vec::Vec;
use core::fmt;
use core::mem;

/// Length of the prefix in bytes; it holds the payload's length, little-endian.
pub const PREFIX_LEN: usize = 2;

/// Longest payload of one frame, in bytes, without the 2-byte prefix.
/// A message body is 18 bytes shorter (peer id 16, topic 2). Source: framed `MaxFrameLength`.
pub const MAX_FRAME_LEN: usize = 65_535;

/// One whole frame with its prefix, borrowed from the caller's or the decoder's buffer.
#[derive(Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// At least `PREFIX_LEN` bytes; the prefix holds the length of the rest.
    bytes: &'a mut [u8],
}

impl<'a> Frame<'a> {
    /// Returns the bytes after the prefix; at most [`MAX_FRAME_LEN`].
    pub fn payload(&self) -> &[u8] {
        self.bytes.get(PREFIX_LEN..).unwrap_or_default()
    }

    /// Returns the bytes after the prefix, mutable.
    pub fn payload_mut(&mut self) -> &mut [u8] {
        self.bytes.get_mut(PREFIX_LEN..).unwrap_or_default()
    }

    /// Returns the whole frame, prefix included, as it goes on the wire.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes
    }
}

/// Splits a stream of bytes into frames.
///
/// A frame that is whole in the input is returned without a copy. Only the bytes of an unfinished
/// frame are copied, into a buffer that lives until that frame is finished. An idle decoder owns
/// no memory.
///
/// ```
/// use waddell_core::FrameDecoder;
///
/// let mut decoder = FrameDecoder::new();
/// let mut input = &mut b"\x01\x00k\x03\x00ab"[..].to_vec()[..];
/// let mut payloads = Vec::new();
/// while let Some(frame) = decoder.next_frame(&mut input).unwrap() {
///     payloads.push(frame.payload().to_vec());
/// }
/// let mut input = &mut b"c"[..].to_vec()[..];
/// while let Some(frame) = decoder.next_frame(&mut input).unwrap() {
///     payloads.push(frame.payload().to_vec());
/// }
/// assert_eq!(payloads, [&b"k"[..], b"abc"]);
/// ```
#[derive(Debug)]
pub struct FrameDecoder {
    /// The beginning of an unfinished frame, or the whole frame that was returned last.
    partial: Vec<u8>,
    /// Whether `partial` holds a frame that was returned and can be cleared.
    handed_out: bool,
    /// Longest accepted payload, in bytes.
    max_len: u16,
}

impl FrameDecoder {
    /// Makes a decoder that accepts payloads up to [`MAX_FRAME_LEN`]: every length there is.
    pub const fn new() -> Self {
        Self::with_max_len(u16::MAX)
    }

    /// Makes a decoder that accepts payloads of at most `max_len` bytes.
    pub const fn with_max_len(max_len: u16) -> Self {
        Self { partial: Vec::new(), handed_out: false, max_len }
    }

    /// Takes the next whole frame from the front of the input.
    ///
    /// On `Some`, `input` begins after the frame. The frame may have begun in an earlier input. On
    /// `None` the input is used up: the decoder keeps the beginning of the next frame.
    ///
    /// # Errors
    ///
    /// [`FrameTooLong`] as soon as a prefix announces a payload over the decoder's maximum. Close
    /// the connection then: the decoder cannot find the next frame.
    pub fn next_frame<'a, 'i: 'a>(
        &'a mut self,
        input: &mut &'i mut [u8],
    ) -> Result<Option<Frame<'a>>, FrameTooLong> {
        if mem::take(&mut self.handed_out) {
            self.partial.clear();
        }
        if !self.partial.is_empty() {
            return self.finish_partial(input);
        }
        match self.frame_len(input)? {
            Some(len) if len <= input.len() => {
                let (bytes, rest) = mem::take(input).split_at_mut(len);
                *input = rest;
                Ok(Some(Frame { bytes }))
            }
            Some(_) | None => {
                if input.is_empty() {
                    self.partial = Vec::new();
                } else {
                    if self.partial.capacity() > KEPT_CAPACITY.max(2 * input.len()) {
                        self.partial = Vec::new();
                    }
                    self.partial.extend_from_slice(input);
                    *input = &mut [];
                }
                Ok(None)
            }
        }
    }

    /// Checks that the stream ends between two frames.
    ///
    /// # Errors
    ///
    /// [`Truncated`] if it ends inside a frame.
    pub fn finish(&self) -> Result<(), Truncated> {
        match self.buffered() {
            0 => Ok(()),
            len => Err(Truncated { len }),
        }
    }

    /// Returns how many bytes of an unfinished frame the decoder keeps.
    pub fn buffered(&self) -> usize {
        if self.handed_out { 0 } else { self.partial.len() }
    }

    /// Returns how many bytes of memory the decoder holds.
    pub fn held(&self) -> usize {
        self.partial.capacity()
    }

    /// Completes the frame that `partial` begins.
    fn finish_partial<'a>(
        &'a mut self,
        input: &mut &mut [u8],
    ) -> Result<Option<Frame<'a>>, FrameTooLong> {
        loop {
            let wanted = self.frame_len(&self.partial)?.unwrap_or(PREFIX_LEN);
            let missing = wanted.saturating_sub(self.partial.len());
            if missing == 0 {
                self.handed_out = true;
                return Ok(Some(Frame { bytes: &mut self.partial }));
            }
            if input.is_empty() {
                return Ok(None);
            }
            let len = missing.min(input.len());
            let (bytes, rest) = mem::take(input).split_at_mut(len);
            *input = rest;
            if self.partial.len() + len > self.partial.capacity() {
                // Double it each time, but never beyond the frame's end.
                let capacity =
                    (2 * self.partial.capacity()).clamp(self.partial.len() + len, wanted);
                self.partial.reserve_exact(capacity - self.partial.len());
            }
            self.partial.extend_from_slice(bytes);
        }
    }

    /// Returns the length of the frame at the front of `bytes`, prefix included; `None` if the
    /// prefix is not whole.
    fn frame_len(&self, bytes: &[u8]) -> Result<Option<usize>, FrameTooLong> {
        let Some(prefix) = bytes.first_chunk::<PREFIX_LEN>() else {
            return Ok(None);
        };
        let len = u16::from_le_bytes(*prefix);
        if len > self.max_len {
            return Err(FrameTooLong { len, max_len: self.max_len });
        }
        Ok(Some(PREFIX_LEN + usize::from(len)))
    }
}

/// A buffer of up to this many bytes is kept for the next incomplete frame, however short that is.
/// A larger one is kept only if the frame fills half of it already.
const KEPT_CAPACITY: usize = 4096;

impl Default for FrameDecoder {
    fn default() -> Self {
        Self::new()
    }
}

/// A frame's prefix announces a payload over the decoder's maximum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameTooLong {
    /// Length of the payload that the prefix announces, in bytes.
    pub len: u16,
    /// Longest payload that the decoder accepts, in bytes.
    pub max_len: u16,
}

impl fmt::Display for FrameTooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "frame of {} bytes is longer than the {} allowed", self.len, self.max_len)
    }
}

impl core::error::Error for FrameTooLong {}

/// The stream ended inside a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Truncated {
    /// Bytes of the frame that arrived, its prefix included.
    pub len: usize,
}

impl fmt::Display for Truncated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "stream ended after {} bytes of an unfinished frame", self.len)
    }
}

impl core::error::Error for Truncated {}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;
    use alloc::vec;

    use super::*;

    #[test]
    fn the_memory_of_a_large_frame_is_not_kept_for_the_short_one_after_it() {
        let (large, short) = (frame(&[7; 60_000]), frame(b"short"));
        let mut decoder = FrameDecoder::new();
        let mut take = |bytes: &[u8]| {
            let mut bytes = bytes.to_vec();
            let mut input = &mut bytes[..];
            let mut count = 0;
            while decoder.next_frame(&mut input).unwrap().is_some() {
                count += 1;
            }
            (count, decoder.held())
        };
        assert_eq!(take(&large[..50_000]).0, 0);
        // In one input, the end of the large frame and the beginning of the short one.
        let (count, held) = take(&[&large[50_000..], &short[..4]].concat());
        assert_eq!(count, 1);
        assert!(held <= KEPT_CAPACITY, "{held}");
        assert_eq!(take(&short[4..]), (1, 0));
    }

    #[test]
    fn frames_that_lie_whole_in_the_input_are_handed_out_where_they_lie() {
        let mut bytes = [frame(b"one"), frame(b""), frame(b"three")].concat();
        let range = bytes.as_ptr_range();
        let mut decoder = FrameDecoder::new();
        let mut input = &mut bytes[..];
        for expected in [&b"one"[..], b"", b"three"] {
            let frame = decoder.next_frame(&mut input).unwrap().unwrap();
            assert_eq!(frame.payload(), expected);
            assert!(range.contains(&frame.as_bytes().as_ptr()));
        }
        assert_eq!(decoder.next_frame(&mut input), Ok(None));
        assert_eq!(decoder.partial.capacity(), 0);
    }

    #[test]
    fn bytes_that_come_one_at_a_time_give_the_same_frames() {
        let stream = [frame(b"one"), frame(b""), frame(b"three")].concat();
        let mut decoder = FrameDecoder::new();
        let mut seen = vec![];
        for mut byte in stream {
            seen.extend(feed(&mut decoder, core::slice::from_mut(&mut byte)));
        }
        assert_eq!(seen, [frame(b"one"), frame(b""), frame(b"three")]);
        assert_eq!(decoder.finish(), Ok(()));
    }

    #[test]
    fn stream_may_be_cut_anywhere_between_two_inputs() {
        let stream = [frame(b"one"), frame(b""), frame(&[3; 300])].concat();
        for cut in 0..=stream.len() {
            let (head, tail) = stream.split_at(cut);
            let mut decoder = FrameDecoder::new();
            let mut seen = feed(&mut decoder, &mut head.to_vec());
            seen.extend(feed(&mut decoder, &mut tail.to_vec()));
            assert_eq!(seen, [frame(b"one"), frame(b""), frame(&[3; 300])], "cut at {cut}");
        }
    }

    #[test]
    fn payload_can_be_changed_in_place_whole_or_pieced_together() {
        let mut decoder = FrameDecoder::new();
        for cut in [0, 1, 3] {
            let mut bytes = frame(b"abc");
            let (head, tail) = bytes.split_at_mut(cut);
            assert_eq!(feed(&mut decoder, head), [[0_u8; 0]; 0]);
            let mut input = tail;
            let mut frame = decoder.next_frame(&mut input).unwrap().unwrap();
            frame.payload_mut()[1] = b'B';
            assert_eq!(frame.as_bytes(), b"\x03\x00aBc");
            assert_eq!(decoder.next_frame(&mut input), Ok(None));
        }
    }

    #[test]
    fn largest_frame_passes_whole_and_in_halves() {
        let largest = frame(&vec![7; MAX_FRAME_LEN]);
        let mut decoder = FrameDecoder::new();
        assert_eq!(feed(&mut decoder, &mut largest.clone()), [&largest[..]]);
        let (head, tail) = largest.split_at(largest.len() / 2);
        assert_eq!(feed(&mut decoder, &mut head.to_vec()), [[0_u8; 0]; 0]);
        assert_eq!(feed(&mut decoder, &mut tail.to_vec()), [&largest[..]]);
    }

    #[test]
    fn unfinished_frame_is_counted_until_it_is_handed_out() {
        let mut decoder = FrameDecoder::new();
        let mut buffered = vec![];
        for byte in frame(b"ab") {
            let mut byte = [byte];
            let mut input = &mut byte[..];
            let _ = decoder.next_frame(&mut input).unwrap();
            buffered.push(decoder.buffered());
        }
        assert_eq!(buffered, [1, 2, 3, 0]);
    }

    #[test]
    fn decoder_that_waits_for_no_rest_owns_no_memory() {
        let mut decoder = FrameDecoder::new();
        let bytes = frame(&[1; 1000]);
        feed(&mut decoder, &mut bytes[..500].to_vec());
        assert!(decoder.partial.capacity() >= 500);
        feed(&mut decoder, &mut bytes[500..].to_vec());
        assert_eq!(decoder.partial.capacity(), 0);
    }

    #[test]
    fn a_frame_in_pieces_holds_no_more_than_its_length() {
        let mut bytes = frame(&vec![7; MAX_FRAME_LEN]);
        for piece in [1, 1000, 40_000] {
            let mut decoder = FrameDecoder::new();
            let (all_but_one, last) = bytes.split_at_mut(PREFIX_LEN + MAX_FRAME_LEN - 1);
            for piece in all_but_one.chunks_mut(piece) {
                feed(&mut decoder, piece);
                assert!(decoder.held() >= decoder.buffered());
            }
            assert!(decoder.held() <= PREFIX_LEN + MAX_FRAME_LEN, "{}", decoder.held());
            assert_eq!(feed(&mut decoder, last).len(), 1);
            assert_eq!(decoder.held(), 0);
        }
    }

    /// A peer that announces 64 KiB and sends three bytes must not cost 64 KiB.
    #[test]
    fn announced_length_reserves_no_memory() {
        let mut decoder = FrameDecoder::new();
        feed(&mut decoder, &mut b"\xff\xffx".to_vec());
        assert!(decoder.partial.capacity() <= 16);
    }

    #[test]
    fn end_of_the_stream_inside_a_frame_is_an_error() {
        let mut decoder = FrameDecoder::new();
        assert_eq!(decoder.finish(), Ok(()));
        for (len, byte) in [5, 0, b'a', b'b'].into_iter().enumerate() {
            feed(&mut decoder, &mut [byte]);
            assert_eq!(decoder.finish(), Err(Truncated { len: len + 1 }));
        }
        assert_eq!(
            decoder.finish().unwrap_err().to_string(),
            "stream ended after 4 bytes of an unfinished frame"
        );
    }

    #[test]
    fn longer_frames_than_the_maximum_are_an_error_as_soon_as_the_prefix_is_there() {
        let error = FrameTooLong { len: 101, max_len: 100 };
        let mut whole = b"\x65\x00".to_vec();
        let mut input = &mut whole[..];
        assert_eq!(FrameDecoder::with_max_len(100).next_frame(&mut input), Err(error));

        let mut decoder = FrameDecoder::with_max_len(100);
        feed(&mut decoder, &mut b"\x65".to_vec());
        let mut rest = b"\x00".to_vec();
        let mut input = &mut rest[..];
        assert_eq!(decoder.next_frame(&mut input), Err(error));
        assert_eq!(error.to_string(), "frame of 101 bytes is longer than the 100 allowed");
    }

    #[test]
    fn frames_before_one_that_is_too_long_are_handed_out() {
        let mut bytes = [frame(&[1; 100]), frame(&[2; 101])].concat();
        let mut decoder = FrameDecoder::with_max_len(100);
        let mut input = &mut bytes[..];
        assert_eq!(decoder.next_frame(&mut input).unwrap().unwrap().payload(), [1; 100]);
        assert!(decoder.next_frame(&mut input).is_err());
        assert!(decoder.next_frame(&mut input).is_err(), "the error stays");
    }

    fn frame(payload: &[u8]) -> Vec<u8> {
        let len = u16::try_from(payload.len()).unwrap();
        [&len.to_le_bytes()[..], payload].concat()
    }

    fn feed(decoder: &mut FrameDecoder, mut input: &mut [u8]) -> Vec<Vec<u8>> {
        let mut frames = vec![];
        while let Some(frame) = decoder.next_frame(&mut input).unwrap() {
            frames.push(frame.as_bytes().to_vec());
        }
        assert!(input.is_empty());
        frames
    }
}
