//! One row a entry (RFC 4180), for spreadsheets: what headers say, and the header itself.

use super::Read;

/// The first row.
pub const HEAD: &str = "seq,leaf,time,kind,id,subj,by,behalf,task,request,grant,pol,header";

pub(super) fn row(read: &Read<'_>) -> Vec<u8> {
    let header = &read.header;
    let digest = |digest: &Option<String>| digest.clone().unwrap_or_default();
    let fact = |name: &str| read.fact(name).unwrap_or_default().to_owned();
    // Digests, ids and kinds have neither commas nor quotes; only the header does.
    let grant = match read.kind() {
        "granted" => header.id.clone(),
        _ => fact("grant"),
    };
    let request = match read.kind() {
        "requested" => header.id.clone(),
        _ => fact("request"),
    };
    let cells = [
        header.seq.to_string(),
        read.leaf.to_string(),
        read.at().rfc3339(),
        read.kind().to_owned(),
        header.id.clone(),
        digest(&header.subj),
        digest(&header.by),
        digest(&header.behalf),
        fact("task"),
        request,
        grant,
        digest(&header.pol),
        quoted(&String::from_utf8_lossy(read.source.header)),
    ];
    cells.join(",").into_bytes()
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}
