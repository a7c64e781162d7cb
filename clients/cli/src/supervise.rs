//! `stint run` from the start of the command to its end: a script must not notice us.
//!
//! The command is executed from its argument vector, without a shell, in our own session, process group, directory and
//! umask, with the descriptors we were given; ours are close-on-exec. Then this file does three things until it ends:
//!
//! - **forward**: a signal sent to us reaches the command. One the terminal raised went to the whole foreground group,
//!   the command included, so it is not sent twice; but a hang-up goes to the leader of a session alone, so as its
//!   leader we pass it on. A signal that cannot be sent is dropped: the command may belong to another user by now.
//! - **stop and continue together**: when the command stops, so do we, and the shell has its prompt back.
//! - **reap**: whatever child ends is waited for, so as pid 1 no zombie stays.
//!
//! Promise: between [`Supervisor::new`] and the end of the command no catchable signal ends this process, so files laid
//! out in between are always cleaned up. Not forwarded are the uncatchable KILL and STOP, faults, TTIN and TTOU (the
//! kernel stops our whole group for those), real-time signals, and whatever was ignored when we started: that stays
//! ignored for the command as well, so `nohup stint run …` is what it looks like.

use std::io;
use std::process::{Command, ExitCode};

use rustix::fs::{Mode, OFlags};
use rustix::process::{
    Pid, Resource, Rlimit, Signal, WaitOptions, getpid, kill_process, setrlimit, wait,
};
use signal_hook::consts::{
    SIGABRT, SIGALRM, SIGCHLD, SIGCONT, SIGHUP, SIGINT, SIGIO, SIGPIPE, SIGPROF, SIGQUIT, SIGSTOP,
    SIGSYS, SIGTERM, SIGTRAP, SIGTSTP, SIGURG, SIGUSR1, SIGUSR2, SIGVTALRM, SIGWINCH, SIGXCPU,
    SIGXFSZ,
};
use signal_hook::iterator::SignalsInfo;
use signal_hook::iterator::exfiltrator::origin::WithOrigin;
use signal_hook::low_level::emulate_default_handler;
use signal_hook::low_level::siginfo::{Cause, Origin};

/// What is caught. CHLD is ours; all others go on to the command.
const CAUGHT: [i32; 21] = [
    SIGABRT, SIGALRM, SIGCHLD, SIGCONT, SIGHUP, SIGINT, SIGIO, SIGPIPE, SIGPROF, SIGQUIT, SIGSYS,
    SIGTERM, SIGTRAP, SIGTSTP, SIGURG, SIGUSR1, SIGUSR2, SIGVTALRM, SIGWINCH, SIGXCPU, SIGXFSZ,
];
/// What a terminal raises for its whole foreground group at once: termios(3), and a resize.
const RAISED_FOR_A_GROUP: [i32; 4] = [SIGINT, SIGQUIT, SIGTSTP, SIGWINCH];
/// What the kernel raises at a hang-up: for the leader of the session alone, or for a group that lost it.
const RAISED_BY_HANG_UPS: [i32; 2] = [SIGCONT, SIGHUP];

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// By itself, with this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

impl Ended {
    /// Ends this process the same way: the same code, or killed by the same signal, without a second core dump.
    ///
    /// Pid 1 cannot be killed by a signal it has no handler for; it returns 128 + n, as shells do.
    pub fn leave(self) -> ExitCode {
        let code = match self {
            Self::Code(code) => code,
            Self::Signal(signal) => {
                if !getpid().is_init() && setrlimit(Resource::Core, NO_CORE).is_ok() {
                    // Returns only for a signal it does not know.
                    drop(emulate_default_handler(signal));
                }
                signal.saturating_add(128)
            }
        };
        ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX))
    }
}

const NO_CORE: Rlimit = Rlimit {
    current: Some(0),
    maximum: Some(0),
};

/// The signal handlers, in place.
#[derive(Debug)]
pub struct Supervisor {
    signals: SignalsInfo<WithOrigin>,
    stopped: bool,
}

impl Supervisor {
    /// Catches signals from here on; they wait until the command runs.
    ///
    /// # Errors
    /// If the OS refuses a handler.
    pub fn new() -> io::Result<Self> {
        let ignored = ignored();
        let caught = CAUGHT
            .iter()
            .filter(|signal| **signal == SIGCHLD || !ignored.contains(signal));
        Ok(Self {
            signals: SignalsInfo::new(caught)?,
            stopped: false,
        })
    }

    /// Starts the command and stays until it ends.
    ///
    /// # Errors
    /// If it cannot be started; the error's kind tells "not found" from "not executable".
    pub fn run(mut self, mut command: Command) -> io::Result<Ended> {
        let child = Pid::from_child(&command.spawn()?);
        loop {
            for origin in self.signals.wait() {
                self.forward(child, &origin);
            }
            if let Some(ended) = self.reap(child)? {
                return Ok(ended);
            }
        }
    }

    /// Sends a signal on, if the command has not had it. INVARIANT: nothing here ends the watch; only `wait` does.
    fn forward(&self, child: Pid, origin: &Origin) {
        let went_to_all = origin.cause == Cause::Kernel
            && (RAISED_FOR_A_GROUP.contains(&origin.signal)
                || (RAISED_BY_HANG_UPS.contains(&origin.signal) && !leads_session()));
        // A write of ours to a closed pipe comes back as a signal from ourselves.
        let by_us = origin
            .process
            .is_some_and(|process| process.pid == getpid().as_raw_nonzero().get());
        // The shell continues the whole group after a stop; a command that goes on already needs no second CONT.
        let goes_on = origin.signal == SIGCONT && self.stopped && !is_stopped(child);
        if origin.signal == SIGCHLD || went_to_all || by_us || goes_on {
            return;
        }
        let sent = Signal::from_named_raw(origin.signal).map(|signal| kill_process(child, signal));
        if let Some(Err(_gone_or_not_ours)) = sent {
            // ESRCH: it has ended, and `wait` will say how. EPERM: it changed its user, and lives on.
        }
    }

    /// Takes note of every child that changed; stops with the command, and tells how it ended.
    fn reap(&mut self, child: Pid) -> io::Result<Option<Ended>> {
        let changes = WaitOptions::NOHANG | WaitOptions::UNTRACED | WaitOptions::CONTINUED;
        while let Some((pid, status)) = rustix::io::retry_on_intr(|| wait(changes))? {
            if pid != child {
                continue;
            }
            if let Some(code) = status.exit_status() {
                return Ok(Some(Ended::Code(code)));
            }
            if let Some(signal) = status.terminating_signal() {
                return Ok(Some(Ended::Signal(signal)));
            }
            self.stopped = status.stopped();
            if status.stopping_signal().is_some_and(stops_us) {
                kill_process(getpid(), Signal::STOP)?;
            }
        }
        Ok(None)
    }
}

/// A stop that job control asked for stops us too. A bare STOP might be a debugger's or a script's, who will continue
/// the command and not us: we follow it only where a shell waits at a terminal.
fn stops_us(signal: i32) -> bool {
    let terminal = || {
        rustix::fs::open(
            "/dev/tty",
            OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOCTTY,
            Mode::empty(),
        )
    };
    signal != SIGSTOP || terminal().is_ok()
}

/// Whether the kernel says that this process is stopped now. Where there is no procfs, it is taken to be.
fn is_stopped(child: Pid) -> bool {
    stat(&child.as_raw_nonzero().to_string()).is_none_or(|[state, ..]| state == "T" || state == "t")
}

/// Whether we lead our session. Where there is no procfs, we are taken not to.
///
/// Not by getsid(2): for a session outside our pid namespace it gives 0, which rustix takes for a pid.
fn leads_session() -> bool {
    let pid = getpid().as_raw_nonzero().to_string();
    stat("self").is_some_and(|[_, _, _, session]| session == pid)
}

/// State, parent, group and session of a process, by proc(5): `PID (COMM) STATE PPID PGRP SESSION …`, where COMM may
/// hold anything.
fn stat(process: &str) -> Option<[String; 4]> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(") ")?;
    let fields: Vec<String> = rest.split(' ').take(4).map(str::to_owned).collect();
    fields.try_into().ok()
}

/// Signals this process was started with on "ignore", from the mask in procfs (proc(5)); none where there is no procfs.
///
/// PIPE is left out: Rust itself ignores it at start, and gives the command the default back.
pub(crate) fn ignored() -> Vec<i32> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask
        .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
        .unwrap_or(0);
    (1..64)
        .filter(|signal| *signal != SIGPIPE && mask >> (signal - 1) & 1 == 1)
        .collect()
}
