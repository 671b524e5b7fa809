//! Real sockets: TCP, TLS and WebSocket, and failures of their handshakes.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ServerConfig, SupportedProtocolVersion};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, duplex};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::{WebSocketStream, accept_async, accept_hdr_async};
use waddell_client::{Client, ClientConfig, CloseError, MAX_BODY_LEN, State};

use crate::fake_server::{FakeServer, TOPIC, next_id};

#[tokio::test]
async fn messages_cross_from_tcp_to_websocket_and_back() {
    let fake = FakeServer::new();
    let tcp = Client::connect(&format!("tcp://{}", fake.listen().await)).await.unwrap();
    let server = serve_ws(&fake, None, true).await;
    let ws = Client::connect(&format!("ws://{server}")).await.unwrap();
    for (from, to) in [(&tcp, &ws), (&ws, &tcp), (&ws, &ws)] {
        let id = to.id().unwrap();
        for len in [0, 1, 5000, MAX_BODY_LEN] {
            from.topic(TOPIC).send_to(id, vec![3; len]).await.unwrap();
            let message = to.topic(TOPIC).recv().await.unwrap();
            assert_eq!((message.from, message.body.len()), (from.id().unwrap(), len));
        }
    }
}

#[tokio::test]
async fn every_address_of_a_name_is_tried() {
    // Nothing listens on ::1, which may be the first address of localhost.
    let port = FakeServer::new().listen().await.port();
    assert!(Client::connect(&format!("tcp://localhost:{port}")).await.unwrap().id().is_some());
}

#[tokio::test]
async fn pinned_certificate_is_trusted_whatever_its_names_and_dates() {
    let san = certificate(|params| {
        params.subject_alt_names = vec![rcgen::SanType::DnsName("localhost".try_into().unwrap())];
    });
    let authority = certificate(|params| {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    });
    let only_cn = certificate(|params| params.distinguished_name.push(DnType::CommonName, "me"));
    let expired = certificate(|params| params.not_after = rcgen::date_time_ymd(2015, 1, 31));
    for (name, certificate) in
        [("san", san), ("authority", authority), ("cn", only_cn), ("expired", expired)]
    {
        for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
            let fake = FakeServer::new();
            let tls = tls_config(&certificate, version);
            let server = serve_tls(&fake, tls.clone()).await;
            let config = pinned(&format!("tls://{server}"), &certificate.pem);
            let client = Client::connect(config).await.unwrap_or_else(|error| {
                panic!("{name}, {version:?}: {error}");
            });
            let server = serve_ws(&fake, Some(tls), true).await;
            let config = pinned(&format!("wss://localhost:{}", server.port()), &certificate.pem);
            let other = Client::connect(config).await.unwrap();
            let topic = client.topic(TOPIC);
            topic.send_to(other.id().unwrap(), vec![1; MAX_BODY_LEN]).await.unwrap();
            assert_eq!(other.topic(TOPIC).recv().await.unwrap().body.len(), MAX_BODY_LEN);
        }
    }
}

#[tokio::test]
async fn other_certificates_are_refused_with_advice() {
    let (one, other) = (certificate(|_| {}), certificate(|_| {}));
    let server = serve_tls(&FakeServer::new(), tls_config(&one, &rustls::version::TLS13)).await;
    let error = refused(pinned(&format!("tls://{server}"), &other.pem)).await;
    assert!(error.contains("does not present the pinned certificate"), "{error}");

    let error = refused(ClientConfig::new(&format!("tls://{server}")).unwrap()).await;
    // A system without roots gives another error, which also contains this word.
    assert!(error.contains("pin"), "{error}");

    let plain = FakeServer::new().listen().await;
    let error = refused(pinned(&format!("tls://{plain}"), &one.pem)).await;
    assert!(error.contains("does not speak TLS"), "{error}");
}

#[tokio::test]
async fn holder_of_the_certificate_without_its_key_is_refused() {
    let (mut stolen, own) = (certificate(|_| {}), certificate(|_| {}));
    stolen.key = own.key;
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let server = serve_tls(&FakeServer::new(), tls_config(&stolen, version)).await;
        let error = refused(pinned(&format!("tls://{server}"), &stolen.pem)).await;
        assert!(error.contains("BadSignature"), "{error}");
    }
}

#[tokio::test]
async fn websocket_pings_are_answered_and_split_frames_are_joined() {
    let (server, mut sockets) = accept_ws().await;
    let config = ClientConfig::new(&format!("ws://{server}/deep/path")).unwrap();
    let connecting = tokio::spawn(Client::connect(config.extension(false)));
    let mut socket = sockets.recv().await.unwrap();
    socket.send(Message::Ping(Bytes::from_static(b"there?"))).await.unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap(), Message::Pong("there?".into()));
    // Greeting and message in three pieces, one of them empty.
    let mut bytes = b"\x12\x00IIIIIIIIIIIIIIII\x00\x00\x14\x00SSSSSSSSSSSSSSSS\x07\x00hi".to_vec();
    let end = bytes.split_off(25);
    for piece in [&bytes[..1], &[], &bytes[1..], &end] {
        socket.send(Message::Binary(Bytes::copy_from_slice(piece))).await.unwrap();
    }
    let client = connecting.await.unwrap().unwrap();
    assert_eq!(client.id().unwrap().as_bytes(), b"IIIIIIIIIIIIIIII");
    assert_eq!(client.topic(TOPIC).recv().await.unwrap().body, "hi");

    let closing = tokio::spawn(async move { client.close().await });
    assert!(matches!(socket.next().await.unwrap().unwrap(), Message::Close(_)));
    assert!(socket.next().await.is_none());
    closing.await.unwrap().unwrap();
}

#[tokio::test]
async fn close_frame_and_text_message_end_the_connection() {
    let (client, mut socket, mut sockets) = greeted().await;
    socket.close(None).await.unwrap();

    let mut socket = sockets.recv().await.unwrap();
    let second = Bytes::from_static(b"\x12\x00JJJJJJJJJJJJJJJJ\x00\x00");
    socket.send(Message::Binary(second)).await.unwrap();
    let id = next_id(&client, client.id().unwrap_or(waddell_client::PeerId::NIL)).await;
    if id.as_bytes() == b"IIIIIIIIIIIIIIII" {
        next_id(&client, id).await;
    }
    socket.send(Message::text("hello")).await.unwrap();
    sockets.recv().await.expect("the client has dialed again");
}

#[tokio::test]
async fn the_server_s_close_code_and_reason_reach_the_user() {
    let (client, mut socket, mut sockets) = greeted().await;
    client.topic(TOPIC).send_to(client.id().unwrap(), "x").await.unwrap();
    assert!(matches!(socket.next().await.unwrap().unwrap(), Message::Binary(_)));
    let code = CloseCode::Size;
    let reason = "no frame\u{1b}[2J has more than 100 bytes".into();
    socket.close(Some(CloseFrame { code, reason })).await.unwrap();
    // The client dials again, but the last message is lost with the first connection.
    let mut again = sockets.recv().await.unwrap();
    again.send(Message::Binary(GREETING)).await.unwrap();
    drop(client.watch().wait_for(|state| matches!(state, State::Ready { .. })).await.unwrap());

    let closing = tokio::spawn(async move { client.close().await });
    assert!(matches!(again.next().await.unwrap().unwrap(), Message::Close(_)));
    assert!(again.next().await.is_none());
    let error = closing.await.unwrap().unwrap_err();
    let CloseError::Lost(lost) = error else { panic!("{error:?}") };
    assert_eq!(lost.close_code(), Some(1009));
    assert_eq!(lost.close_reason(), Some("no frame[2J has more than 100 bytes"));
    let text = "the connection was lost: the server closed the WebSocket with code 1009: \
                no frame[2J has more than 100 bytes";
    assert_eq!(lost.to_string(), text);
}

#[tokio::test]
async fn subprotocol_is_offered_but_not_required() {
    let fake = FakeServer::new();
    let knows_none = serve_ws(&fake, None, false).await;
    let client = Client::connect(&format!("ws://{knows_none}")).await.unwrap();
    let first = client.id().unwrap();
    fake.cut();
    next_id(&client, first).await;
}

#[tokio::test]
async fn server_without_a_websocket_is_refused_with_its_answer() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = [0; 1024];
        let _ = stream.read(&mut request).await.unwrap();
        let answer = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
        stream.write_all(answer).await.unwrap();
    });
    let config = ClientConfig::new(&format!("ws://{server}/nowhere")).unwrap();
    let error = refused(config).await;
    assert!(error.starts_with(&format!("ws://{server}/nowhere: could not connect")), "{error}");
    assert!(error.contains("HTTP 404 Not Found"), "{error}");
}

#[tokio::test]
async fn dialer_carries_websocket_and_tls_too() {
    let fake = FakeServer::new();
    let certificate = certificate(|_| {});
    let acceptor = TlsAcceptor::from(tls_config(&certificate, &rustls::version::TLS13));
    let config = pinned("wss://behind.a.proxy", &certificate.pem).dialer(move || {
        let (near, far) = duplex(1024);
        let (fake, acceptor) = (fake.clone(), acceptor.clone());
        tokio::spawn(async move {
            let stream = acceptor.accept(far).await.unwrap();
            fake.serve(WsBytes::new(accept_async(stream).await.unwrap())).await;
        });
        async { Ok(near) }
    });
    let client = Client::connect(config).await.unwrap();
    let mut topic = client.topic(TOPIC);
    topic.send_to(client.id().unwrap(), "through").await.unwrap();
    assert_eq!(topic.recv().await.unwrap().body, "through");
}

fn pinned(url: &str, pem: &str) -> ClientConfig {
    ClientConfig::new(url).unwrap().server_cert(pem).unwrap()
}

async fn refused(config: ClientConfig) -> String {
    Client::connect(config.reconnect_attempts(0)).await.unwrap_err().to_string()
}

pub(crate) struct Certificate {
    pub(crate) pem: String,
    key: KeyPair,
}

/// Makes a self-signed certificate. It has no name unless `change` adds one.
pub(crate) fn certificate(change: impl FnOnce(&mut CertificateParams)) -> Certificate {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    change(&mut params);
    let key = KeyPair::generate().unwrap();
    Certificate { pem: params.self_signed(&key).unwrap().pem(), key }
}

/// Makes the certificate of an authority, and one that is signed by it and that `change` completes.
pub(crate) fn signed_certificate(
    change: impl FnOnce(&mut CertificateParams),
) -> (String, Certificate) {
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_key = KeyPair::generate().unwrap();
    let authority_pem = authority.self_signed(&authority_key).unwrap().pem();
    let issuer = Issuer::new(authority, authority_key);
    let mut params = CertificateParams::default();
    change(&mut params);
    let key = KeyPair::generate().unwrap();
    let pem = params.signed_by(&key, &issuer).unwrap().pem();
    (authority_pem, Certificate { pem, key })
}

/// Makes a server's TLS options. The key need not fit the certificate.
pub(crate) fn tls_config(
    certificate: &Certificate,
    version: &'static SupportedProtocolVersion,
) -> Arc<ServerConfig> {
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let key = PrivateKeyDer::from_pem_slice(certificate.key.serialize_pem().as_bytes()).unwrap();
    let key = provider.key_provider.load_private_key(key).unwrap();
    let chain = rustls::pki_types::CertificateDer::from_pem_slice(certificate.pem.as_bytes());
    let certified = rustls::sign::CertifiedKey::new(vec![chain.unwrap()], key);
    let resolver = rustls::sign::SingleCertAndKey::from(certified);
    let config = ServerConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(resolver));
    Arc::new(config)
}

pub(crate) async fn serve_tls(fake: &FakeServer, tls: Arc<ServerConfig>) -> SocketAddr {
    let fake = fake.clone();
    let acceptor = TlsAcceptor::from(tls);
    serve(move |stream| {
        let (fake, acceptor) = (fake.clone(), acceptor.clone());
        tokio::spawn(async move {
            if let Ok(stream) = acceptor.accept(stream).await {
                assert_eq!(stream.get_ref().1.alpn_protocol(), None);
                fake.serve(stream).await;
            }
        });
    })
    .await
}

async fn serve_ws(
    fake: &FakeServer,
    tls: Option<Arc<ServerConfig>>,
    subprotocol: bool,
) -> SocketAddr {
    let fake = fake.clone();
    serve(move |stream| {
        let (fake, tls) = (fake.clone(), tls.clone());
        tokio::spawn(async move {
            match tls {
                None => fake.serve(upgrade(stream, subprotocol).await).await,
                Some(tls) => {
                    let stream = TlsAcceptor::from(tls).accept(stream).await.unwrap();
                    fake.serve(upgrade(stream, subprotocol).await).await;
                }
            }
        });
    })
    .await
}

async fn upgrade<S>(stream: S, subprotocol: bool) -> WsBytes<S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    #[expect(clippy::result_large_err, reason = "tungstenite's signature")]
    let echo = |request: &Request, mut response: Response| {
        assert_eq!(request.uri().path(), "/ws");
        if subprotocol {
            let name = "Sec-WebSocket-Protocol";
            let offered = request.headers().get(name).expect("it is offered").clone();
            assert_eq!(offered, "waddell");
            response.headers_mut().insert(name, offered);
        }
        Ok(response)
    };
    match accept_hdr_async(stream, echo).await {
        Ok(socket) => WsBytes::new(socket),
        Err(error) => panic!("{error}"),
    }
}

/// Accepts WebSockets and hands them to the test, which acts as the server.
const GREETING: Bytes = Bytes::from_static(b"\x12\x00IIIIIIIIIIIIIIII\x00\x00");

type Socket = WebSocketStream<TcpStream>;

/// Connects a client. Returns it, the server's end of its WebSocket, and those of later dials.
async fn greeted() -> (Client, Socket, mpsc::UnboundedReceiver<Socket>) {
    let (server, mut sockets) = accept_ws().await;
    let config = ClientConfig::new(&format!("ws://{server}")).unwrap().extension(false);
    let connecting = tokio::spawn(Client::connect(config));
    let mut socket = sockets.recv().await.unwrap();
    socket.send(Message::Binary(GREETING)).await.unwrap();
    (connecting.await.unwrap().unwrap(), socket, sockets)
}

async fn accept_ws() -> (SocketAddr, mpsc::UnboundedReceiver<Socket>) {
    let (give, take) = mpsc::unbounded_channel();
    let server = serve(move |stream| {
        let give = give.clone();
        tokio::spawn(async move {
            #[expect(clippy::result_large_err, reason = "tungstenite's signature")]
            let echo = |request: &Request, mut response: Response| {
                let name = "Sec-WebSocket-Protocol";
                response.headers_mut().insert(name, request.headers()[name].clone());
                Ok(response)
            };
            let _ = give.send(accept_hdr_async(stream, echo).await.unwrap());
        });
    })
    .await;
    (server, take)
}

async fn serve(accept: impl Fn(TcpStream) + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            accept(stream);
        }
    });
    address
}

/// The server's end of a WebSocket as a stream of bytes.
struct WsBytes<S> {
    socket: WebSocketStream<S>,
    received: Bytes,
}

impl<S> WsBytes<S> {
    fn new(socket: WebSocketStream<S>) -> Self {
        Self { socket, received: Bytes::new() }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for WsBytes<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut tokio::io::ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        while self.received.is_empty() {
            match ready!(self.socket.poll_next_unpin(cx)) {
                Some(Ok(Message::Binary(payload))) => self.received = payload,
                Some(Ok(_other)) => {}
                Some(Err(_)) | None => return Poll::Ready(Ok(())),
            }
        }
        let len = self.received.len().min(buf.remaining());
        buf.put_slice(&self.received.split_to(len));
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for WsBytes<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        ready!(self.socket.poll_ready_unpin(cx)).map_err(std::io::Error::other)?;
        let message = Message::Binary(Bytes::copy_from_slice(buf));
        self.socket.start_send_unpin(message).map_err(std::io::Error::other)?;
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        self.socket.poll_flush_unpin(cx).map_err(std::io::Error::other)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        self.socket.poll_close_unpin(cx).map_err(std::io::Error::other)
    }
}
