//! A platform's token service: it gives every caller the same answer, and remembers what it was asked.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};

pub(crate) struct Metadata {
    pub(crate) address: String,
    asked: Receiver<String>,
}

impl Metadata {
    pub(crate) fn start(status: u16, body: &str) -> Metadata {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (sender, asked) = channel();
        let answer = format!(
            "HTTP/1.1 {status} -\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        );
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                serve(stream.unwrap(), &answer, &sender);
            }
        });
        Metadata { address, asked }
    }

    /// The head of the next request that came.
    pub(crate) fn heard(&self) -> String {
        self.asked.recv().unwrap()
    }
}

fn serve(mut stream: TcpStream, answer: &str, asked: &Sender<String>) {
    let mut lines = BufReader::new(stream.try_clone().unwrap());
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") && lines.read_line(&mut head).unwrap() > 0 {}
    // A test that does not care has gone.
    drop(asked.send(head));
    stream.write_all(answer.as_bytes()).unwrap();
}
