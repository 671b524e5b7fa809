//! Answers of `ws`, `wss` and `auto` listeners to plain HTTP.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::process::Command;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use waddell_server::{Www, raise_descriptor_limit};
use waddell_tests::transport::Via;

use crate::support::admin::{by_label, serve_operators};
use crate::support::http::{UPGRADE, ask, ask_raw};
use crate::support::server::TestServer;
use crate::support::{pattern, soon, until};

#[tokio::test]
async fn requests_share_a_connection_and_the_last_may_open_a_websocket() {
    let server = TestServer::start();
    for via in Via::WEBSOCKETS {
        let mut stream = server.dial(via).await;
        let health = ask(&mut stream, "GET /healthz").await;
        assert_eq!((health.status, health.text()), (200, "ok\n"), "{via:?}");
        assert_eq!(ask(&mut stream, "GET /nothing/here").await.status, 404);
        assert_eq!(ask(&mut stream, "POST /healthz").await.status, 405);
        assert_eq!(ask(&mut stream, "GET /ws").await.status, 426);
        assert_eq!(ask(&mut stream, UPGRADE).await.status, 101, "{via:?}");
        let mut greeting = [0; 22];
        soon(stream.read_exact(&mut greeting)).await.expect("it comes");
        assert_eq!(greeting[..4], [0x82, 20, 18, 0], "{via:?}");
    }
}

#[tokio::test]
async fn a_websocket_is_opened_at_its_path_only() {
    let server = TestServer::start();
    for path in ["/", "/ws2", "/WS", "/x/ws", "/ws//", "//ws", "/ws%3fa"] {
        let mut stream = server.dial(Via::Ws).await;
        let response = ask(&mut stream, &UPGRADE.replace("/ws", path)).await;
        assert_ne!(response.status, 101, "{path}");
    }
    for target in
        ["/ws?a=b", "/ws/", "/ws/?a=/b", "/%77s", "http://example.org/ws?a", "HTTP://x:1/ws"]
    {
        let mut stream = server.dial(Via::Ws).await;
        assert_eq!(ask(&mut stream, &UPGRADE.replace("/ws", target)).await.status, 101, "{target}");
    }
}

/// The headers of a handshake are lists or single values, and in any order (RFC 6455, 4.2.1).
#[tokio::test]
async fn a_websocket_handshake_is_read_as_http_has_it() {
    const KEY: &str = "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==";
    let server = TestServer::start();
    for (old, new, status) in [
        ("connection: upgrade", "connection: keep-alive\nconnection: Upgrade", 101),
        ("connection: upgrade", "Connection: keep-alive,\tUPGRADE , x", 101),
        ("connection: upgrade", "connection: keep-alive", 426),
        ("connection: upgrade", "connection: upgrades", 426),
        ("upgrade: websocket", "upgrade: h2c\nupgrade: WebSocket", 101),
        ("upgrade: websocket", "upgrade: h2c, websocket", 101),
        ("upgrade: websocket", "upgrade: h2c", 426),
        ("version: 13", "version: 13\nsec-websocket-version: 13", 426),
        ("version: 13", "version: 12, 13", 426),
        (KEY, "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ", 426),
        (KEY, "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ===", 426),
        (KEY, "sec-websocket-key: dGhlIHNhbXBs*SBub25jZQ==", 426),
        (KEY, &format!("{KEY}\n{KEY}"), 426),
        (KEY, "", 426),
    ] {
        let mut stream = server.dial(Via::Ws).await;
        let response = ask(&mut stream, &UPGRADE.replace(old, new)).await;
        assert_eq!(response.status, status, "{new}");
        if status == 101 {
            let accept = response.header("sec-websocket-accept");
            assert_eq!(accept, Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{new}");
        } else {
            assert_eq!(response.header("sec-websocket-version"), Some("13"));
            assert!(response.text().starts_with("expected a WebSocket handshake: "), "{new}");
        }
    }
}

/// Source: RFC 9112, section 3.2.
#[tokio::test]
async fn a_request_of_http_1_1_has_one_host_and_a_target_that_is_a_path_or_a_url() {
    let server = TestServer::start_with(serve_operators);
    let admin = server.admin.expect("it is configured");
    for (request, status, words) in [
        ("GET /healthz HTTP/1.1\r\n", 400, "no header Host"),
        ("GET /healthz HTTP/1.1\r\nhost: x\r\nHost: x\r\n", 400, "more than one header Host"),
        ("GET /healthz HTTP/1.0\r\nhost: x\r\nhost: y\r\n", 400, "more than one header Host"),
        ("GET /healthz HTTP/1.1\r\nhost: a b\r\n", 400, "header Host is not a host"),
        ("GET /healthz HTTP/1.1\r\nhost: user@x\r\n", 400, "header Host is not a host"),
        ("GET * HTTP/1.1\r\nhost: x\r\n", 400, "the target * is for OPTIONS"),
        ("GET example.org:80 HTTP/1.1\r\nhost: x\r\n", 400, "must begin with a slash"),
        ("GET /healthz HTTP/1.1\r\nhost:\r\n", 200, "ok"),
        ("GET /healthz HTTP/1.1\r\nhost: [::1]:80\r\n", 200, "ok"),
        ("GET /healthz HTTP/1.0\r\n", 200, "ok"),
        ("GET http://example.org/healthz HTTP/1.1\r\nhost: x\r\n", 200, "ok"),
        ("GET /healthz?x=/%00 HTTP/1.1\r\nhost: x\r\n", 200, "ok"),
    ] {
        let operator = soon(TcpStream::connect(admin)).await.expect("it listens");
        for mut stream in [server.connect("ws").await, server.connect("auto").await, operator] {
            let answer = ask_raw(&mut stream, &format!("{request}\r\n")).await;
            assert_eq!(answer.status, status, "{request}: {answer:?}");
            assert!(answer.text().contains(words), "{request}: {answer:?}");
        }
    }
    let mut stream = server.connect("ws").await;
    assert_eq!(ask(&mut stream, "GET /h%65althz").await.text(), "ok\n");
    let no_text = ask(&mut stream, "GET /%ff").await;
    assert_eq!((no_text.status, no_text.text()), (400, "the path is not UTF-8\n"));
}

#[tokio::test]
async fn every_path_has_head_and_options_and_refuses_other_methods() {
    let server = TestServer::start_with(serve_operators);
    let admin = server.admin.expect("it is configured");
    let mut client = server.connect("ws").await;
    let mut operator = soon(TcpStream::connect(admin)).await.expect("it listens");
    for path in ["/", "/healthz", "/nothing", "/ws", "/ws/", "/pkg/x", "/readyz", "/metrics"] {
        for stream in [&mut client, &mut operator] {
            let get = ask(stream, &format!("GET {path}")).await;
            let head = ask(stream, &format!("HEAD {path}")).await;
            assert_eq!((head.status, head.body.len()), (get.status, 0), "{path}");
            assert_eq!(head.header("content-type"), get.header("content-type"), "{path}");
            let options = ask(stream, &format!("OPTIONS {path}")).await;
            assert_eq!((options.status, options.header("content-length")), (204, None), "{path}");
            assert_eq!(options.header("allow"), Some("GET, HEAD, OPTIONS"), "{path}");
            let post = ask(stream, &format!("POST {path}")).await;
            assert_eq!((post.status, post.header("allow")), (405, Some("GET, HEAD, OPTIONS")));
            assert!(post.text().contains("only GET, HEAD and OPTIONS"), "{}", post.text());
        }
    }
    for stream in [&mut client, &mut operator] {
        assert_eq!(ask(stream, "OPTIONS *").await.status, 204);
    }
    assert_eq!(ask(&mut client, "BREW /pot").await.status, 501);
    // The connection ends: the body is not read.
    let mut stream = server.connect("ws").await;
    assert_eq!(ask(&mut stream, "PUT /x\ncontent-length: 1000000").await.status, 405);
    let mut stream = server.connect("ws").await;
    assert_eq!(ask(&mut stream, "CONNECT example.org:80").await.status, 405);
    let answers = by_label(&server, "waddell_http_answers_total").await;
    let count = |status: &str| answers.iter().find(|(label, _)| label == status).map(|it| it.1);
    // Eight paths and `*`; eight paths, PUT and CONNECT.
    assert_eq!((count("204"), count("405"), count("501")), (Some(9), Some(10), Some(1)));
}

#[tokio::test]
async fn the_package_may_be_imported_from_pages_of_any_origin_and_nothing_else() {
    let server = TestServer::start();
    let mut stream = server.dial(Via::Ws).await;
    const ORIGIN: &str = "access-control-allow-origin";
    const RESOURCE: &str = "cross-origin-resource-policy";
    for request in ["GET /pkg/waddell.js", "HEAD /pkg/waddell.js", "OPTIONS /pkg/waddell.js"] {
        let answer = ask(&mut stream, &format!("{request}\norigin: https://example.org")).await;
        assert_eq!(answer.header(ORIGIN), Some("*"), "{request}");
        assert_eq!(answer.header(RESOURCE), Some("cross-origin"), "{request}");
        if answer.status == 204 {
            assert_eq!(answer.header("access-control-allow-methods"), Some("GET, HEAD, OPTIONS"));
            assert_eq!(answer.header("access-control-allow-headers"), Some("*"));
        }
    }
    for path in ["/", "/healthz", "/ws", "/pkg", "/main.js"] {
        for method in ["GET", "OPTIONS"] {
            let request = format!("{method} {path}\norigin: https://example.org");
            let answer = ask(&mut stream, &request).await;
            assert_eq!((answer.header(ORIGIN), answer.header(RESOURCE)), (None, None), "{request}");
        }
    }
}

/// As `nc -N`, HTTP/1.0 clients and some health checks do. The end of the stream often arrives with
/// the request, and sometimes after it; both have to occur, so there are many connections.
#[tokio::test]
async fn a_client_that_closes_its_sending_half_after_a_request_is_answered() {
    let server = TestServer::start_with(serve_operators);
    let admin = server.admin.expect("it is configured");
    for round in 0..200 {
        for (target, request, status) in [
            ("ws", "GET /", 200),
            ("ws", "GET /healthz", 200),
            ("ws", "GET /ws", 426),
            ("auto", "GET /nothing/here", 404),
            ("admin", "GET /healthz", 200),
        ] {
            let mut stream = match target {
                "admin" => soon(TcpStream::connect(admin)).await.expect("it listens"),
                scheme => server.connect(scheme).await,
            };
            let text = format!("{request} HTTP/1.1\r\nhost: localhost\r\n\r\n");
            stream.write_all(text.as_bytes()).await.expect("it is connected");
            stream.shutdown().await.expect("it is connected");
            let mut answer = Vec::new();
            soon(stream.read_to_end(&mut answer)).await.expect("the server closes in order");
            let answer = String::from_utf8_lossy(&answer);
            let expected = format!("HTTP/1.1 {status} ");
            assert!(answer.starts_with(&expected), "{target}, {request}, {round}: {answer:?}");
        }
    }
}

#[tokio::test]
async fn head_is_answered_like_get_and_an_etag_saves_the_body() {
    let server = TestServer::start();
    let mut stream = server.dial(Via::Ws).await;
    let page = ask(&mut stream, "GET /").await;
    assert_eq!(page.status, 200);
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    assert!(page.text().contains("<!doctype html>"), "{}", page.text());
    let policy = page.header("content-security-policy").expect("there is one");
    assert!(policy.starts_with("default-src 'none'; script-src 'self'"), "{policy}");
    assert_eq!(page.header("x-content-type-options"), Some("nosniff"));

    let head = ask(&mut stream, "HEAD /").await;
    assert_eq!(head.status, 200);
    for name in ["content-length", "content-type", "etag", "content-security-policy"] {
        assert_eq!(head.header(name), page.header(name), "{name}");
    }
    let etag = page.header("etag").expect("there is one");
    for known in [etag, "*", &format!("W/{etag}"), &format!("\"other\", {etag}")] {
        let same = ask(&mut stream, &format!("GET /\nif-none-match: {known}")).await;
        assert_eq!((same.status, same.header("etag")), (304, Some(etag)), "{known}");
    }
    let other = ask(&mut stream, "GET /\nif-none-match: \"other\"").await;
    assert_eq!((other.status, other.body.len()), (200, page.body.len()));
}

#[tokio::test]
async fn only_listed_origins_may_connect() {
    let server = TestServer::start_with(|config| {
        config.http.origins =
            vec!["https://example.org".to_owned(), "http://localhost:8080".to_owned()];
    });
    for (origin, status) in [
        ("origin: https://example.org", 101),
        ("origin: http://localhost:8080", 101),
        ("origin: https://example.com", 403),
        ("origin: http://example.org", 403),
        ("origin: https://example.org.evil.example", 403),
        ("origin: null", 403),
        ("origin: https://example.org\norigin: https://example.com", 403),
        ("origin: https://example.org\norigin: https://example.org", 101),
        // Without an Origin header the client is no browser, and no page controls it.
        ("", 101),
    ] {
        let mut stream = server.dial(Via::Ws).await;
        let response = ask(&mut stream, &format!("{UPGRADE}\n{origin}")).await;
        assert_eq!(response.status, status, "{origin}");
    }
    let open = TestServer::start();
    let mut stream = open.dial(Via::Ws).await;
    let response = ask(&mut stream, &format!("{UPGRADE}\norigin: https://anyone.example")).await;
    assert_eq!(response.status, 101);
}

#[tokio::test]
async fn a_large_file_arrives_whole_and_is_sent_only_if_needed() {
    let folder = tempfile::tempdir().expect("there is room");
    let contents = pattern(3_000_000, 7);
    fs::write(folder.path().join("large"), &contents).expect("there is room");
    fs::write(folder.path().join("empty"), "").expect("there is room");
    let www = folder.path().to_owned();
    let server = TestServer::start_with(|config| config.http.www = Www::Folder(www));
    for via in Via::WEBSOCKETS {
        let mut stream = server.dial(via).await;
        let head = ask(&mut stream, "HEAD /large").await;
        assert_eq!((head.status, head.header("content-length")), (200, Some("3000000")));
        let file = ask(&mut stream, "GET /large").await;
        assert!(file.status == 200 && file.body == contents, "{via:?}");
        let etag = file.header("etag").expect("there is one");
        let request = format!("GET /large\nif-none-match: {etag}");
        assert_eq!(ask(&mut stream, &request).await.status, 304);
        let empty = ask(&mut stream, "GET /empty").await;
        assert_eq!((empty.status, empty.header("content-length")), (200, Some("0")));
    }
}

#[tokio::test]
async fn a_folder_is_served_and_nothing_outside_it() {
    let folder = tempfile::tempdir().expect("there is room");
    let www = folder.path().join("www");
    fs::create_dir_all(www.join("sub")).expect("there is room");
    for (file, text) in [
        ("secret.txt", "secret"),
        ("www/index.html", "the page"),
        ("www/a b.js", "a script"),
        ("www/sub/index.html", "another page"),
        ("www/.hidden", "secret"),
    ] {
        fs::write(folder.path().join(file), text).expect("there is room");
    }
    let server = TestServer::start_with(|config| config.http.www = Www::Folder(www));
    let mut stream = server.dial(Via::Ws).await;
    for (path, text, kind) in [
        ("/", "the page", "text/html; charset=utf-8"),
        ("/index.html?v=1", "the page", "text/html; charset=utf-8"),
        ("/a%20b.js", "a script", "text/javascript; charset=utf-8"),
        ("/sub/", "another page", "text/html; charset=utf-8"),
    ] {
        let response = ask(&mut stream, &format!("GET {path}")).await;
        assert_eq!((response.status, response.text()), (200, text), "{path}");
        assert_eq!(response.header("content-type"), Some(kind), "{path}");
        let etag = response.header("etag").expect("there is one");
        let same = ask(&mut stream, &format!("GET {path}\nif-none-match: {etag}")).await;
        assert_eq!(same.status, 304, "{path}");
    }
    for path in [
        "/../secret.txt",
        "/%2e%2e/secret.txt",
        "/..%2fsecret.txt",
        "/sub/../../secret.txt",
        "//etc/passwd",
        "/%2fetc/passwd",
        "/.hidden",
        "/missing",
        "/index.html%00",
        "/%",
    ] {
        let response = ask(&mut stream, &format!("GET {path}")).await;
        assert_eq!((response.status, response.text()), (404, "not found\n"), "{path}");
    }
}

#[tokio::test]
async fn links_are_followed_inside_the_folder_only_and_special_files_are_not_opened() {
    let folder = tempfile::tempdir().expect("there is room");
    let www = folder.path().join("www");
    fs::create_dir_all(www.join(".generation/sub")).expect("there is room");
    fs::create_dir_all(www.join("empty")).expect("there is room");
    fs::create_dir_all(folder.path().join("www-other")).expect("there is room");
    fs::write(folder.path().join("www-other/index.html"), "secret").expect("there is room");
    fs::write(www.join(".generation/page.bin"), "the page").expect("there is room");
    fs::write(www.join(".generation/sub/index.html"), "another").expect("there is room");
    for (link, target) in [
        ("index.html", ".generation/page.bin"),
        ("absolute.html", www.join(".generation/page.bin").to_str().expect("it is text")),
        ("inside", ".generation/sub"),
        ("outside.html", "../www-other/index.html"),
        ("outside", "../www-other"),
        ("around", "../www/.generation/page.bin"),
        ("empty/index.html", "../../www-other/index.html"),
        ("secret", "/etc/passwd"),
        ("device", "/dev/zero"),
        ("circle", "circle"),
        ("missing", "nothing"),
    ] {
        symlink(target, www.join(link)).expect("there is room");
    }
    let made = Command::new("mkfifo").arg(www.join("pipe")).status().expect("it is installed");
    assert!(made.success());
    let _socket = UnixListener::bind(www.join("socket")).expect("there is room");
    let link = folder.path().join("link-to-www");
    symlink(&www, &link).expect("there is room");
    let server = TestServer::start_with(|config| config.http.www = Www::Folder(link));
    let mut stream = server.dial(Via::Ws).await;
    for (path, text, kind) in [
        ("/", "the page", "text/html; charset=utf-8"),
        ("/absolute.html", "the page", "text/html; charset=utf-8"),
        ("/inside/", "another", "text/html; charset=utf-8"),
        ("/inside/index.html", "another", "text/html; charset=utf-8"),
        ("/around", "the page", "application/octet-stream"),
    ] {
        let answer = ask(&mut stream, &format!("GET {path}")).await;
        assert_eq!((answer.status, answer.text()), (200, text), "{path}");
        assert_eq!(answer.header("content-type"), Some(kind), "{path}");
    }
    for path in [
        "/outside.html",
        "/outside/",
        "/outside/index.html",
        "/empty/",
        "/secret",
        "/device",
        "/circle",
        "/missing",
        "/pipe",
        "/socket",
        "/.generation/page.bin",
    ] {
        for method in ["GET", "HEAD"] {
            assert_eq!(ask(&mut stream, &format!("{method} {path}")).await.status, 404, "{path}");
        }
    }
}

/// More clients than may leave their answers unread. Those that have done so for longest give way.
#[tokio::test]
async fn answers_that_are_not_read_are_given_up_when_there_are_too_many() {
    const UNREAD: u64 = 512;
    raise_descriptor_limit();
    let folder = tempfile::tempdir().expect("there is room");
    let large = fs::File::create(folder.path().join("large")).expect("there is room");
    large.set_len(64 << 20).expect("it takes no room");
    let www = folder.path().to_owned();
    let server = TestServer::start_with(|config| config.http.www = Www::Folder(www));
    let mut first = Vec::new();
    for number in 0..UNREAD + 20 {
        let mut stream = server.connect_narrow("ws").await;
        let request = b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n";
        soon(stream.write_all(request)).await.expect("it is connected");
        // The answer has begun.
        soon(stream.readable()).await.expect("it is connected");
        first.push(stream);
        if number % 100 == 0 {
            assert_eq!(ask(&mut server.dial(Via::Ws).await, "GET /healthz").await.status, 200);
        }
    }
    until(|| server.metrics().http_answers_unread == 20).await;
    let mut newest = first.pop().expect("there are some");
    let mut read = [0; 1 << 16];
    let mut len = 0;
    while len < 64 << 20 {
        len += soon(newest.read(&mut read)).await.expect("it is connected");
    }
    for mut oldest in first.into_iter().take(10) {
        let mut len = 0;
        // It ends with a reset, or in order.
        while let Ok(more @ 1..) = soon(oldest.read(&mut read)).await {
            len += more;
        }
        assert!(len < 64 << 20, "{len}");
    }
}

/// More clients than may send a large head at a time. Those that have done so for longest give way.
#[tokio::test]
async fn large_heads_are_given_up_when_there_are_too_many_that_are_incomplete() {
    const LARGE_HEADS: usize = 512;
    raise_descriptor_limit();
    let server = TestServer::start();
    let head = format!("GET /healthz HTTP/1.1\r\nhost: x\r\ncookie: {}", "a".repeat(9000));
    let mut clients = Vec::new();
    for _client in 0..LARGE_HEADS + 20 {
        let mut stream = server.dial(Via::Ws).await;
        soon(stream.write_all(head.as_bytes())).await.expect("it is connected");
        clients.push(stream);
    }
    until(|| server.metrics().handshakes_failed == 20).await;
    // A large head that is complete needs no place, however many requests have one.
    let mut newest = clients.pop().expect("there are some");
    soon(newest.write_all(b"\r\n\r\n")).await.expect("it is connected");
    let mut answer = [0; 12];
    soon(newest.read_exact(&mut answer)).await.expect("it is answered");
    assert_eq!(&answer, b"HTTP/1.1 200");
    assert_eq!(ask(&mut server.dial(Via::Ws).await, "GET /").await.status, 200);
}

#[tokio::test]
async fn the_page_can_be_switched_off() {
    let server = TestServer::start_with(|config| config.http.www = Www::Off);
    let mut stream = server.dial(Via::Ws).await;
    assert_eq!(ask(&mut stream, "GET /").await.status, 404);
    assert_eq!(ask(&mut stream, "GET /index.html").await.status, 404);
    assert_eq!(ask(&mut stream, "GET /healthz").await.status, 200);
    assert_eq!(ask(&mut stream, UPGRADE).await.status, 101);
}

#[tokio::test]
async fn invalid_http_is_answered_as_such_and_makes_no_peer() {
    let server = TestServer::start();
    for bytes in [&b"\x01\0k"[..], b"hello\r\n\r\n", &[0xff; 20_000]] {
        let mut stream = server.connect("ws").await;
        // The server may close the connection before it has read everything.
        let _ = soon(stream.write_all(bytes)).await;
        let mut answer = Vec::new();
        let _ = soon(stream.read_to_end(&mut answer)).await;
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 4"), "{answer:?}");
    }
    until(|| server.metrics().handshakes_failed == 3).await;
    assert_eq!(server.metrics().peers_connected, 0);
}
