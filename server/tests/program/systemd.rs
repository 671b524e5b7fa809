//! The server under a service manager: messages to it, and sockets inherited from it.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use crate::support::{PATIENCE, PROGRAM, Running, fails, greeting, text, until};

/// A service manager, which receives the messages of a server on a socket.
struct Manager {
    socket: UnixDatagram,
    path: PathBuf,
    _folder: tempfile::TempDir,
}

impl Manager {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("the disk has room");
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).expect("the disk has room");
        socket.set_read_timeout(Some(PATIENCE)).expect("it is a socket");
        Self { socket, path, _folder: folder }
    }

    /// Returns the lines of the next message that is not for the watchdog.
    fn message(&self) -> Vec<String> {
        loop {
            let lines = self.any_message();
            if lines != ["WATCHDOG=1"] {
                return lines;
            }
        }
    }

    /// Returns the lines of all messages that have arrived.
    fn waiting(&self) -> Vec<String> {
        self.socket.set_nonblocking(true).expect("it is a socket");
        let mut lines = Vec::new();
        let mut buffer = [0; 4096];
        while let Ok(len) = self.socket.recv(&mut buffer) {
            let text = str::from_utf8(&buffer[..len]).expect("it is text");
            lines.extend(text.lines().map(str::to_owned));
        }
        lines
    }

    /// Returns the lines of the next message.
    fn any_message(&self) -> Vec<String> {
        let mut buffer = [0; 4096];
        let len = self.socket.recv(&mut buffer).expect("a message arrives");
        let text = str::from_utf8(&buffer[..len]).expect("it is text");
        text.lines().map(str::to_owned).collect()
    }
}

#[test]
fn readiness_reloads_and_shutdown_are_reported_to_the_service_manager() {
    let manager = Manager::new();
    let folder = tempfile::tempdir().expect("the disk has room");
    let file = folder.path().join("waddell.toml");
    fs::write(&file, "max-connections = 10\n").expect("the disk has room");
    let mut server = Running::start_command(
        Command::new(PROGRAM)
            .args(["--listen", "tcp://127.0.0.1:0", "--config", text(&file)])
            .args(["--drain-delay=1ms", "--drain-timeout=20s"])
            .env("NOTIFY_SOCKET", &manager.path),
        1,
    );
    assert_eq!(manager.message(), ["READY=1", "STATUS=serving"]);
    greeting(&mut server.connect(0));

    for (line, status) in [
        ("max-connections = 20", "STATUS=serving"),
        ("workers = 3", "STATUS=serving; a restart is needed for workers"),
        ("outbox = \"tiny\"", "STATUS=serving; the last reload failed: "),
    ] {
        fs::write(&file, line).expect("the disk has room");
        server.signal("HUP");
        let reloading = manager.message();
        let [first, time] = &reloading[..] else { panic!("{reloading:?}") };
        assert_eq!(first, "RELOADING=1");
        let time = time.strip_prefix("MONOTONIC_USEC=").expect("the message has the time");
        assert!(time.parse::<u64>().is_ok_and(|time| time > 0), "{time}");
        let reloaded = manager.message();
        assert_eq!(reloaded[0], "READY=1");
        assert!(reloaded[1].starts_with(status), "{reloaded:?}");
    }

    server.signal("TERM");
    let stopping = manager.message();
    assert_eq!(stopping[..2], ["STOPPING=1", "EXTEND_TIMEOUT_USEC=25001000"]);
    assert_eq!(server.ended().0, Some(0));
}

#[test]
fn a_reload_in_a_shutdown_does_not_say_that_the_server_is_ready() {
    let manager = Manager::new();
    let mut server = Running::start_command(
        Command::new(PROGRAM)
            .args(["--listen", "tcp://127.0.0.1:0", "--drain-delay=1h"])
            .env("NOTIFY_SOCKET", &manager.path),
        1,
    );
    assert_eq!(manager.message()[0], "READY=1");
    let mut log = server.log();
    server.signal("TERM");
    assert_eq!(manager.message()[0], "STOPPING=1");
    server.signal("HUP");
    assert!(log.any(|line| line.is_ok_and(|line| line.contains("configuration reloaded"))));
    // A second signal ends the program at once.
    server.signal("TERM");
    assert_eq!(server.exit_code(), Some(1));
    assert_eq!(manager.waiting(), Vec::<String>::new());
}

#[test]
fn the_watchdog_is_answered_while_all_workers_answer() {
    let manager = Manager::new();
    let mut command = Command::new(PROGRAM);
    command.args(["--listen", "tcp://127.0.0.1:0"]).env("NOTIFY_SOCKET", &manager.path);
    let mut watched = Running::start_command(command.env("WATCHDOG_USEC", "20000"), 1);
    assert_eq!(manager.any_message()[0], "READY=1");
    for _ in 0..5 {
        assert_eq!(manager.any_message(), ["WATCHDOG=1"]);
    }
    watched.signal("TERM");
    assert_eq!(watched.ended().0, Some(0));
    // The watchdog of another process is ignored.
    let manager = Manager::new();
    let mut unwatched = Running::start_command(
        command.env("NOTIFY_SOCKET", &manager.path).env("WATCHDOG_PID", "1"),
        1,
    );
    assert_eq!(manager.any_message()[0], "READY=1");
    unwatched.signal("TERM");
    assert_eq!(manager.any_message()[0], "STOPPING=1");
    assert_eq!(unwatched.ended().0, Some(0));
}

/// Returns a command that inherits `socket` as from systemd: as descriptor 3, with its name, and
/// with the id of the process that is to use it.
fn inheriting(socket: &TcpListener, name: &str, arguments: &[&str]) -> Command {
    let socket = OwnedFd::from(socket.try_clone().expect("there are descriptors left"));
    let mut command = Command::new("sh");
    command
        .args(["-c", "LISTEN_PID=$$ exec \"$0\" \"$@\" 3<&0 </dev/null", PROGRAM])
        .args(arguments)
        .env("LISTEN_FDS", "1")
        .env("LISTEN_FDNAMES", name)
        .stdin(Stdio::from(socket));
    command
}

fn bound() -> (TcpListener, String) {
    let socket = TcpListener::bind("127.0.0.1:0").expect("there are free ports");
    let address = socket.local_addr().expect("it is bound").to_string();
    (socket, address)
}

#[test]
fn an_inherited_socket_serves_the_listener_with_its_address() {
    let (socket, address) = bound();
    let url = format!("tcp://{address}");
    // The name of the socket's unit has no meaning. The other listener is bound as usual.
    let arguments = ["--listen", &url, "--listen", "ws://127.0.0.1:0"];
    let server = Running::start_command(&mut inheriting(&socket, "waddell.socket", &arguments), 2);
    assert_eq!(server.urls()[0], url);
    greeting(&mut server.connect(0));
    assert_ne!(server.urls()[1], format!("ws://{address}"));
}

#[test]
fn an_inherited_socket_whose_name_is_a_scheme_needs_no_listen_url() {
    let (socket, address) = bound();
    let server = Running::start_command(&mut inheriting(&socket, "ws", &[]), 1);
    assert_eq!(server.urls(), [format!("ws://{address}")]);
    let mut stream = server.connect(0);
    stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").expect("the connection is open");
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).expect("the server answers");
    assert_eq!(&answer, b"HTTP/1.1 200");
}

#[test]
fn an_unused_inherited_socket_is_an_error_that_says_what_to_do() {
    let (socket, address) = bound();
    let other = ["--listen", "tcp://127.0.0.1:0"];
    fails(&mut inheriting(&socket, "x", &other), 2, &format!("add --listen tcp://{address}"));
    fails(&mut inheriting(&socket, "auto", &other), 2, &format!("add --listen auto://{address}"));
    let url = format!("tcp://{address}");
    let different = ["--listen", &url];
    fails(&mut inheriting(&socket, "ws", &different), 2, &format!("add --listen ws://{address}"));
    // The descriptor is not a socket.
    let mut command = inheriting(&socket, "x", &other);
    fails(command.stdin(Stdio::null()), 2, "socket unit");
}

#[test]
fn sockets_for_another_process_are_not_used() {
    let (socket, address) = bound();
    let mut command = Command::new(PROGRAM);
    let descriptor = OwnedFd::from(socket.try_clone().expect("there are descriptors left"));
    command.env("LISTEN_FDS", "1").env("LISTEN_PID", "1").stdin(Stdio::from(descriptor));
    let server = Running::start_command(command.args(["--listen", "tcp://127.0.0.1:0"]), 1);
    assert_ne!(server.urls()[0], format!("tcp://{address}"));
}

/// Clients connect all the time and wait for their greetings, while one server after the other
/// serves the socket. The next server starts before or after the end of the one before.
#[test]
fn an_upgrade_refuses_no_client() {
    for scheme in ["tcp", "ws", "auto"] {
        upgrade(scheme);
    }
}

fn upgrade(scheme: &str) {
    let (socket, address) = bound();
    let websocket = scheme == "ws";
    let greeted = Arc::new(AtomicUsize::new(0));
    let enough = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (address, greeted) = (address.clone(), Arc::clone(&greeted));
            let enough = Arc::clone(&enough);
            thread::spawn(move || {
                while !enough.load(Ordering::Relaxed) {
                    let mut stream = TcpStream::connect(&address).expect("no client is refused");
                    stream.set_read_timeout(Some(PATIENCE)).expect("it is a socket");
                    if websocket {
                        open_websocket(&mut stream);
                    }
                    greeting(&mut stream);
                    greeted.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let start = || {
        let url = format!("{scheme}://{address}");
        let arguments = ["--listen", &url, "--workers=2", "--log=warn", "--auto-silence=20ms"];
        Running::start_command(&mut inheriting(&socket, "waddell.socket", &arguments), 1)
    };
    let serves = || {
        let before = greeted.load(Ordering::Relaxed);
        until(|| {
            // Ends the test at once if a client failed.
            let wait = clients.iter().all(|client| !client.is_finished());
            assert!(wait, "a client was refused or not greeted");
            greeted.load(Ordering::Relaxed) > before + 100
        });
    };
    let mut server = start();
    serves();
    for generation in 0..6 {
        server.signal("TERM");
        let next = if generation % 2 == 0 {
            let next = start();
            assert_eq!(server.ended().0, Some(0));
            next
        } else {
            assert_eq!(server.ended().0, Some(0));
            start()
        };
        server = next;
        serves();
    }
    enough.store(true, Ordering::Relaxed);
    for client in clients {
        client.join().expect("every client is greeted");
    }
}

/// Opens a WebSocket, and reads up to the payload of the first message.
fn open_websocket(stream: &mut TcpStream) {
    let request = "GET /ws HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
        sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(request.as_bytes()).expect("the connection is open");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("it is answered");
        head.extend(byte);
    }
    assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&head));
    stream.read_exact(&mut [0; 2]).expect("a message arrives");
}
