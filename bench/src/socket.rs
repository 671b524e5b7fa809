//! One non-blocking connection: TCP, with or without TLS.

use std::io::{self, Read, Write};
use std::sync::Arc;

use mio::net::TcpStream;
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};
use waddell_tests::certificate::trust_any;

use crate::target::{Protocol, Target};

/// A connection whose reads and writes return `WouldBlock` instead of waiting.
pub(crate) enum Socket {
    Plain(TcpStream),
    Tls { tcp: TcpStream, session: Box<ClientConnection> },
}

impl Socket {
    pub(crate) fn tcp(&mut self) -> &mut TcpStream {
        match self {
            Self::Plain(tcp) | Self::Tls { tcp, .. } => tcp,
        }
    }
}

impl Read for Socket {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let (tcp, session) = match self {
            Self::Plain(tcp) => return tcp.read(buf),
            Self::Tls { tcp, session } => (tcp, session),
        };
        loop {
            match session.reader().read(buf) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return done,
            }
            let read = session.read_tls(tcp);
            if matches!(read, Ok(1..)) {
                session.process_new_packets().map_err(io::Error::other)?;
            }
            // The next part of the handshake, a key update or an alert.
            write_tls(tcp, session)?;
            if read? == 0 {
                return Ok(0);
            }
        }
    }
}

impl Write for Socket {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(tcp) => tcp.write(buf),
            Self::Tls { tcp, session } => {
                let taken = session.writer().write(buf)?;
                write_tls(tcp, session)?;
                if taken == 0 { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(taken) }
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Tls { tcp, session } => write_tls(tcp, session),
        }
    }
}

fn write_tls(tcp: &mut TcpStream, session: &mut ClientConnection) -> io::Result<()> {
    while session.wants_write() {
        match session.write_tls(tcp) {
            Ok(_) => {}
            // The poll reports when the socket has room again, or is connected.
            Err(error) if not_yet(&error) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Returns whether to try again when the poll reports the socket as ready.
pub(crate) fn not_yet(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected)
}

/// Opens connections to one server.
pub(crate) struct Dialer {
    target: Target,
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
}

impl Dialer {
    pub(crate) fn new(target: &Target, resume: bool) -> Result<Self, String> {
        let tls = if target.tls {
            let name = ServerName::try_from(target.host().to_owned())
                .map_err(|error| format!("{}: {error}", target.url))?;
            Some((Arc::new(tls_config(target.protocol, resume)), name))
        } else {
            None
        };
        Ok(Self { target: target.clone(), tls })
    }

    /// Begins to connect.
    pub(crate) fn dial(&self) -> io::Result<Socket> {
        let tcp = TcpStream::connect(self.target.address)?;
        tcp.set_nodelay(true)?;
        let Some((config, name)) = &self.tls else { return Ok(Socket::Plain(tcp)) };
        let session = ClientConnection::new(Arc::clone(config), name.clone());
        Ok(Socket::Tls { tcp, session: Box::new(session.map_err(io::Error::other)?) })
    }
}

fn tls_config(protocol: Protocol, resume: bool) -> ClientConfig {
    // A load generator sends no secrets.
    let mut config = trust_any();
    if protocol == Protocol::WebSocket {
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
    }
    if !resume {
        config.resumption = Resumption::disabled();
    }
    config
}
