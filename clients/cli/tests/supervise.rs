//! The supervisor as a real process: what a script, a shell or an init system sees of `stint run`.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot set itself up has failed"
)]

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use tempfile::TempDir;

/// The example, which cargo builds beside the binary.
fn supervise() -> PathBuf {
    Path::new(env!("CARGO_BIN_EXE_stint"))
        .with_file_name("examples")
        .join("supervise")
}

/// `supervise BASE key.pem=secret -- sh -c SCRIPT`
fn around(base: &TempDir, script: &str) -> Command {
    let mut command = Command::new(supervise());
    command
        .arg(base.path().join("stint"))
        .args(["key.pem=secret", "--", "sh", "-c", script]);
    command
}

fn run(script: &str) -> Output {
    let base = tempfile::tempdir().unwrap();
    let output = around(&base, script).output().unwrap();
    assert_eq!(left(&base), Vec::<String>::new(), "files stayed behind");
    output
}

/// What is left under the base, beside its lock.
fn left(base: &TempDir) -> Vec<String> {
    let names = fs::read_dir(base.path().join("stint")).unwrap();
    names
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != "lock")
        .collect()
}

/// A script that said `ready`, with what it says from then on.
fn ready(mut command: Command) -> (Child, BufReader<ChildStdout>) {
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    lines.read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    (child, lines)
}

fn rest(mut lines: impl Read) -> String {
    let mut text = String::new();
    lines.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn passes_the_exit_code_on() {
    for code in [0, 1, 42, 125, 255] {
        assert_eq!(run(&format!("exit {code}")).status.code(), Some(code));
    }
}

#[test]
fn dies_of_the_signal_that_killed_the_command() {
    for signal in [
        Signal::HUP,
        Signal::INT,
        Signal::TERM,
        Signal::KILL,
        Signal::SEGV,
        Signal::ABORT,
        Signal::PIPE,
    ] {
        let status = run(&format!("kill -{} $$", signal.as_raw())).status;
        assert_eq!(status.signal(), Some(signal.as_raw()), "{signal:?}");
    }
}

#[test]
fn a_command_that_does_not_start_leaves_nothing() {
    let base = tempfile::tempdir().unwrap();
    let output = Command::new(supervise())
        .arg(base.path().join("stint"))
        .args(["--", "/no/such/command"])
        .output()
        .unwrap();
    assert!(!output.status.success());
    assert!(left(&base).is_empty());
}

#[test]
fn hands_stdin_stdout_and_the_directory_through() {
    let base = tempfile::tempdir().unwrap();
    let mut command = around(&base, "cat; pwd; echo talk >&2");
    command
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"a\0b\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(
        (output.stdout.as_slice(), output.stderr.as_slice()),
        (&b"a\0b\n/\n"[..], &b"talk\n"[..])
    );
}

#[test]
fn the_command_has_the_descriptors_we_were_given_and_none_of_ours() {
    let base = tempfile::tempdir().unwrap();
    let list = "cat <&7; ls /proc/self/fd";
    let direct = Command::new("sh")
        .args(["-c", &format!("exec 7</etc/hostname; {list}")])
        .output()
        .unwrap();
    let script = format!(
        "exec 7</etc/hostname; exec {} {} -- sh -c '{list}'",
        supervise().display(),
        base.path().join("stint").display()
    );
    let ours = Command::new("sh").args(["-c", &script]).output().unwrap();
    assert_eq!(
        String::from_utf8_lossy(&ours.stdout),
        String::from_utf8_lossy(&direct.stdout)
    );
}

#[test]
fn the_files_are_private_and_gone_afterwards() {
    let output = run("cat $STINT_DIR/key.pem; stat -c ' %a' -L $STINT_DIR $STINT_DIR/key.pem");
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "secret 700\n 600\n"
    );
}

#[test]
fn signals_reach_the_command_and_it_decides() {
    for (signal, name) in [
        (Signal::TERM, "TERM"),
        (Signal::USR1, "USR1"),
        (Signal::HUP, "HUP"),
        (Signal::WINCH, "WINCH"),
    ] {
        let base = tempfile::tempdir().unwrap();
        let script = format!(
            "trap 'echo got {name}; exit 7' {name}; echo ready; while :; do sleep 0.05; done"
        );
        let (mut child, lines) = ready(around(&base, &script));
        kill_process(Pid::from_child(&child), signal).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(7));
        assert_eq!(rest(lines), format!("got {name}\n"));
        assert!(left(&base).is_empty());
    }
}

#[test]
fn a_signal_nobody_handles_ends_both() {
    let base = tempfile::tempdir().unwrap();
    let (mut child, _lines) = ready(around(&base, "echo ready; exec sleep 60"));
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(Signal::TERM.as_raw()));
    assert!(left(&base).is_empty());
}

#[test]
fn what_was_ignored_stays_ignored() {
    let base = tempfile::tempdir().unwrap();
    let script = "kill -HUP $$; grep SigIgn /proc/self/status";
    let nohup = format!(
        "trap '' HUP; exec {} {} -- sh -c '{script}'",
        supervise().display(),
        base.path().join("stint").display()
    );
    let output = Command::new("sh").args(["-c", &nohup]).output().unwrap();
    assert!(output.status.success());
    let mask = String::from_utf8(output.stdout).unwrap();
    let mask = u64::from_str_radix(mask.trim().trim_start_matches("SigIgn:").trim(), 16).unwrap();
    assert_eq!(mask & 1, 1, "HUP is signal 1");
}

#[test]
fn stops_and_continues_with_the_command() {
    let base = tempfile::tempdir().unwrap();
    let script =
        "trap 'echo again; exit 0' CONT; echo ready; kill -TSTP $$; while :; do sleep 0.05; done";
    let mut command = around(&base, script);
    // A group of its own, whose parent is in this session: the kernel drops TSTP in an orphaned one,
    // which is what a CI runner's may be.
    command.process_group(0);
    let (mut child, lines) = ready(command);
    let pid = Pid::from_child(&child);
    let (_, status) = waitpid(Some(pid), WaitOptions::UNTRACED).unwrap().unwrap();
    assert!(status.stopped());
    kill_process(pid, Signal::CONT).unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(rest(lines), "again\n");
}

/// A terminal of its own: our end, and the command's.
fn terminal() -> (File, File) {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&ours).unwrap();
    unlockpt(&ours).unwrap();
    let name = ptsname(&ours, Vec::new()).unwrap().into_string().unwrap();
    let theirs = File::options().read(true).write(true).open(name).unwrap();
    (File::from(ours), theirs)
}

/// The supervisor as the leader of a session at a terminal: setsid(1) makes it that, and its foreground group.
fn at_terminal(base: &TempDir, terminal: File) -> Command {
    let mut command = Command::new("setsid");
    command
        .arg("--ctty")
        .arg(supervise())
        .arg(base.path().join("stint"))
        .arg("--")
        .stdin(terminal);
    command
}

#[test]
fn what_the_terminal_raised_is_not_sent_again() {
    let base = tempfile::tempdir().unwrap();
    let (mut ours, theirs) = terminal();
    let script =
        "trap 'echo int' INT; trap 'exit 0' TERM; echo ready; while :; do sleep 0.05; done";
    // The command leaves the foreground group, so whatever INT it sees was sent by the supervisor: two that came
    // together could not be counted.
    let mut command = at_terminal(&base, theirs);
    command.args(["setsid", "sh", "-c", script]);
    let (mut child, lines) = ready(command);
    ours.write_all(b"\x03").unwrap();
    // The terminal echoes ^C after it has raised the signal.
    ours.read_exact(&mut [0; 2]).unwrap();
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(rest(lines), "");
}

#[test]
fn a_hang_up_reaches_the_command_of_a_session_leader() {
    let base = tempfile::tempdir().unwrap();
    let (ours, theirs) = terminal();
    // It ends by itself where the hang-up is lost.
    let script = "trap 'echo hung up; exit 7' HUP; echo ready; \
        for _ in 1 2 3 4 5 6 7 8 9 10; do sleep 0.2; done";
    let mut command = at_terminal(&base, theirs);
    command.args(["sh", "-c", script]);
    let (mut child, lines) = ready(command);
    drop(ours);
    assert_eq!(child.wait().unwrap().code(), Some(7));
    assert_eq!(rest(lines), "hung up\n");
    assert!(left(&base).is_empty());
}

/// Root may signal anybody, so here the supervisor is nobody and the command becomes root: sudo, in short.
#[test]
fn a_command_that_changed_its_user_is_still_waited_for() {
    let base = tempfile::tempdir().unwrap();
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let setuid = base.path().join("setpriv");
    fs::copy("/usr/bin/setpriv", &setuid).unwrap();
    fs::set_permissions(&setuid, fs::Permissions::from_mode(0o4755)).unwrap();
    let example = base.path().join("supervise");
    fs::copy(supervise(), &example).unwrap();
    fs::set_permissions(base.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(example)
        .arg(base.path().join("stint"))
        .args(["key.pem=secret", "--"])
        .arg(setuid)
        .args(["--reuid=0", "sh", "-c"])
        .arg("echo ready; sleep 0.3; cat $STINT_DIR/key.pem; exit 7");
    let (mut child, lines) = ready(command);
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(7));
    assert_eq!(rest(lines), "secret");
    assert!(left(&base).is_empty());
}

#[test]
fn sweeps_what_a_killed_run_left() {
    let base = tempfile::tempdir().unwrap();
    let (mut child, _lines) = ready(around(&base, "echo ready; exec sleep 60"));
    let pid = Pid::from_child(&child);
    let command: i32 = fs::read_to_string(format!("/proc/{0}/task/{0}/children", child.id()))
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    kill_process(pid, Signal::KILL).unwrap();
    child.wait().unwrap();
    kill_process(Pid::from_raw(command).unwrap(), Signal::KILL).unwrap();
    assert_eq!(left(&base).len(), 1, "the killed run could not clean up");
    assert!(around(&base, "true").status().unwrap().success());
    assert!(left(&base).is_empty());
}

#[test]
fn reaps_children_that_are_not_the_command() {
    let base = tempfile::tempdir().unwrap();
    // `exec` makes the shell's background job a child of the supervisor.
    let script = format!(
        "sleep 0.05 & exec {} {} -- sh -c 'sleep 0.3; ps -o stat= --ppid $PPID'",
        supervise().display(),
        base.path().join("stint").display()
    );
    let output = Command::new("sh").args(["-c", &script]).output().unwrap();
    assert!(output.status.success());
    assert!(
        !String::from_utf8_lossy(&output.stdout).contains('Z'),
        "a zombie stayed"
    );
}

#[test]
fn a_base_that_others_can_read_is_refused() {
    let base = tempfile::tempdir().unwrap();
    let open = base.path().join("stint");
    fs::create_dir(&open).unwrap();
    fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
    assert!(!around(&base, "true").status().unwrap().success());
}
