//! The server on a file system that forgets at a power cut what was not synced: what it acknowledged is never missing.
//!
//! `HOLDALL_TEST_POWER_CUT_SEEDS` says how many seeds are tried, `HOLDALL_TEST_POWER_CUT_SEED` names a single one. What
//! clients ask for comes again with the seed; when the power goes, and what is under way then, only roughly. With
//! `HOLDALL_TEST_POWER_CUT_HOLES=1` the file system is of the kind that leaves zeros where it lost bytes.

use std::fmt::Debug;
use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::forgetful::{ForgetfulFs, Loss};
use crate::support::http::{Answer, Client};
use crate::support::program::Server;
use crate::support::rng::Rng;

const DEFAULT_SEEDS: u64 = 4;
const CUTS: u64 = 4;
const WORKERS: u64 = 3;
const METADATA: &str = "name cG93ZXIgY3V0,empty";

/// What clients know of an upload.
struct Upload {
    path: String,
    content: Vec<u8>,
    /// The largest offset that the server ever named.
    promised: AtomicU64,
    /// The largest that it can have reached.
    sent: AtomicU64,
    /// Its length was named, in an acknowledged request.
    declared: AtomicBool,
    /// Its end was asked for; whether that was acknowledged.
    ending: AtomicBool,
    ended: AtomicBool,
}

impl Upload {
    /// Takes note of what an answer says.
    fn hear(&self, answer: &Answer) {
        if let Some(offset) = answer.offset() {
            assert!(offset <= self.sent.load(SeqCst), "{}: {offset} bytes were never sent", self.path);
            self.promised.fetch_max(offset, SeqCst);
        }
    }

    /// Asks where it stands; `None` if it is gone, which somebody asked for.
    fn look(&self, client: &mut Client) -> io::Result<Option<(u64, bool)>> {
        let promised = self.promised.load(SeqCst);
        let (ended, was_declared) = (self.ended.load(SeqCst), self.declared.load(SeqCst));
        let answer = client.request("HEAD", &self.path, &[], b"")?;
        if [404, 410].contains(&answer.status) && self.ending.load(SeqCst) {
            return Ok(None);
        }
        assert!(answer.status == 200 && !ended, "{}: {answer:?}, ended: {ended}", self.path);
        let offset = answer.offset().unwrap();
        if offset < promised && self.ending.load(SeqCst) {
            // Asked between the end of its data and its own.
            return Ok(None);
        }
        assert!(offset >= promised, "{}: {promised} was promised, {offset} is there", self.path);
        assert_eq!(answer.header("upload-metadata"), Some(METADATA), "{}", self.path);
        let declared = answer.header("upload-length").map(|length| length.parse::<usize>().unwrap());
        match declared {
            Some(length) => assert_eq!(length, self.content.len(), "{}", self.path),
            None => assert!(!was_declared, "{}: its length is forgotten", self.path),
        }
        self.hear(&answer);
        Ok(Some((offset, declared.is_some())))
    }

    /// Sends `length` bytes from where it stands, and closes the connection after `sent` of them.
    fn patch(&self, client: &mut Client, length: usize, sent: usize) -> io::Result<()> {
        let Some((offset, declared)) = self.look(client)? else { return Ok(()) };
        let rest = &self.content[offset as usize..];
        let (length, sent) = (length.min(rest.len()), sent.min(rest.len()));
        self.sent.fetch_max(offset + sent as u64, SeqCst);
        let (offset_text, length_text, total) =
            (offset.to_string(), length.to_string(), self.content.len().to_string());
        let mut headers = vec![
            ("Content-Type", "application/offset+octet-stream"),
            ("Upload-Offset", &*offset_text),
            ("Content-Length", &*length_text),
        ];
        if !declared {
            headers.push(("Upload-Length", &total));
        }
        client.send_head("PATCH", &self.path, &headers)?;
        client.send(&rest[..sent])?;
        if sent < length {
            *client = Client::connect(client.stream().peer_addr()?)?;
            return Ok(());
        }
        let answer = client.answer_to("PATCH")?;
        // An earlier request that broke off may have had bytes on their way still, or hold the lock.
        assert!([204, 409, 423].contains(&answer.status), "{}: {answer:?}", self.path);
        if answer.status == 204 {
            assert_eq!(answer.offset(), Some(offset + length as u64));
            self.declared.store(true, SeqCst);
        }
        self.hear(&answer);
        Ok(())
    }

    fn end(&self, client: &mut Client) -> io::Result<()> {
        self.ending.store(true, SeqCst);
        let answer = client.request("DELETE", &self.path, &[], b"")?;
        assert!([204, 404, 410].contains(&answer.status), "{}: {answer:?}", self.path);
        self.ended.store(true, SeqCst);
        Ok(())
    }

    /// Sends what is missing and reads all of it.
    fn finish(&self, client: &mut Client) {
        while let Some((offset, declared)) = self.look(client).unwrap() {
            if offset == self.content.len() as u64 && declared {
                let answer = client.request("GET", &self.path, &[], b"").unwrap();
                assert_eq!(answer.status, 200, "{}", self.path);
                assert!(answer.body == self.content, "{}: other bytes than were sent", self.path);
                return;
            }
            self.patch(client, usize::MAX, usize::MAX).unwrap();
        }
    }
}

/// All that clients did, and where they are now.
#[derive(Default)]
struct Clients {
    uploads: Mutex<Vec<Arc<Upload>>>,
    answers: AtomicU64,
    power_is_off: AtomicBool,
}

impl Clients {
    fn create(&self, client: &mut Client, rng: &mut Rng) -> io::Result<()> {
        let length = if rng.percent(10) { 0 } else { rng.below(200_000) as usize };
        let content = rng.bytes(length);
        let deferred = rng.percent(20);
        let first = if deferred || rng.percent(50) { 0 } else { rng.below(length as u64 + 1) as usize };
        let length = length.to_string();
        let mut headers = vec![("Upload-Metadata", METADATA)];
        headers.push(if deferred { ("Upload-Defer-Length", "1") } else { ("Upload-Length", &length) });
        if first > 0 {
            headers.push(("Content-Type", "application/offset+octet-stream"));
        }
        let answer = client.request("POST", "/files/", &headers, &content[..first])?;
        assert_eq!(answer.status, 201, "{answer:?}");
        let upload = Upload {
            path: answer.header("location").unwrap().to_owned(),
            content,
            promised: AtomicU64::new(0),
            sent: AtomicU64::new(first as u64),
            declared: AtomicBool::new(!deferred),
            ending: AtomicBool::new(false),
            ended: AtomicBool::new(false),
        };
        upload.hear(&answer);
        assert!(first == 0 || answer.offset() == Some(first as u64));
        self.uploads.lock().unwrap().push(Arc::new(upload));
        Ok(())
    }

    fn pick(&self, rng: &mut Rng, whose: impl Fn(usize) -> bool) -> Option<Arc<Upload>> {
        let uploads = self.uploads.lock().unwrap();
        let mine: Vec<_> = uploads.iter().enumerate().filter(|(index, _)| whose(*index)).map(|(_, own)| own).collect();
        (!mine.is_empty()).then(|| Arc::clone(mine[rng.below(mine.len() as u64) as usize]))
    }

    /// One client; each writes uploads of its own, and looks at all.
    fn work(&self, address: SocketAddr, worker: u64, mut rng: Rng) -> io::Result<()> {
        let mut client = Client::connect(address)?;
        loop {
            let action = rng.below(100);
            let upload = self.pick(&mut rng, |index| action < 20 || index as u64 % WORKERS == worker);
            match (action, upload) {
                (90.., _) | (_, None) => self.create(&mut client, &mut rng)?,
                (..20, Some(upload)) => drop(upload.look(&mut client)?),
                (85..90, Some(upload)) => upload.end(&mut client)?,
                (75..85, Some(upload)) => {
                    let sent = rng.below(30_000) as usize;
                    upload.patch(&mut client, sent + 1000, sent)?;
                }
                (_, Some(upload)) => {
                    let length = 1 + rng.below(40_000) as usize;
                    upload.patch(&mut client, length, length)?;
                }
            }
            self.answers.fetch_add(1, SeqCst);
        }
    }
}

/// Names the seed of a test that fails.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("HOLDALL_TEST_POWER_CUT_SEED={} made it fail", self.0);
        }
    }
}

fn from_environment(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|error: std::num::ParseIntError| panic!("{name}={value}: {error}")))
}

#[test]
fn what_was_acknowledged_survives_power_cuts() {
    let seeds = match from_environment("HOLDALL_TEST_POWER_CUT_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..from_environment("HOLDALL_TEST_POWER_CUT_SEEDS").unwrap_or(DEFAULT_SEEDS),
    };
    for seed in seeds {
        let Some(mut forgetful) = ForgetfulFs::mount() else { return };
        let _named = Seed(seed);
        run(seed, &mut forgetful, &[]);
    }
}

#[test]
fn power_cuts_that_lose_something_are_seen() {
    for durability in ["none", "on-complete"] {
        let Some(mut forgetful) = ForgetfulFs::mount() else { return };
        let lossy = || (0..9).for_each(|seed| run(seed, &mut forgetful, &["--durability", durability]));
        assert!(catch_unwind(AssertUnwindSafe(lossy)).is_err(), "nothing is missed with {durability}");
    }
}

fn run(seed: u64, forgetful: &mut ForgetfulFs, arguments: &[&str]) {
    let mut rng = Rng::new(seed);
    let store = format!("file:{}/the/store", forgetful.path().display());
    let holes = from_environment("HOLDALL_TEST_POWER_CUT_HOLES") == Some(1);
    let clients = Clients::default();
    for _ in 0..CUTS {
        let server = Server::start(&store, arguments);
        check(&server, &clients);
        let (address, seen) = (server.address(), clients.answers.load(SeqCst));
        let last = seen + 1 + rng.below(80);
        clients.power_is_off.store(false, SeqCst);
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..WORKERS)
                .map(|worker| {
                    let (clients, rng) = (&clients, Rng::new(rng.next()));
                    scope.spawn(move || {
                        let error = clients.work(address, worker, rng).unwrap_err();
                        assert!(clients.power_is_off.load(SeqCst), "a connection broke before the power cut: {error}");
                    })
                })
                .collect();
            while clients.answers.load(SeqCst) < last && !workers.iter().any(|worker| worker.is_finished()) {
                std::thread::yield_now();
            }
            // Somewhere in the middle of what is going on, not after a request.
            std::thread::sleep(Duration::from_micros(rng.below(3000)));
            clients.power_is_off.store(true, SeqCst);
            server.kill();
        });
        forgetful.power_cut(match rng.next() {
            seed if seed % 3 == 0 => Loss::All,
            seed if holes => Loss::SomeWithHoles(seed),
            seed => Loss::Some(seed),
        });
    }
    let server = Server::start(&store, arguments);
    check(&server, &clients);
    let mut client = server.client();
    for upload in clients.uploads.lock().unwrap().iter() {
        upload.finish(&mut client);
    }
    let (status, _, log) = server.stop();
    assert_eq!(status.code(), Some(0));
    assert!(!log.contains("ERROR") && !log.contains("panicked"), "{log}");
}

/// Holds what the server says against all that it said before.
fn check(server: &Server, clients: &Clients) {
    let mut client = server.client();
    for upload in clients.uploads.lock().unwrap().iter() {
        expect_answer(upload.look(&mut client));
    }
}

fn expect_answer<T: Debug>(looked: io::Result<T>) {
    assert!(looked.is_ok(), "{looked:?}");
}
