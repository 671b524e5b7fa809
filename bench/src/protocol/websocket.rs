//! The part of RFC 6455 that a client needs to send binary messages and read any message.
//!
//! Written by hand, because the reading side must be cheaper than the server under load: payloads
//! are passed on in place.

use crate::target::Target;

/// Removes the framing from the bytes of a server.
#[derive(Default)]
pub(super) struct Reader {
    /// The part of the HTTP response or of a frame's header that has arrived.
    partial: Vec<u8>,
    upgraded: bool,
    /// Remaining length of the current payload.
    remaining: u64,
    opcode: u8,
    /// The part of a ping's payload that has arrived.
    ping: Vec<u8>,
}

impl Reader {
    /// Passes the payloads of binary messages to `on`; writes answers to pings to `out`.
    pub(super) fn take(
        &mut self,
        mut bytes: &mut [u8],
        out: &mut Vec<u8>,
        mut on: impl FnMut(&mut [u8]) -> Result<(), String>,
    ) -> Result<(), String> {
        while !bytes.is_empty() {
            if self.remaining == 0 {
                let (byte, rest) = bytes.split_at_mut(1);
                self.partial.push(byte[0]);
                bytes = rest;
                if !self.upgraded {
                    self.check_upgrade()?;
                } else if let Some((opcode, len)) = parse_header(&self.partial)? {
                    (self.opcode, self.remaining) = (opcode, len);
                    self.partial.clear();
                    if len == 0 {
                        self.end_of_frame(out);
                    }
                }
                continue;
            }
            let len = self.remaining.min(bytes.len() as u64);
            let (payload, rest) = bytes.split_at_mut(len as usize);
            bytes = rest;
            self.remaining -= len;
            match self.opcode {
                CONTINUATION | BINARY => on(payload)?,
                PING => self.ping.extend_from_slice(payload),
                _other => {}
            }
            if self.remaining == 0 {
                self.end_of_frame(out);
            }
        }
        Ok(())
    }

    fn check_upgrade(&mut self) -> Result<(), String> {
        if self.partial.ends_with(b"\r\n\r\n") {
            let line = self.partial.split(|byte| *byte == b'\r').next().unwrap_or_default();
            if !line.starts_with(b"HTTP/1.1 101 ") {
                return Err(format!("the server refused the WebSocket: {}", line.escape_ascii()));
            }
            self.upgraded = true;
            self.partial = Vec::new();
        }
        Ok(())
    }

    fn end_of_frame(&mut self, out: &mut Vec<u8>) {
        if self.opcode == PING {
            let ping = std::mem::take(&mut self.ping);
            write_frame(PONG, ping.len(), out, |out| out.extend_from_slice(&ping));
        }
    }
}

/// Reads a frame's opcode and length, once its header is whole.
fn parse_header(header: &[u8]) -> Result<Option<(u8, u64)>, String> {
    let [first, second, rest @ ..] = header else { return Ok(None) };
    let len = match (second, rest) {
        (126, [a, b]) => u64::from(u16::from_be_bytes([*a, *b])),
        (127, rest) if rest.len() == 8 => {
            rest.iter().fold(0, |len, byte| len << 8 | u64::from(*byte))
        }
        (126 | 127, _) => return Ok(None),
        (len, _) => u64::from(*len),
    };
    match first & 0x0f {
        opcode @ (CONTINUATION | BINARY | PING | PONG) if second & 0x80 == 0 => {
            Ok(Some((opcode, len)))
        }
        CLOSE => Err("the server closed the WebSocket".to_owned()),
        opcode => Err(format!("a WebSocket frame that no waddell server sends, opcode {opcode}")),
    }
}

/// Writes the request for a WebSocket.
pub(super) fn request(target: &Target, out: &mut Vec<u8>) {
    let Target { authority, path, .. } = target;
    // The key only proves that the server speaks WebSocket; any 16 bytes do.
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {authority}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Protocol: waddell\r\n\r\n"
    );
    out.extend_from_slice(request.as_bytes());
}

pub(super) fn write_message(len: usize, out: &mut Vec<u8>, payload: impl FnOnce(&mut Vec<u8>)) {
    write_frame(BINARY, len, out, payload);
}

fn write_frame(opcode: u8, len: usize, out: &mut Vec<u8>, payload: impl FnOnce(&mut Vec<u8>)) {
    out.push(0x80 | opcode);
    match len {
        0..=125 => out.push(0x80 | len as u8),
        126..=0xffff => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(len as u16).to_be_bytes());
        }
        _longer => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&MASK);
    let start = out.len();
    payload(out);
    let (words, rest) = out[start..].as_chunks_mut::<4>();
    for word in words {
        *word = (u32::from_ne_bytes(*word) ^ u32::from_ne_bytes(MASK)).to_ne_bytes();
    }
    rest.iter_mut().zip(MASK).for_each(|(byte, mask)| *byte ^= mask);
}

const CONTINUATION: u8 = 0;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// Not random, since no proxy reads this. Not zero, since then a server that does not unmask would
/// pass.
const MASK: [u8; 4] = [0x5a, 0xc3, 0x17, 0x88];
