//! A child process whose output is kept and can be waited for.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use crate::wait::{DEADLINE, until, until_within};

/// A running program. Killed when dropped.
pub struct Child {
    child: std::process::Child,
    lines: Arc<(Mutex<Vec<String>>, Condvar)>,
    open_pipes: Arc<AtomicUsize>,
}

/// What a command of the binary answered.
#[derive(Clone, Debug)]
pub struct Cli {
    /// The exit code; -1 where a signal ended it.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Child {
    /// Starts a command; both outputs are gathered line by line.
    pub fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let lines = Arc::new((Mutex::new(Vec::new()), Condvar::new()));
        let open_pipes = Arc::new(AtomicUsize::new(2));
        gather(child.stdout.take(), &lines, &open_pipes);
        gather(child.stderr.take(), &lines, &open_pipes);
        Self { child, lines, open_pipes }
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// All lines so far, of both outputs.
    pub fn lines(&self) -> Vec<String> {
        self.lines.0.lock().unwrap().clone()
    }

    /// Waits for a line that `pick` takes; panics with the whole output after the deadline.
    #[track_caller]
    pub fn wait_line<T>(&mut self, what: &str, mut pick: impl FnMut(&str) -> Option<T>) -> T {
        let mut seen = 0;
        let found = until_within(DEADLINE, what, || {
            let lines = self.lines();
            let new = lines.get(seen..).unwrap_or_default();
            seen = lines.len();
            if let Some(found) = new.iter().find_map(|line| pick(line)) {
                return Some(Ok(found));
            }
            match self.exited() {
                Some(status) if self.lines().len() == seen => Some(Err(status)),
                _ => None,
            }
        });
        found.unwrap_or_else(|status| {
            panic!("ended ({status}) before {what}:\n{}", self.lines().join("\n"))
        })
    }

    /// Whether it has ended.
    pub fn exited(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Waits for its end, and until everything it wrote is in [`Child::lines`].
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        let status = until("the process ends", || self.exited());
        until("its output ends", || (self.open_pipes.load(Ordering::Acquire) == 0).then_some(()));
        status
    }

    /// Sends a signal.
    pub fn signal(&self, signal: rustix::process::Signal) {
        let id = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process(id, signal);
    }

    /// SIGKILL, and waits.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Lets it open so many files more than it has open now.
    pub fn limit_files(&self, more: u64) {
        let id = rustix::process::Pid::from_child(&self.child);
        let open = std::fs::read_dir(format!("/proc/{}/fd", self.id())).unwrap().count() as u64;
        let files = rustix::process::Resource::Nofile;
        let now = rustix::process::prlimit(
            Some(id),
            files,
            rustix::process::Rlimit {
                current: Some(open + more),
                maximum: rustix::process::getrlimit(files).maximum,
            },
        );
        let _ = now.unwrap();
    }

    /// Resident memory in KiB, from `/proc`.
    pub fn rss_kib(&self) -> u64 {
        proc_status(self.id(), "VmRSS:")
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Cli {
    /// Runs a command to its end, feeding its standard input.
    pub fn run(command: &mut Command, stdin: &[u8]) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        // A command that reads nothing may end before it is fed.
        let _ = child.stdin.take().map(|mut pipe| pipe.write_all(stdin));
        let output = child.wait_with_output().unwrap();
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Panics unless the exit code is the one expected; shows both outputs.
    #[track_caller]
    #[must_use]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// Standard output as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("no JSON ({error}): {} {}", self.stdout, self.stderr))
    }
}

fn gather(
    pipe: Option<impl std::io::Read + Send + 'static>,
    lines: &Arc<(Mutex<Vec<String>>, Condvar)>,
    open_pipes: &Arc<AtomicUsize>,
) {
    let (lines, open_pipes) = (Arc::clone(lines), Arc::clone(open_pipes));
    std::thread::spawn(move || {
        if let Some(pipe) = pipe {
            let mut reader = BufReader::new(pipe);
            let mut line = Vec::new();
            while reader.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
                let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                lines.0.lock().unwrap().push(text);
                lines.1.notify_all();
                line.clear();
            }
        }
        open_pipes.fetch_sub(1, Ordering::Release);
    });
}

fn proc_status(id: u32, name: &str) -> u64 {
    let text = std::fs::read_to_string(Path::new("/proc").join(id.to_string()).join("status"));
    text.unwrap_or_default()
        .lines()
        .find_map(|line| line.strip_prefix(name)?.trim().strip_suffix("kB")?.trim().parse().ok())
        .unwrap_or(0)
}

/// How long a graceful end may take.
pub(crate) const GRACE: Duration = Duration::from_secs(20);
