//! A reader's desk: a folder, a shell in it, and a `stintd dev` of its own. All of it goes with the value.

use std::fs;
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use stint_policy::{Files, PolicySet};
use tempfile::TempDir;

use crate::approver::Approver;
use crate::block::{Block, Step};
use crate::pattern;

/// See the module.
#[derive(Debug)]
pub(crate) struct Desk {
    temp: TempDir,
    programs: PathBuf,
    broker: Running,
    banner: Vec<String>,
    port: String,
    shell: Running,
    input: ChildStdin,
    /// The last command's exit status, and where it stood.
    status: (i32, String),
    /// The last answer: status and body.
    answer: Option<(String, Value)>,
}

/// A process that does not outlive its owner, and the lines it prints.
#[derive(Debug)]
struct Running {
    child: Child,
    lines: Receiver<String>,
}

impl Desk {
    pub(crate) fn new(programs: &Path) -> Result<Desk, String> {
        let temp = tempfile::tempdir().unwrap();
        for folder in ["work", "tmp", "home"] {
            fs::create_dir(temp.path().join(folder)).unwrap();
        }
        // Pages name the receiver's check as it lies in a checkout.
        let clients = crate::root().join("clients");
        std::os::unix::fs::symlink(clients, temp.path().join("work/clients")).unwrap();
        let mut dev = at(&temp, programs, programs.join("stintd"));
        let mut child = dev
            .args(["dev", "--port", "0"])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = lines(child.stderr.take().unwrap());
        let broker = Running { child, lines };
        let mut banner = vec![broker.next()?];
        while !banner.last().unwrap().contains("ledger verify") {
            banner.push(broker.next()?);
        }
        let port = banner.iter().find_map(|line| {
            let rest = line.strip_prefix("console   http://localhost:")?;
            rest.split_whitespace().next().map(str::to_owned)
        });
        let port = port.expect("the banner names the broker");

        let mut bash = at(&temp, programs, "bash".into());
        bash.args(["--noprofile", "--norc"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = bash.spawn().unwrap();
        let (mut input, lines) = (child.stdin.take().unwrap(), lines_of(&mut child));
        writeln!(input, "exec 2>&1").unwrap();
        let shell = Running { child, lines };
        let programs = programs.to_owned();
        Ok(Desk {
            temp,
            programs,
            broker,
            banner,
            port,
            shell,
            input,
            status: (0, String::new()),
            answer: None,
        })
    }

    /// Does what the block's info string says.
    pub(crate) fn run(&mut self, block: &Block) -> Result<(), String> {
        if block.has("reload") {
            self.reload();
        }
        if block.has("dev") {
            let step = block
                .steps()?
                .pop()
                .ok_or_else(|| block.fault(0, "no command"))?;
            return compare(block, &step, &self.seen(&self.banner.join("\n")));
        }
        if block.has("console") {
            return self.console(block);
        }
        if let Some(path) = block.value("ask") {
            return self.ask(block, path);
        }
        if let Some(status) = block.value("answer") {
            return self.answered(block, status);
        }
        if let Some(table) = block.value("help") {
            let table = Some(table).filter(|table| *table != "stint.toml");
            let help =
                stint_broker::config::help(table).ok_or_else(|| block.fault(0, "no such table"))?;
            let same = help.trim_end() == block.text().trim_end();
            return if same {
                Ok(())
            } else {
                Err(block.fault(0, format!("the program says\n{help}")))
            };
        }
        if block.has("config") {
            return self.config(block, "");
        }
        if block.has("issuer") {
            return self.config(block, REST);
        }
        if block.has("policy") || block.has("tests") || block.value("refused").is_some() {
            return policy(block);
        }
        Ok(())
    }

    fn console(&mut self, block: &Block) -> Result<(), String> {
        let jar = || self.temp.path().join("dana.cookies");
        let dana = block.has("dana");
        let mut dana = dana.then(|| Approver::sign_in(&self.port, jar()));
        for step in block.steps()? {
            if step.command != "echo $?" {
                self.ended_well()?;
            }
            let typed = self.type_in(&step, dana.as_mut());
            let (got, status) = typed.map_err(|fault| {
                format!("{}:{}: $ {}\n{fault}", block.page, step.line, step.command)
            })?;
            self.status = (
                status,
                format!("{}:{}: $ {}", block.page, step.line, step.command),
            );
            compare(block, &step, &got)?;
        }
        self.ended_well()
    }

    fn ended_well(&self) -> Result<(), String> {
        match &self.status {
            (0, _) => Ok(()),
            (status, place) => Err(format!(
                "{place}\n  ended with {status}, and the page does not show it by `$ echo $?`"
            )),
        }
    }

    /// One command, in the shell that ran those before; its output and exit status. Whoever approves reads along.
    fn type_in(
        &mut self,
        step: &Step,
        mut dana: Option<&mut Approver>,
    ) -> Result<(String, i32), String> {
        let tmp = self.temp.path().join("tmp").display().to_string();
        let command = step
            .command
            .replace("localhost:8640", &format!("localhost:{}", self.port));
        let command = command.replace("/tmp/", &format!("{tmp}/"));
        let (before, mark) = (self.status.0, "--- the end of a step, with ");
        write!(
            self.input,
            "(exit {before})\n{{ {command}\n}} </dev/null\nprintf '\\n{mark}%d\\n' \"$?\"\n"
        )
        .unwrap();
        let mut output = String::new();
        loop {
            let line = self.shell.next()?;
            if let Some(status) = line.strip_prefix(mark) {
                return Ok((self.seen(&output), status.parse().unwrap()));
            }
            if let Some(dana) = &mut dana {
                dana.hear(&step.command, &line);
            }
            output.push_str(&line);
            output.push('\n');
        }
    }

    /// Output as the page would show it.
    fn seen(&self, output: &str) -> String {
        let tmp = self.temp.path().join("tmp").display().to_string();
        output
            .replace(&format!("localhost:{}", self.port), "localhost:8640")
            .replace(&tmp, "/tmp")
    }

    /// A reader's broker looks at the folder each second; here it is asked to.
    fn reload(&self) {
        let folders = fs::read_dir(self.temp.path().join("tmp")).unwrap();
        let sockets = folders.map(|folder| folder.unwrap().path().join("stintd.sock"));
        let socket = sockets
            .into_iter()
            .find(|socket| socket.exists())
            .expect("the broker's socket");
        self.curl(
            &[
                "--unix-socket",
                socket.to_str().unwrap(),
                "-X",
                "POST",
                "http://localhost/v1/policy/reload",
            ],
            "",
        );
    }

    fn ask(&mut self, block: &Block, path: &str) -> Result<(), String> {
        let mut ask: Value =
            serde_json::from_str(&block.text()).map_err(|error| block.fault(0, error))?;
        if let Some(csr) = ask.pointer_mut("/credential/csr") {
            *csr = json!(csr_pem());
        }
        let like =
            json!({ "repo": "acme/web", "ref": block.value("ref").unwrap_or("refs/heads/main") });
        let (_, token) = self.curl(&[&self.url("/dev/github/token")], &like.to_string());
        let token = format!(
            "Authorization: Bearer {}",
            token
                .get("token")
                .and_then(Value::as_str)
                .unwrap_or_default()
        );
        let json = "Content-Type: application/json";
        self.answer = Some(self.curl(
            &["-H", &token, "-H", json, &self.url(path)],
            &ask.to_string(),
        ));
        Ok(())
    }

    fn answered(&mut self, block: &Block, expected: &str) -> Result<(), String> {
        let (status, got) = self
            .answer
            .take()
            .ok_or_else(|| block.fault(0, "no ask stands before this answer"))?;
        let shown: Value =
            serde_json::from_str(&block.text()).map_err(|error| block.fault(0, error))?;
        if status != expected {
            return Err(block.fault(0, format!("the status is {status}: {got}")));
        }
        let got: Value = serde_json::from_str(&self.seen(&got.to_string())).unwrap();
        pattern::json(&shown, &got).map_err(|fault| block.fault(0, fault))
    }

    fn url(&self, path: &str) -> String {
        format!("http://localhost:{}{path}", self.port)
    }

    /// POSTs `body`, if there is one; the status and the JSON that came.
    fn curl(&self, args: &[&str], body: &str) -> (String, Value) {
        let mut curl = at(&self.temp, &self.programs, "curl".into());
        curl.args(["-s", "--max-time", "30", "-w", "\n%{http_code}"])
            .args(args);
        if !body.is_empty() {
            curl.args(["--data-binary", body]);
        }
        let output = String::from_utf8(curl.output().unwrap().stdout).unwrap();
        let (body, status) = output.rsplit_once('\n').unwrap();
        (
            status.to_owned(),
            serde_json::from_str(body).unwrap_or_default(),
        )
    }

    /// A whole stint.toml, or `rest` and what is added to it, as an operator would have it checked.
    fn config(&self, block: &Block, rest: &str) -> Result<(), String> {
        let folder = tempfile::tempdir_in(self.temp.path()).unwrap();
        let policy = folder.path().join("policy");
        stint_broker::init::write_policies(&policy, &sample(block)).unwrap();
        let file = folder.path().join("stint.toml");
        fs::write(&file, format!("{rest}{}", block.text())).unwrap();
        fs::write(
            folder.path().join("stint-keys"),
            "correct horse battery staple",
        )
        .unwrap();
        for (name, bytes) in SECRETS {
            stint_tests::files::write_secret(&folder.path().join(name), bytes);
        }
        let mut check = at(&self.temp, &self.programs, self.programs.join("stintd"));
        check.env("CREDENTIALS_DIRECTORY", folder.path());
        let output = check.args(["check", "-c"]).arg(&file).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        if output.status.success() {
            Ok(())
        } else {
            Err(block.fault(0, format!("stintd check says\n{said}")))
        }
    }
}

/// What `{ credential = NAME }` and `{ file = NAME }` of the pages name.
const SECRETS: [(&str, &[u8]); 8] = [
    (
        "bot-secret",
        b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo=",
    ),
    ("bot-url", b"https://bot.acme.dev/stint"),
    ("mail-password", b"of-the-relay"),
    ("mail-url", b"smtps://stint@mail.acme.dev"),
    ("oidc-secret", b"of-the-client"),
    ("rs256.key", RSA),
    ("siem-token", b"of-the-receiver"),
    ("slack-hook", b"https://hooks.slack.com/services/T0/B0/x"),
];

/// The sample set; its schema declares the texts of `extra=…`.
fn sample(block: &Block) -> Files {
    let mut files = stint_policy::sample();
    if let Some(names) = block.value("extra") {
        let member = |name| format!("{name}?: String");
        let members: Vec<String> = names.split(',').map(member).collect();
        let schema = files.get("schema.cedarschema").unwrap();
        let schema = String::from_utf8(schema.to_vec()).unwrap();
        let extra = format!("type Extra = {{ {} }};\n{schema}", members.join(", "));
        files.insert("schema.cedarschema", extra);
    }
    files
}

/// Beside the sample set.
fn policy(block: &Block) -> Result<(), String> {
    let mut files: Files = stint_policy::sample();
    let file = if block.has("tests") {
        "tests/docs.toml"
    } else {
        "docs.cedar"
    };
    files.insert(file, block.text());
    match (PolicySet::from_files(files), block.value("refused")) {
        (Ok(_), None) => Ok(()),
        (Ok(_), Some(rule)) => Err(block.fault(0, format!("loads, and {rule} should refuse it"))),
        (Err(error), Some(rule))
            if error
                .findings()
                .iter()
                .any(|finding| finding.rule() == rule) =>
        {
            Ok(())
        }
        (Err(error), _) => Err(block.fault(0, format!("is refused:\n{error}"))),
    }
}

fn compare(block: &Block, step: &Step, got: &str) -> Result<(), String> {
    let got = got.trim_end();
    let lines: Vec<&str> = got.lines().collect();
    if pattern::lines(&step.expected, &lines) {
        return Ok(());
    }
    let Step {
        line,
        command,
        expected,
    } = step;
    let (page, expected) = (&block.page, expected.join("\n"));
    Err(format!(
        "{page}:{line}: $ {command}\n--- the page shows\n{expected}\n--- it printed\n{got}"
    ))
}

/// A program with the page's environment and nothing of ours.
fn at(temp: &TempDir, programs: &Path, program: PathBuf) -> Command {
    let path = [
        programs.display().to_string(),
        "/usr/local/bin:/usr/bin:/bin".to_owned(),
    ]
    .join(":");
    let mut command = Command::new(program);
    command.current_dir(temp.path().join("work")).env_clear();
    command
        .env("PATH", path)
        .env("LC_ALL", "C.UTF-8")
        .env("TMPDIR", temp.path().join("tmp"));
    command.env("HOME", temp.path().join("home"));
    command
}

fn csr_pem() -> String {
    let key = rcgen::KeyPair::generate().unwrap();
    rcgen::CertificateParams::default()
        .serialize_request(&key)
        .unwrap()
        .pem()
        .unwrap()
}

fn lines_of(child: &mut Child) -> Receiver<String> {
    lines(child.stdout.take().unwrap())
}

fn lines(output: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
            if sender
                .send(String::from_utf8_lossy(&line).into_owned())
                .is_err()
            {
                return;
            }
        }
    });
    receiver
}

impl Running {
    /// Its next line, or why none comes.
    fn next(&self) -> Result<String, String> {
        self.lines
            .recv_timeout(PATIENCE)
            .map_err(|error| format!("no next line: {error}"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        // The broker and the shell before the folder they stand in.
        drop(self.broker.child.kill());
        drop(self.shell.child.kill());
    }
}

/// What stands for the key an operator brings: published, and good for nothing else.
const RSA: &[u8] = include_bytes!("../../ca/src/signer/software/rs256-test.pk8");

/// A stint.toml without issuers.
const REST: &str = r#"version = 1
[server]
url = "https://stint.acme.dev"
[store]
url = "sqlite:stint.db"
[ledger]
pin = "ledger.pin"
[keys]
dir = "keys"
[ca]
trust_domain = "acme.dev"
[policy]
dir = "policy"
"#;
/// No step takes longer, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(180);
