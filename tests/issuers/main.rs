//! Issuers as they are and as they should not be: presets, keys, outages, the evil IdP.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails on the spot"
)]

mod commands;
mod common;
mod evil_documents;
mod evil_keys;
mod freeze;
mod keys;
mod outage;
mod platform;
mod preset_aws;
mod preset_azure;
mod preset_buildkite;
mod preset_check;
mod preset_circleci;
mod preset_github;
mod preset_gitlab;
mod preset_google;
mod preset_kubernetes;
mod preset_spiffe;
mod preset_terraform;
mod rollup;
