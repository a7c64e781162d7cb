//! Dana, for blocks that wait for people: she signs in at the broker's fake provider and adds a passkey. Then she does what
//! the commands of the block say: approves what `stint run` waits for, by the code that it prints, and follows the pages
//! that `stint login` and `stint approve` name.

use std::path::PathBuf;
use std::process::Command;

use reqwest::Url;
use serde_json::{Value, json};
use stint_tests::passkey::Passkey;

/// See the module.
#[derive(Debug)]
pub(crate) struct Approver {
    origin: String,
    jar: PathBuf,
    passkey: Passkey,
    /// The digits that the command said; nobody else is told them.
    code: Option<String>,
}

impl Approver {
    /// Signs her in at the broker on `port`; `jar` is where her browser keeps its cookies.
    pub(crate) fn sign_in(port: &str, jar: PathBuf) -> Approver {
        let origin = format!("http://localhost:{port}");
        let passkey = Passkey::new("localhost", &origin);
        let dana = Approver {
            origin,
            jar,
            passkey,
            code: None,
        };
        let sent = dana.curl(&["-w", "%{redirect_url}", &dana.url("/login/start")]);
        let chosen = sent.replacen("/dev/people/authorize?", "/dev/people/as/dana?", 1);
        dana.curl(&["-L", &chosen]);
        let options = dana.post("/v1/me/passkeys/options", &json!({}));
        let enrolled = dana.post("/v1/me/passkeys", &dana.passkey.offer(&options));
        assert!(enrolled["seq"].is_u64(), "{enrolled}");
        dana
    }

    /// Hears a line of a command, and acts when it has said all she needs.
    pub(crate) fn hear(&mut self, command: &str, line: &str) {
        let word = |name: &str| line.strip_prefix(name)?.split_whitespace().next();
        if let Some(said) = line.strip_prefix("code ") {
            self.code = Some(said.chars().filter(char::is_ascii_digit).collect());
        }
        let waits = command.starts_with("stint run");
        let page = word("open ").or_else(|| word("approve ").filter(|_| waits));
        let page = page.map(|page| Url::parse(page).unwrap());
        match page.as_ref().map(Url::path) {
            Some("/cli/authorize") => self.let_in(&page.unwrap()),
            Some(path) => self.approve(path.strip_prefix("/a/").unwrap()),
            None => {}
        }
    }

    /// Lets the terminal in that named this page.
    fn let_in(&self, page: &Url) {
        let pairs = page.query_pairs();
        let mut body: Value = pairs
            .map(|(name, value)| (name.into_owned(), json!(value)))
            .collect();
        body["port"] = json!(body["port"].as_str().unwrap().parse::<u16>().unwrap());
        let answer = self.post("/v1/cli/codes", &body);
        self.curl(&[answer["redirect"].as_str().unwrap()]);
    }

    fn approve(&self, request: &str) {
        let path = format!("/v1/requests/{request}");
        let choice = json!({ "vote": "yes", "match_code": self.code });
        let ballot = self.post(&format!("{path}/ballot"), &choice);
        let cast = self.post(&format!("{path}/votes"), &self.passkey.vote(&ballot));
        assert_eq!(cast["state"], "approved", "{cast}");
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.origin)
    }

    fn post(&self, path: &str, body: &Value) -> Value {
        let origin = format!("Origin: {}", self.origin);
        let headers = [
            "Content-Type: application/json",
            "Sec-Fetch-Site: same-origin",
        ];
        let headers = headers.iter().flat_map(|header| ["-H", *header]);
        let (body, url) = (body.to_string(), self.url(path));
        let mut args: Vec<_> = headers.collect();
        args.extend(["-H", &origin, "--data-binary", &body, &url]);
        let said = self.curl(&args);
        serde_json::from_str(&said).unwrap_or_else(|error| panic!("{path}: {error}: {said}"))
    }

    fn curl(&self, args: &[&str]) -> String {
        let mut curl = Command::new("curl");
        curl.args(["-s", "--max-time", "30", "--noproxy", "*"]);
        let jar = self.jar.as_os_str();
        curl.arg("-c").arg(jar).arg("-b").arg(jar);
        let output = curl.args(args).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }
}
