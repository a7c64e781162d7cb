//! The routes of asks on hold: for those who asked, and for those who decide.

use stint_wire as wire;

use super::rows::{DPOP, Parameter, REQUEST, Row, Shape, Who};

/// Where a request stands, and how people vote on it.
pub(super) const REQUESTS: &[Row] = &[
    Row {
        method: "get",
        path: "/v1/requests",
        id: "requests",
        about: "What waits for people, as far as the reader has to do with it, the one that ends first in front",
        who: Who::Person,
        parameters: &[Parameter {
            place: "query",
            name: "after",
            about: "`next` of the page before",
            pattern: "^[0-9]+-req_[0-9a-z]{26}$",
        }],
        asks: Shape::Nothing,
        answers: &[(
            200,
            "A page of them",
            Shape::Wire(|to| to.subschema_for::<wire::RequestList>()),
        )],
    },
    Row {
        method: "get",
        path: "/v1/requests/{id}",
        id: "request",
        about: "Where a request stands, by evidence of the task that asked or by the key that asked; spends nothing",
        who: Who::Caller,
        parameters: &[
            DPOP,
            REQUEST,
            Parameter {
                place: "query",
                name: "wait_s",
                about: "Answer as soon as something happens to it, after so many seconds at the latest",
                pattern: "^([0-9]|[12][0-9]|30)$",
            },
        ],
        asks: Shape::Nothing,
        answers: &[(
            200,
            "The request",
            Shape::Wire(|to| to.subschema_for::<wire::RequestView>()),
        )],
    },
    Row {
        method: "post",
        path: "/v1/requests/{id}/cancel",
        id: "cancel",
        about: "Take a request back; once more is as good as once",
        who: Who::Caller,
        parameters: &[DPOP, REQUEST],
        asks: Shape::Nothing,
        answers: &[(
            200,
            "The request",
            Shape::Wire(|to| to.subschema_for::<wire::RequestView>()),
        )],
    },
    Row {
        method: "post",
        path: "/v1/requests/{id}/ballot",
        id: "ballot",
        about: "What a passkey would sign to say yes or no; decides nothing",
        who: Who::Person,
        parameters: &[REQUEST],
        asks: Shape::Wire(|to| to.subschema_for::<wire::BallotAsk>()),
        answers: &[(
            200,
            "The facts, and what to sign",
            Shape::Wire(|to| to.subschema_for::<wire::Ballot>()),
        )],
    },
    Row {
        method: "post",
        path: "/v1/requests/{id}/votes",
        id: "vote",
        about: "The signed vote: recorded, and counted by the policies in force",
        who: Who::Person,
        parameters: &[REQUEST],
        asks: Shape::Wire(|to| to.subschema_for::<wire::SignedVote>()),
        answers: &[(
            201,
            "On record",
            Shape::Wire(|to| to.subschema_for::<wire::VoteCast>()),
        )],
    },
];
