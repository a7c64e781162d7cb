//! `stint login` and `logout`: somebody signs in with a browser, and the session comes back to this terminal over its own
//! loopback (RFC 8252, with PKCE), bound to a key that never leaves here.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::Duration;

use reqwest::Url;
use stint_client::{Pkce, SessionKey};

use crate::args::Login as Args;
use crate::exit::Exit;
use crate::output::{Failure, Output};
use crate::person::{self, Login};
use crate::settings::Settings;
use crate::{browser, session, words};

/// Signs in.
///
/// # Errors
/// Exit 4 if nobody signs in, or the broker does not take what came back.
pub(crate) fn login(args: &Args, settings: Settings, output: &Output) -> Result<Exit, Failure> {
    let settings = settings.at(args.broker.clone());
    let client = settings.client()?;
    // The root is compared with the pin before anybody types a password.
    session::block_on(async { Ok(client.trust().await.map(drop)?) })?;
    let key = SessionKey::generate()?;
    let pkce = Pkce::generate()?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let port = listener.local_addr()?.port().to_string();
    let page = Url::parse_with_params(
        &format!("{}/cli/authorize", client.url()),
        [
            ("port", port.as_str()),
            ("challenge", &pkce.challenge),
            ("key", &key.thumbprint()),
            ("state", &pkce.state),
        ],
    );
    let page = page.map_err(|error| Failure::new(Exit::Bug, error))?;
    browser::show(page.as_str(), output);
    if !args.no_browser {
        browser::open(page.as_str());
    }
    let code = listen(&listener, &pkce.state)?;
    let opened = session::block_on(async { Ok(client.sign_in(&code, &pkce, &key).await?) })?;
    let until = words::moment_of(&opened.expires_at);
    let path = Login::new(&client, opened, &key).keep()?;
    output.talk("login", format!("at {} until {until}", client.url()));
    output.detail("files", path.display());
    Ok(Exit::Ok)
}

/// Signs out, here in any case.
///
/// # Errors
/// As the call.
pub(crate) fn logout(settings: &Settings, output: &Output) -> Result<Exit, Failure> {
    let client = settings.client()?;
    let login = Login::at(&client)?;
    person::forget()?;
    if let Some(login) = login {
        let person = login.person(&client)?;
        if let Err(error) = session::block_on(async { Ok(person.sign_out().await?) }) {
            let why = error.lines.first().map_or("", |(_, text)| text.as_str());
            output.talk(
                "warning",
                format!("the broker keeps it until it ends: {why}"),
            );
        }
    }
    output.talk(
        "logout",
        format!("nobody is signed in at {} here", client.url()),
    );
    Ok(Exit::Ok)
}

/// Waits for the browser to come back with the code; anybody else who knocks is sent away.
fn listen(listener: &TcpListener, state: &str) -> Result<String, Failure> {
    for _ in 0..MOST_KNOCKS {
        let (stream, _) = listener.accept()?;
        if let Ok(Some(code)) = answer(&stream, state) {
            return Ok(code);
        }
    }
    let text = "what came back from the browser was not the login's answer";
    Err(Failure::new(Exit::Unauthenticated, text).next("stint login, again"))
}

/// One request of a browser: its first line is all that counts.
fn answer(mut stream: &TcpStream, state: &str) -> std::io::Result<Option<String>> {
    stream.set_read_timeout(Some(SILENCE))?;
    let mut line = String::new();
    BufReader::new(stream.take(MAX_HEAD)).read_line(&mut line)?;
    let code = line
        .strip_prefix("GET ")
        .and_then(|rest| rest.split_once(' '))
        .and_then(|(target, _)| code_in(target, state));
    let (status, text) = match code {
        Some(_) => ("200 OK", "You are signed in. This page can be closed.\n"),
        None => ("404 Not Found", "There is nothing here.\n"),
    };
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\n\
         Cache-Control: no-store\r\nConnection: close\r\n\r\n{text}",
        text.len()
    )?;
    stream.flush()?;
    Ok(code)
}

/// The code of a target with our own `state`.
fn code_in(target: &str, state: &str) -> Option<String> {
    let url = Url::parse("http://127.0.0.1").ok()?.join(target).ok()?;
    let value = |wanted: &str| {
        let mut found = url.query_pairs().filter(|(name, _)| name == wanted);
        match (found.next(), found.next()) {
            (Some((_, value)), None) => Some(value.into_owned()),
            (_, _) => None,
        }
    };
    let same = value("state").is_none_or(|found| found == state);
    value("code").filter(|_| same)
}

/// A browser asks for an icon too, and whoever scans ports may come by.
const MOST_KNOCKS: usize = 100;
/// How long somebody may take to say what he wants.
const SILENCE: Duration = Duration::from_secs(5);
/// A code and a state are far below.
const MAX_HEAD: u64 = 8 * 1024;

#[cfg(test)]
mod tests {
    use super::code_in;

    #[test]
    fn only_the_answer_to_our_own_question_is_taken() {
        assert_eq!(code_in("/?code=abc&state=s", "s").as_deref(), Some("abc"));
        for other in [
            "/?state=s",
            "/?code=abc&state=t",
            "/?code=a&code=b&state=s",
            "/favicon.ico",
        ] {
            assert_eq!(code_in(other, "s"), None, "{other}");
        }
    }
}
