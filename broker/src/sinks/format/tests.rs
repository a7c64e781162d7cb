use serde_json::Value;

use super::*;

/// A log's first entries, as the vectors have them: header and body.
fn vectors() -> Vec<(Vec<u8>, Vec<u8>)> {
    let text = include_str!("../../../../tests/vectors/stint.json");
    let vectors: Value = serde_json::from_str(text).unwrap();
    let texts = |name: &str| vectors[name].as_array().unwrap().clone();
    let bytes = |text: Value| text.as_str().unwrap().as_bytes().to_vec();
    let pairs = texts("headers").into_iter().zip(texts("bodies"));
    pairs
        .map(|(header, body)| (bytes(header), bytes(body)))
        .collect()
}

#[expect(
    clippy::fn_params_excessive_bools,
    reason = "a test says with or without"
)]
fn event(format: Format, at: usize, with_body: bool) -> (Event, Value) {
    let (header, body) = vectors().remove(at);
    let source = Source {
        header: &header,
        body: with_body.then_some(body.as_slice()),
    };
    let event = format.event(source).unwrap();
    let value = match format {
        Format::Csv => Value::Null,
        Format::CloudEvents | Format::Jsonl | Format::Ocsf => {
            serde_json::from_slice(&event.line).unwrap()
        }
    };
    (event, value)
}

fn beat() -> Heartbeat {
    Heartbeat {
        log: "stint.example/ledger".into(),
        next: 2,
        at: Timestamp::from_millis(1_795_305_660_000),
        checkpoint: "stint.example/ledger\n2\nroot\n\n— stint.example/ledger sig\n".into(),
    }
}

#[test]
fn jsonl_has_the_stored_bytes_themselves() {
    let (header, body) = vectors().remove(1);
    let (event, value) = event(Format::Jsonl, 1, true);
    let line = String::from_utf8(event.line).unwrap();
    let leaf = leaf(&header);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let wanted = format!(
        "{{\"seq\":1,\"leaf\":\"{leaf}\",\"header\":{},\"body\":{}}}",
        text(header),
        text(body)
    );
    assert_eq!(line, wanted);
    assert_eq!(value["leaf"], "T6Bvnm8AlKalF_fhM1kDIkxh33bp2KEUBNVBAMzDMYo");
    assert_eq!(event.kind, "granted");
}

#[test]
fn a_header_that_was_parsed_and_printed_again_is_the_same() {
    for (header, _) in vectors() {
        // serde_json sorts members and leaves out spaces, as every library can.
        let value: Value = serde_json::from_slice(&header).unwrap();
        assert_eq!(value.to_string().as_bytes(), header);
    }
}

#[test]
fn bodies_go_along_only_when_they_are_handed_over() {
    for format in [Format::CloudEvents, Format::Jsonl, Format::Ocsf] {
        let (event, _) = event(format, 1, false);
        let line = String::from_utf8(event.line).unwrap();
        assert!(!line.contains("BgYGBgYG"), "{line}");
        assert!(!line.contains("github/1234"), "{line}");
    }
    let (header, body) = vectors().remove(1);
    let (_, value) = event(Format::Ocsf, 1, true);
    assert_eq!(value["raw_data"].as_str().unwrap().as_bytes(), header);
    assert_eq!(value["unmapped"]["body"].to_string().as_bytes(), body);
    assert_eq!(
        value["user"]["name"],
        "spiffe://stint.example/github/1234/deploy"
    );
    let asked = "Action::\"deploy\" on Environment::\"prod/web\"";
    assert_eq!(value["privileges"][0], asked);
}

#[test]
fn a_cloud_event_is_named_by_log_and_leaf_and_sorts_by_its_sequence() {
    let (event, value) = event(Format::CloudEvents, 1, false);
    for (name, wanted) in [
        ("specversion", "1.0"),
        ("id", "T6Bvnm8AlKalF_fhM1kDIkxh33bp2KEUBNVBAMzDMYo"),
        ("source", "stint.example/ledger"),
        ("sequence", "00000000000000000001"),
        ("subject", "gr_agrabdluabyalaafaucqkbifau"),
        ("time", "2026-11-22T00:00:00.123Z"),
        ("type", "dev.stint.ledger.granted"),
    ] {
        assert_eq!(value[name], wanted, "{name}");
    }
    assert_eq!(event.at.as_millis(), 1_795_305_600_123);
    assert_eq!(value["data"]["seq"], 1);
}

#[test]
fn heartbeats_carry_the_note_as_it_is_and_are_occurrences_of_their_own() {
    let again = Heartbeat {
        at: Timestamp::from_millis(1_795_305_720_000),
        ..beat()
    };
    let read = |format: Format, beat: &Heartbeat| {
        let line = format.heartbeat(beat).unwrap().line;
        serde_json::from_slice::<Value>(&line).unwrap()
    };
    let value = read(Format::Jsonl, &beat());
    assert_eq!(value["heartbeat"]["checkpoint"], *beat().checkpoint);
    assert_eq!(value["heartbeat"]["next"], 2);
    let value = read(Format::CloudEvents, &beat());
    assert_eq!(value["type"], "dev.stint.ledger.heartbeat");
    assert_eq!(value["data"]["heartbeat"]["checkpoint"], *beat().checkpoint);
    assert_ne!(value["id"], read(Format::CloudEvents, &again)["id"]);
    let value = read(Format::Ocsf, &beat());
    assert_eq!(value["class_uid"], 0);
    assert_eq!(value["raw_data"], *beat().checkpoint);
    assert_eq!(value["unmapped"]["next"], 2);
    assert_ne!(
        value["metadata"]["uid"],
        read(Format::Ocsf, &again)["metadata"]["uid"]
    );
    assert_eq!(Format::Csv.heartbeat(&beat()), None);
}

#[test]
fn a_row_has_as_many_cells_as_the_first() {
    let (event, _) = event(Format::Csv, 1, true);
    let row = String::from_utf8(event.line).unwrap();
    let (cells, header) = row.split_once(",\"{").unwrap();
    assert_eq!(cells.split(',').count() + 1, CSV_HEAD.split(',').count());
    assert!(cells.contains("task_agrabdluabyajaaeaqcaibaeaq"));
    assert!(header.starts_with("\"\"behalf\"\"") || header.starts_with("\"\"body\"\""));
    assert!(row.ends_with("}\""));
}

#[test]
fn no_text_of_anybody_ends_a_line() {
    let (header, _) = vectors().remove(1);
    // Canonical JSON escapes what is below U+0020; line ends and orders of Unicode beyond that it does not.
    let body = "{\"salt\":\"BgYGBgYGBgYGBgYGBgYGBg\",\"what\":{\"reason\":\"a\\nb\\r\\u001b[2Jc\u{2028}\u{85}\u{9b}2J\u{202e}\\\"}\"}}";
    for format in [Format::CloudEvents, Format::Jsonl, Format::Ocsf] {
        let source = Source {
            header: &header,
            body: Some(body.as_bytes()),
        };
        let line = format.event(source).unwrap().line;
        let text = String::from_utf8(line.clone()).unwrap();
        assert!(!text.contains(is_illegal), "{format:?}");
        let value: Value = serde_json::from_slice(&line).unwrap();
        let reason = "a\nb\r\u{1b}[2Jc\u{2028}\u{85}\u{9b}2J\u{202e}\"}";
        let found = [
            &value["body"]["what"]["reason"],
            &value["data"]["body"]["what"]["reason"],
            &value["unmapped"]["body"]["what"]["reason"],
        ];
        assert!(found.contains(&&Value::from(reason)), "{format:?}");
    }
}

#[test]
fn what_is_no_header_is_no_event() {
    for bytes in [&b""[..], b"{}", b"{\"kind\":\"granted\"}", b"\xff"] {
        let source = Source {
            header: bytes,
            body: None,
        };
        assert!(Format::Jsonl.event(source).is_err());
    }
}
