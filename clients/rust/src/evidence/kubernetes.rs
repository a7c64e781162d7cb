//! Kubernetes: the kubelet's projected token, read anew at each use. Between two of the kubelet's it is the same one.

use std::path::{Path, PathBuf};

use super::platform::Env;
use super::{Kind, Source, SourceError};

/// Where the pod mounts Stint's token (UX.md §3).
const TOKEN: &str = "/var/run/secrets/stint/token";

pub(super) fn is_here(_: &Env<'_>) -> bool {
    Path::new(TOKEN).exists()
}

/// A cluster is around, and nothing else was found.
pub(super) fn is_around(env: &Env<'_>) -> bool {
    env.has("KUBERNETES_SERVICE_HOST")
}

pub(super) fn source(env: &Env<'_>) -> Result<Source, SourceError> {
    at(Path::new(TOKEN), env)
}

pub(super) fn at(token: &Path, env: &Env<'_>) -> Result<Source, SourceError> {
    if token.exists() {
        return Ok(Source(Kind::File {
            path: PathBuf::from(token),
            from: format!("Kubernetes, {}", token.display()),
        }));
    }
    let url = env.broker();
    Err(SourceError::HalfSetUp {
        platform: "Kubernetes",
        remedy: format!(
            "volumes:\n- name: stint\n  projected:\n    sources:\n    - serviceAccountToken: {{ path: token, audience: \"{url}\", expirationSeconds: 600 }}\n# and in the container\nvolumeMounts:\n- {{ name: stint, mountPath: /var/run/secrets/stint, readOnly: true }}"
        ),
    })
}
