//! `{"seq":12,"leaf":"…","header":{…},"body":{…}}`, and `{"heartbeat":{…}}`: the header is the stored bytes, copied.

use serde_json::json;

use super::{Heartbeat, Read, member, open};

pub(super) fn entry(read: &Read<'_>) -> Vec<u8> {
    let mut line = format!("{{\"seq\":{},\"leaf\":\"{}\"", read.header.seq, read.leaf).into_bytes();
    member(&mut line, "header", read.source.header);
    if let Some(body) = read.source.body {
        member(&mut line, "body", body);
    }
    line.push(b'}');
    line
}

pub(super) fn heartbeat(beat: &Heartbeat) -> Vec<u8> {
    let inner = json!({
        "log": *beat.log,
        "at": beat.at.as_millis(),
        "next": beat.next,
        "checkpoint": *beat.checkpoint,
    });
    let mut line = open(&json!({}));
    line.extend_from_slice(b"\"heartbeat\":");
    line.extend_from_slice(inner.to_string().as_bytes());
    line.push(b'}');
    line
}
