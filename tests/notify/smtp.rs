//! A mail server that takes letters: in the clear, behind STARTTLS or in TLS, and with a switch.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use stint_tests::clock::eventually;
use stint_tests::tls::Pki;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::scene::Secrets;

/// How clients come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Implicit,
    Plain,
    Starttls,
    /// STARTTLS is not offered, though it should be: somebody took it away.
    Stripped,
}

/// What it does with letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    /// No answer to the first command.
    Hangs,
    /// 550 to one reader, whoever it is.
    Refuses(&'static str),
    /// 451.
    Sends451,
    Takes,
}

/// A letter that was taken.
#[derive(Clone, Debug)]
pub(crate) struct Letter {
    pub(crate) from: String,
    pub(crate) to: Vec<String>,
    /// Head and body, as they came.
    pub(crate) text: String,
    /// Whether it came in TLS.
    pub(crate) sealed: bool,
    /// What AUTH PLAIN said.
    pub(crate) auth: Option<String>,
}

impl Letter {
    /// The body, without the wrapping of quoted-printable.
    pub(crate) fn body(&self) -> String {
        let body = self.text.split_once("\r\n\r\n").unwrap().1;
        let body = body.replace("=\r\n", "").replace("\r\n", "\n");
        body.replace("=3D", "=").replace("=20", " ")
    }

    /// A field of the head.
    pub(crate) fn field(&self, name: &str) -> String {
        let head = self
            .text
            .split_once("\r\n\r\n")
            .unwrap()
            .0
            .replace("\r\n ", " ");
        let mut lines = head.split("\r\n").map(str::to_owned);
        let found =
            lines.find_map(|line| line.strip_prefix(&format!("{name}: ")).map(str::to_owned));
        found.unwrap_or_else(|| panic!("no {name}: {head}"))
    }
}

#[derive(Debug)]
struct Seen {
    mood: Mood,
    letters: Vec<Letter>,
    connections: usize,
}

/// A mail server over real TCP.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    way: Way,
    pki: Pki,
    folder: TempDir,
    seen: Arc<Mutex<Seen>>,
    _tasks: JoinSet<()>,
}

impl Server {
    pub(crate) async fn start(way: Way) -> Server {
        let folder = tempfile::tempdir().unwrap();
        drop(rustls::crypto::ring::default_provider().install_default());
        let pki = Pki::new(folder.path());
        std::fs::write(folder.path().join("root.pem"), pki.root_pem()).unwrap();
        let seen = Arc::new(Mutex::new(Seen {
            mood: Mood::Takes,
            letters: Vec::new(),
            connections: 0,
        }));
        let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = socket.local_addr().unwrap();
        let (acceptor, shared) = (acceptor(&pki), Arc::clone(&seen));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut open = JoinSet::new();
            loop {
                let (stream, _) = socket.accept().await.unwrap();
                shared.lock().unwrap().connections += 1;
                open.spawn(serve(stream, (way, acceptor.clone()), Arc::clone(&shared)));
            }
        });
        Server {
            address,
            way,
            pki,
            folder,
            seen,
            _tasks: tasks,
        }
    }

    /// `[notify.mail]` that leads here; a user and a password go along in TLS.
    pub(crate) fn table(&self, secrets: &Secrets, more: &str) -> String {
        let port = self.address.port();
        let url = match self.way {
            Way::Implicit => format!("smtps://stint@localhost:{port}"),
            Way::Plain => format!("smtp://127.0.0.1:{port}"),
            Way::Starttls | Way::Stripped => format!("smtp+starttls://stint@localhost:{port}"),
        };
        let url = secrets.keep("mail.url", &url);
        let tls = match self.way {
            Way::Plain => String::new(),
            Way::Implicit | Way::Starttls | Way::Stripped => {
                let password = secrets.keep("mail.password", PASSWORD);
                let root = self.folder.path().join("root.pem");
                format!("secret = {password}\nca_file = \"{}\"\n", root.display())
            }
        };
        format!(
            "[notify.mail]\nkind = \"smtp\"\nurl = {url}\nfrom = \"Stint <stint@acme.dev>\"\n\
             timeout = \"2s\"\n{tls}{more}\n"
        )
    }

    pub(crate) fn pki(&self) -> &Pki {
        &self.pki
    }

    pub(crate) fn mood(&self, mood: Mood) {
        self.seen.lock().unwrap().mood = mood;
    }

    pub(crate) fn letters(&self) -> Vec<Letter> {
        self.seen.lock().unwrap().letters.clone()
    }

    pub(crate) fn connections(&self) -> usize {
        self.seen.lock().unwrap().connections
    }

    /// Waits until `count` were taken, and gives the last.
    pub(crate) async fn received(&self, count: usize) -> Letter {
        eventually(&format!("{count} letters"), async || {
            self.letters().len() >= count
        })
        .await;
        let letters = self.letters();
        assert_eq!(letters.len(), count, "{letters:#?}");
        letters.last().unwrap().clone()
    }
}

/// What the server is shown; not one of ours.
pub(crate) const PASSWORD: &str = "mail-password-of-the-relay";

fn acceptor(pki: &Pki) -> TlsAcceptor {
    let certs = CertificateDer::pem_file_iter(pki.cert()).unwrap();
    let certs = certs.collect::<Result<_, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_file(pki.key()).unwrap();
    let config = ServerConfig::builder().with_no_client_auth();
    TlsAcceptor::from(Arc::new(config.with_single_cert(certs, key).unwrap()))
}

async fn serve(stream: TcpStream, (way, acceptor): (Way, TlsAcceptor), seen: Arc<Mutex<Seen>>) {
    if way == Way::Implicit {
        if let Ok(stream) = acceptor.accept(stream).await {
            drop(talk(stream, (way, true), &seen).await);
        }
        return;
    }
    let Ok(Some(stream)) = talk(stream, (way, false), &seen).await else {
        return;
    };
    if let Ok(stream) = acceptor.accept(stream).await {
        drop(talk(stream, (Way::Starttls, true), &seen).await);
    }
}

/// One session; gives the stream back where TLS is to begin on it.
async fn talk<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    (way, sealed): (Way, bool),
    seen: &Arc<Mutex<Seen>>,
) -> std::io::Result<Option<S>> {
    let mut stream = BufReader::new(stream);
    // After STARTTLS there is no second greeting.
    if !(sealed && way == Way::Starttls) {
        stream
            .get_mut()
            .write_all(b"220 mail.test ESMTP\r\n")
            .await?;
    }
    let mut letter = Letter {
        from: String::new(),
        to: Vec::new(),
        text: String::new(),
        sealed,
        auth: None,
    };
    let mut line = String::new();
    loop {
        line.clear();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(None);
        }
        let mood = seen.lock().unwrap().mood;
        if mood == Mood::Hangs {
            std::future::pending::<()>().await;
        }
        let word = line.trim_end().to_owned();
        let upper = word.to_uppercase();
        let answer = match upper.split([' ', ':']).next().unwrap_or_default() {
            "EHLO" => match (way, sealed) {
                (Way::Starttls, false) => "250-mail.test\r\n250 STARTTLS".to_owned(),
                (Way::Implicit | Way::Plain | Way::Starttls | Way::Stripped, _) => {
                    "250-mail.test\r\n250 AUTH PLAIN".to_owned()
                }
            },
            "STARTTLS" => {
                stream.get_mut().write_all(b"220 go on\r\n").await?;
                return Ok(Some(stream.into_inner()));
            }
            "AUTH" => {
                let plain = word.rsplit(' ').next().unwrap_or_default();
                let plain = data_encoding::BASE64.decode(plain.as_bytes()).unwrap();
                letter.auth = Some(String::from_utf8(plain).unwrap());
                "235 welcome".to_owned()
            }
            "MAIL" => {
                letter.from = address(&word);
                "250 ok".to_owned()
            }
            "RCPT" => match mood {
                Mood::Refuses(who) if word.contains(who) => "550 no such user".to_owned(),
                Mood::Sends451 => "451 later".to_owned(),
                Mood::Hangs | Mood::Refuses(_) | Mood::Takes => {
                    letter.to.push(address(&word));
                    "250 ok".to_owned()
                }
            },
            "DATA" => {
                stream.get_mut().write_all(b"354 go on\r\n").await?;
                letter.text = data(&mut stream).await?;
                seen.lock().unwrap().letters.push(letter.clone());
                letter.to.clear();
                "250 taken".to_owned()
            }
            "QUIT" => "221 bye".to_owned(),
            _ => "250 ok".to_owned(),
        };
        stream
            .get_mut()
            .write_all(format!("{answer}\r\n").as_bytes())
            .await?;
    }
}

async fn data<S: AsyncRead + Unpin>(stream: &mut BufReader<S>) -> std::io::Result<String> {
    let mut text = String::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        if line == ".\r\n" || line.is_empty() {
            return Ok(text);
        }
        text.push_str(line.strip_prefix('.').unwrap_or(&line));
    }
}

/// `<…>` of MAIL and RCPT.
fn address(line: &str) -> String {
    let (_, rest) = line.split_once('<').unwrap();
    format!("<{}>", rest.split_once('>').unwrap().0)
}
