//! The program `holdall serve`, over the wire.

use std::fs;
use std::io::Read;
use std::net::TcpListener;
use std::process::{Command, Stdio};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::support::http::Client;
use crate::support::program::{Server, holdall};
use crate::support::rng::Rng;

/// A directory, and the URL of the store in it.
fn store() -> (TempDir, String) {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("file:{}", directory.path().join("store").display());
    (directory, url)
}

/// Waits until an upload stands at an offset.
fn await_offset(server: &Server, path: &str, offset: u64) {
    let mut client = server.client();
    while client.offset(path).unwrap() != offset {
        std::thread::yield_now();
    }
}

#[test]
fn it_says_where_it_listens_and_what_it_says_to_try_works() {
    let (_directory, store) = store();
    let server = Server::start(&store, &[]);
    assert!(server.first_line().starts_with(&format!("holdall serves {store} at http://127.0.0.1:")));
    assert!(server.first_line().ends_with("/files/") && server.address().port() != 0);
    let mut client = server.client();
    let path = client.create(11, b"hello ").unwrap();
    assert_eq!(client.offset(&path).unwrap(), 6);
    assert_eq!(client.patch(&path, 6, b"world").unwrap().offset(), Some(11));
    assert_eq!(client.request("GET", &path, &[], b"").unwrap().body, b"hello world");

    let other = Server::start("memory:", &[]);
    let address = other.address();
    let (_, said, _) = other.stop();
    let commands =
        &said[said.find("location=").unwrap()..].replace(&address.to_string(), &server.address().to_string());
    if Command::new("curl").arg("--version").stdout(Stdio::null()).status().is_ok() {
        let output = Command::new("sh").arg("-ec").arg(commands).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "hello", "{commands}\n{output:?}");
    }
}

#[test]
fn a_stop_lets_running_requests_end_within_the_grace() {
    let (_directory, store) = store();
    let server = Server::start(&store, &["--grace", "1h"]);
    let mut client = server.client();
    let mut idle = server.client();
    let path = idle.create(10, b"").unwrap();
    client.begin_patch(&path, 0, 10).unwrap();
    client.send(b"01234").unwrap();
    await_offset(&server, &path, 5);
    server.signal(Signal::TERM);
    assert!(idle.is_closed(), "unused connections end at once");
    client.send(b"56789").unwrap();
    let answer = client.answer_to("PATCH").unwrap();
    assert_eq!((answer.status, answer.offset()), (204, Some(10)));
    assert!(client.is_closed());
    let address = server.address();
    assert_eq!(server.wait().0.code(), Some(0));
    assert!(Client::connect(address).is_err());
}

#[test]
fn past_the_grace_running_uploads_are_cut_and_what_arrived_is_kept() {
    for signal in [Signal::TERM, Signal::INT] {
        let (_directory, store) = store();
        let server = Server::start(&store, &["--grace", "100ms"]);
        let mut client = server.client();
        let path = client.create(1 << 20, b"").unwrap();
        client.begin_patch(&path, 0, 1 << 20).unwrap();
        let sent = Rng::new(1).bytes(300_000);
        client.send(&sent).unwrap();
        await_offset(&server, &path, 300_000);
        server.signal(signal);
        let answer = client.answer_to("PATCH").unwrap();
        assert_eq!(answer.status, 503, "{answer:?}");
        drop(client);
        assert_eq!(server.wait().0.code(), Some(0));

        let server = Server::start(&store, &[]);
        let mut client = server.client();
        assert_eq!(client.offset(&path).unwrap(), 300_000);
        let rest = vec![7; (1 << 20) - 300_000];
        assert_eq!(client.patch(&path, 300_000, &rest).unwrap().status, 204);
        assert!(client.request("GET", &path, &[], b"").unwrap().body == [sent, rest].concat());
    }
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let server = Server::start("memory:", &["--grace", "1h"]);
    let mut client = server.client();
    let path = client.create(10, b"").unwrap();
    client.begin_patch(&path, 0, 10).unwrap();
    client.send(b"01234").unwrap();
    await_offset(&server, &path, 5);
    server.signal(Signal::TERM);
    let refused = server.address();
    while Client::connect(refused).is_ok() {
        std::thread::yield_now();
    }
    server.signal(Signal::INT);
    assert_eq!(server.wait().0.code(), Some(130));
}

#[test]
fn killed_in_the_middle_it_goes_on_from_an_offset_no_smaller_than_any_it_reported() {
    let content = Rng::new(2).bytes(4 << 20);
    let (_directory, store) = store();
    let mut server = Server::start(&store, &[]);
    let path = server.client().create(content.len() as u64, b"").unwrap();
    let mut reported = 0;
    for round in 0..5 {
        let mut client = server.client();
        let offset = client.offset(&path).unwrap();
        assert!(offset >= reported, "{reported} was reported, and {offset} is left");
        let rest = &content[offset as usize..];
        client.begin_patch(&path, offset, rest.len() as u64).unwrap();
        client.send(&rest[..rest.len() / (6 - round)]).unwrap();
        let mut watcher = server.client();
        while reported < offset + 1 {
            reported = watcher.offset(&path).unwrap();
        }
        server.kill();
        server = Server::start(&store, &[]);
    }
    let mut client = server.client();
    let offset = client.offset(&path).unwrap();
    assert!(offset >= reported);
    assert_eq!(client.patch(&path, offset, &content[offset as usize..]).unwrap().status, 204);
    assert!(client.request("GET", &path, &[], b"").unwrap().body == content);
}

#[test]
fn a_client_that_is_slow_with_the_head_of_a_request_is_dropped() {
    let server = Server::start("memory:", &["--header-timeout", "100ms"]);
    for head in ["", "P", "PRI", "POST /fil", "GET /files/ HTTP/1.1\r\nHost: x\r\nX: "] {
        let mut client = server.client();
        client.send(head.as_bytes()).unwrap();
        assert!(client.is_closed(), "{head:?}");
    }
    let mut client = server.client();
    client.create(5, b"").unwrap();
    assert!(client.is_closed(), "an unused connection too");
}

#[test]
fn a_body_that_stalls_is_cut_and_what_arrived_is_kept() {
    let server = Server::start("memory:", &["--idle-timeout", "100ms"]);
    let mut client = server.client();
    let path = client.create(10, b"").unwrap();
    client.begin_patch(&path, 0, 10).unwrap();
    client.send(b"01234").unwrap();
    assert_eq!(client.answer_to("PATCH").unwrap().status, 503);
    assert_eq!(server.client().offset(&path).unwrap(), 5);
}

#[test]
fn a_client_that_takes_no_more_of_its_download_is_dropped() {
    const LENGTH: usize = 64 << 20;
    let server = Server::start("memory:", &["--idle-timeout", "100ms"]);
    let mut client = server.client();
    let path = client.create(LENGTH as u64, &vec![1; LENGTH]).unwrap();
    client.send_head("GET", &path, &[]).unwrap();
    server.signal(Signal::TERM);
    assert_eq!(server.wait().0.code(), Some(0), "nothing keeps the server");
    let mut received = Vec::new();
    let _ = client.stream().read_to_end(&mut received);
    assert!(received.len() < LENGTH);
}

#[test]
fn a_refused_client_gets_to_read_why_while_it_still_sends() {
    let server = Server::start("memory:", &["--max-size", "1MiB"]);
    let path = server.client().create(1 << 20, b"").unwrap();
    let too_long = vec![0; 8 << 20];
    let mut client = server.client();
    client.send_head("POST", "/files/", &[("Upload-Length", "1048577")]).unwrap();
    let answer = client.answer_to("POST").unwrap();
    assert_eq!(answer.status, 413);
    assert!(answer.text().contains("1048577") && answer.text().contains("1048576"), "{}", answer.text());
    assert_eq!(server.client().patch(&path, 0, &too_long).unwrap().status, 413);
    assert_eq!(server.client().patch(&path, 7, &too_long).unwrap().status, 409);

    let mut client = server.client();
    client.send_head("POST", "/files/", &[("X-Long", &"x".repeat(64 << 10))]).unwrap();
    assert_eq!(client.answer_to("POST").unwrap().status, 431);
    let mut client = server.client();
    client.send_head("POST", "/files/", &[("Upload-Length", "5"), ("X-Long", &"x".repeat(30 << 10))]).unwrap();
    assert_eq!(client.answer_to("POST").unwrap().status, 201);
    let mut client = server.client();
    client.send(b"nonsense\r\n\r\n").unwrap();
    assert_eq!(client.answer_to("GET").unwrap().status, 400);
}

#[test]
fn connections_beyond_the_limit_wait() {
    let server = Server::start("memory:", &["--max-connections", "1"]);
    let mut first = server.client();
    let path = first.create(5, b"").unwrap();
    let mut second = server.client();
    second.send_head("HEAD", &path, &[]).unwrap();
    second.stream().set_nonblocking(true).unwrap();
    assert_eq!(first.patch(&path, 0, b"hello").unwrap().status, 204);
    let early = second.stream().peek(&mut [0]).map_err(|error| error.kind());
    assert_eq!(early, Err(std::io::ErrorKind::WouldBlock));
    second.stream().set_nonblocking(false).unwrap();
    drop(first);
    assert_eq!(second.answer_to("HEAD").unwrap().offset(), Some(5));
}

#[tokio::test]
async fn http2_is_served_on_the_same_port() {
    use http_body_util::{BodyExt, Full};
    use hyper::Request;
    use hyper::body::Bytes;
    use hyper_util::rt::{TokioExecutor, TokioIo};

    let server = Server::start("memory:", &[]);
    let stream = tokio::net::TcpStream::connect(server.address()).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    let base = format!("http://{}", server.address());
    let request = |method: &str, path: &str| {
        Request::builder().method(method).uri(format!("{base}{path}")).header("tus-resumable", "1.0.0")
    };
    let chunk = ("content-type", "application/offset+octet-stream");
    let content = Bytes::from(Rng::new(3).bytes(3 << 20));

    let create = request("POST", "/files/").header("upload-length", content.len());
    let created = sender.send_request(create.body(Full::default()).unwrap()).await.unwrap();
    let path = created.headers()["location"].to_str().unwrap().to_owned();
    let patch = request("PATCH", &path).header("upload-offset", "0").header(chunk.0, chunk.1);
    let patched = sender.send_request(patch.body(Full::new(content.clone())).unwrap()).await.unwrap();
    assert_eq!(patched.status(), 204);
    let get = sender.send_request(request("GET", &path).body(Full::default()).unwrap()).await.unwrap();
    assert!(get.into_body().collect().await.unwrap().to_bytes() == content);

    server.signal(Signal::TERM);
    connection.await.unwrap().unwrap();
    assert_eq!(server.wait().0.code(), Some(0));
}

#[test]
fn over_http2_too_a_client_that_takes_nothing_is_cut() {
    /// RFC 9113, section 4.1.
    fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
        [&[0, 0, u8::try_from(payload.len()).unwrap(), kind, flags, 0, 0, 0, stream], payload].concat()
    }
    const PING: u8 = 6;
    let server = Server::start("memory:", &["--idle-timeout", "300ms"]);
    let path = server.client().create(5, b"hello").unwrap();

    // No window for any stream, then a GET: of its head, the static fields 2 and 6, and the names of the fields 4 and 1.
    let no_window = frame(4, 0, 0, &[0, 4, 0, 0, 0, 0]);
    let path = [&[4, u8::try_from(path.len()).unwrap()], path.as_bytes()].concat();
    let get = frame(1, 0x5, 1, &[&[0x82, 0x86], &path[..], &[1, 1, b'x']].concat());
    let mut client = server.client();
    client.send(&[b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &no_window[..], &get].concat()).unwrap();
    let mut received = Vec::new();
    client.stream().read_to_end(&mut received).unwrap();

    let mut kinds = Vec::new();
    while let [_, high, low, kind, ..] = received[..] {
        kinds.push(kind);
        received.drain(..9 + usize::from(u16::from_be_bytes([high, low])));
    }
    assert!(kinds.contains(&1), "it is answered");
    assert!(!kinds.contains(&PING), "it is cut for what it doesn't take, and not for a ping without an answer");
}

#[test]
fn each_flag_can_come_by_environment_and_the_flag_wins() {
    let (_directory, store) = store();
    let mut command = holdall(&["serve", "--max-size", "10B"]);
    for (name, value) in [
        ("STORE", &*store),
        ("LISTEN", "127.0.0.1:0"),
        ("BASE_PATH", "up/loads"),
        ("MAX_SIZE", "1B"),
        ("DURABILITY", "none"),
        ("GRACE", "7s"),
        ("HEADER_TIMEOUT", "7s"),
        ("IDLE_TIMEOUT", "7s"),
        ("SWEEP_AGE", "7d"),
        ("MAX_CONNECTIONS", "7"),
        ("THREADS", "1"),
        ("LOG", "info"),
        ("LOG_FORMAT", "json"),
        ("ACCESS_LOG", "1"),
    ] {
        command.env(format!("HOLDALL_{name}"), value);
    }
    let server = Server::run(command);
    assert!(server.first_line().contains(&store) && server.first_line().ends_with("/up/loads/"));
    let headers = [("Upload-Length", "10"), ("Authorization", "secret"), ("Upload-Metadata", "secret")];
    let answer = server.client().request("POST", "/up/loads/?token=secret", &headers, b"").unwrap();
    assert_eq!(answer.status, 201);
    assert_eq!(server.client().request("POST", "/up/loads/", &[("Upload-Length", "11")], b"").unwrap().status, 413);
    let (_, _, log) = server.stop();
    let lines: Vec<serde_json::Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let stop = lines.iter().find(|line| line["message"] == "stopping").unwrap();
    assert_eq!((&stop["signal"], &stop["grace"]), (&"SIGTERM".into(), &"7s".into()));
    let access: Vec<_> = lines.iter().filter(|line| line["target"] == "holdall::access").collect();
    assert_eq!((access[0]["status"].as_u64(), access[1]["status"].as_u64()), (Some(201), Some(413)));
    assert_eq!((&access[0]["method"], &access[0]["path"]), (&"POST".into(), &"/up/loads/".into()));
    assert!(!log.contains("secret"), "{log}");
}

#[test]
fn what_makes_no_sense_is_said_in_a_line_and_with_an_exit_code() {
    let (directory, _) = store();
    let file = directory.path().join("a-file");
    fs::write(&file, b"").unwrap();
    let below_a_file = format!("file:{}/store", file.display());
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    for (arguments, code, words) in [
        (&["--max-size", "5GiBs"][..], 2, &["--max-size", "5GiBs", "GiB"][..]),
        (&["--max-size", "-1"], 2, &["-1"]),
        (&["--grace", "soon"], 2, &["--grace", "soon"]),
        (&["--durability", "sometimes"], 2, &["--durability", "sometimes", "every-write"]),
        (&["--base-path", "/a b/"], 2, &["--base-path", "/a b/"]),
        (&["--max-connections", "0"], 2, &["--max-connections"]),
        (&["--log", "inof"], 2, &["--log", "inof", "info"]),
        (&["--log", "info,holdall=loud"], 2, &["--log"]),
        (&["--lissten", "127.0.0.1:0"], 2, &["--lissten", "--listen"]),
        (&["memory:", "memory:"], 2, &["memory:"]),
        (&["--listen", "nonsense"], 1, &["nonsense"]),
        (&["memory:", "--listen", &taken], 1, &[&taken, "in use"]),
        (&["memory:", "--durability", "none", "--listen", "127.0.0.1:0"], 1, &["--durability", "memory"]),
        (&["/srv/data"], 1, &["file:/srv/data"]),
        (&["ftp://host"], 1, &["ftp"]),
        (&["s3://id:hush@bucket"], 1, &["AWS_SECRET_ACCESS_KEY"]),
        (&["s3://bucket?secretkey=hush"], 1, &["secretkey"]),
        (&["s3://bucket?colour=red"], 1, &["colour"]),
        (&["s3://bucket", "--durability", "none"], 1, &["--durability", "S3"]),
        (&["--sweep-age", "59m"], 2, &["--sweep-age", "hour"]),
        (&["file:x?colour=red"], 1, &["colour=red"]),
        (&[&below_a_file, "--listen", "127.0.0.1:0"], 1, &["a-file", "directory"]),
    ] {
        let mut command = holdall(&["serve"]);
        command.args(arguments).current_dir(directory.path()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        if child.stdout.take().unwrap().read(&mut [0]).unwrap() > 0 {
            child.kill().unwrap();
            panic!("{arguments:?} is not refused");
        }
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        for word in words {
            assert!(said.contains(word), "{arguments:?} is answered without {word:?}: {said}");
        }
        assert!(!said.contains("hush"), "{said}");
        assert!(code == 2 || said.trim_end().lines().count() == 1, "{arguments:?}: {said}");
    }
    let help = String::from_utf8(holdall(&["serve", "--help"]).output().unwrap().stdout).unwrap();
    for flag in
        ["--listen", "--base-path", "--max-size", "--durability", "HOLDALL_LISTEN", "[default: file:holdall-data]"]
    {
        assert!(help.contains(flag), "{flag}");
    }
}
