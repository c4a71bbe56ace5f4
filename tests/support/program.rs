//! The program `holdall`, run as its users run it.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;

use rustix::process::{Pid, Signal, kill_process};

use super::http::Client;

/// The program with these arguments, and without what the environment of the tests says.
pub(crate) fn holdall(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_holdall"));
    let ours = |name: &str| name.starts_with("HOLDALL_") || name.starts_with("AWS_");
    for (name, _) in std::env::vars_os().filter(|(name, _)| ours(&name.to_string_lossy())) {
        command.env_remove(name);
    }
    command.args(arguments);
    command
}

/// A running server. It is killed with its test.
pub(crate) struct Server {
    child: Child,
    stdout: BufReader<ChildStdout>,
    stderr: Option<JoinHandle<String>>,
    first_line: String,
}

impl Server {
    /// `holdall serve STORE` on a free port.
    pub(crate) fn start(store: &str, arguments: &[&str]) -> Self {
        let mut command = holdall(&["serve", store, "--listen", "127.0.0.1:0"]);
        command.args(arguments);
        Self::run(command)
    }

    /// A command that serves; returns once it said where.
    pub(crate) fn run(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut errors = child.stderr.take().unwrap();
        let stderr = std::thread::spawn(move || {
            let mut text = String::new();
            let _ = errors.read_to_string(&mut text);
            text
        });
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut first_line = String::new();
        stdout.read_line(&mut first_line).unwrap();
        let server = Self { child, stdout, stderr: Some(stderr), first_line };
        assert!(server.first_line.contains(" at http://"), "it did not start: {:?}", server.first_line);
        server
    }

    pub(crate) fn first_line(&self) -> &str {
        self.first_line.trim_end()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        let (_, url) = self.first_line.rsplit_once(" at http://").unwrap();
        url.split('/').next().unwrap().parse().unwrap()
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(self.address()).unwrap()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for its end; returns how it ended and what it still wrote to stdout, and to stderr.
    pub(crate) fn wait(mut self) -> (ExitStatus, String, String) {
        let mut stdout = String::new();
        self.stdout.read_to_string(&mut stdout).unwrap();
        let stderr = self.stderr.take().unwrap().join().unwrap();
        (self.child.wait().unwrap(), stdout, stderr)
    }

    /// Asks it to stop and waits for that.
    pub(crate) fn stop(self) -> (ExitStatus, String, String) {
        self.signal(Signal::TERM);
        self.wait()
    }

    /// SIGKILL; returns when it is gone.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(stderr) = self.stderr.take()
            && let Ok(text) = stderr.join()
            && std::thread::panicking()
        {
            eprintln!("the server said:\n{text}");
        }
    }
}
