//! WebSocket frames by hand, also such as a correct library does not send.

use tokio::io::{AsyncRead, AsyncReadExt};

use super::soon;

pub(crate) const FIN: u8 = 0x80;
pub(crate) const CONTINUE: u8 = 0;
pub(crate) const TEXT: u8 = 1;
pub(crate) const BINARY: u8 = 2;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
pub(crate) const PONG: u8 = 10;

/// Returns a frame in the form of clients.
pub(crate) fn masked(first_byte: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x37, 0xfa, 0x21, 0x3d];
    let mut frame = header(first_byte, 0x80, payload.len());
    frame.extend_from_slice(&mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

/// Returns a frame in the form of servers.
pub(crate) fn unmasked(first_byte: u8, payload: &[u8]) -> Vec<u8> {
    [header(first_byte, 0, payload.len()), payload.to_vec()].concat()
}

fn header(first_byte: u8, mask_bit: u8, len: usize) -> Vec<u8> {
    let mut header = vec![first_byte];
    match len {
        0..=125 => header.push(mask_bit | len as u8),
        126..=65_535 => {
            header.push(mask_bit | 126);
            header.extend_from_slice(&(len as u16).to_be_bytes());
        }
        _ => {
            header.push(mask_bit | 127);
            header.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    header
}

/// Reads one frame of the server; returns its first byte and its payload.
pub(crate) async fn read_frame(stream: &mut (impl AsyncRead + Unpin)) -> (u8, Vec<u8>) {
    soon(async {
        let first_byte = stream.read_u8().await?;
        let len = match stream.read_u8().await? {
            126 => {
                let len = stream.read_u16().await?;
                assert!(len > 125, "the shortest header is used");
                u64::from(len)
            }
            127 => {
                let len = stream.read_u64().await?;
                assert!(len > 65_535, "the shortest header is used");
                len
            }
            len => {
                assert!(len <= 125, "a server does not mask");
                u64::from(len)
            }
        };
        let mut payload = vec![0; len as usize];
        stream.read_exact(&mut payload).await?;
        std::io::Result::Ok((first_byte, payload))
    })
    .await
    .expect("a whole frame comes")
}
