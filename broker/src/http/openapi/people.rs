//! The routes of people and of their terminals.

use stint_wire as wire;

use super::rows::{DPOP, Parameter, Row, Shape, Who};

/// What people have of their own.
pub(super) const PEOPLE: &[Row] = &[
    Row {
        answers: &[(
            200,
            "The person, their passkeys and sessions",
            Shape::Wire(|to| to.subschema_for::<wire::Me>()),
        )],
        ..person("get", "/v1/me", "me", "Who is signed in")
    },
    Row {
        asks: Shape::Wire(|to| to.subschema_for::<wire::EnrolPasskey>()),
        answers: &[(
            201,
            "It counts from now on",
            Shape::Wire(|to| to.subschema_for::<wire::PasskeyEnrolled>()),
        )],
        ..person(
            "post",
            "/v1/me/passkeys",
            "enrolPasskey",
            "Enrol a passkey, right after a login",
        )
    },
    Row {
        answers: &[(
            200,
            "What to ask an authenticator",
            Shape::Wire(|to| to.subschema_for::<wire::PasskeyOptions>()),
        )],
        ..person(
            "post",
            "/v1/me/passkeys/options",
            "passkeyOptions",
            "What a new passkey signs over",
        )
    },
    Row {
        parameters: &[Parameter {
            place: "path",
            name: "credential",
            about: "The passkey's name, base64url",
            pattern: "^[A-Za-z0-9_-]{1,1400}$",
        }],
        answers: DONE,
        ..person(
            "post",
            "/v1/me/passkeys/{credential}/retire",
            "retirePasskey",
            "Let a passkey of one's own count no more",
        )
    },
    Row {
        parameters: &[Parameter {
            place: "path",
            name: "id",
            about: "The session's name",
            pattern: "^[A-Za-z0-9_-]{43}$",
        }],
        answers: DONE,
        ..person(
            "post",
            "/v1/me/sessions/{id}/end",
            "endSession",
            "End a session of one's own",
        )
    },
    Row {
        asks: Shape::Wire(|to| to.subschema_for::<wire::LetIn>()),
        answers: &[(
            201,
            "Where the browser takes the code",
            Shape::Wire(|to| to.subschema_for::<wire::GoTo>()),
        )],
        ..person(
            "post",
            "/v1/cli/codes",
            "letIn",
            "Let a terminal in that ran `stint login`",
        )
    },
    Row {
        who: Who::Anybody,
        parameters: &[DPOP],
        asks: Shape::Wire(|to| to.subschema_for::<wire::OpenSession>()),
        answers: &[(
            201,
            "A session of an hour, for the key of the proof",
            Shape::Wire(|to| to.subschema_for::<wire::SessionOpened>()),
        )],
        ..person(
            "post",
            "/v1/sessions",
            "openSession",
            "A terminal redeems its code; counts once",
        )
    },
    Row {
        answers: DONE,
        ..person(
            "post",
            "/v1/sessions/end",
            "endThisSession",
            "End the session that asks",
        )
    },
];

/// Nothing more to say.
const DONE: &[(u16, &str, Shape)] = &[(204, "Done", Shape::Nothing)];

const fn person(
    method: &'static str,
    path: &'static str,
    id: &'static str,
    about: &'static str,
) -> Row {
    Row {
        method,
        path,
        id,
        about,
        who: Who::Person,
        parameters: &[],
        asks: Shape::Nothing,
        answers: &[],
    }
}
