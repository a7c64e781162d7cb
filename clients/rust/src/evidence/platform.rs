//! The table of platforms: their order, their names, how each is recognised, and what it needs.

use super::{
    Source, SourceError, aws, azure, buildkite, circleci, github, gitlab, google, kubernetes,
    spiffe, terraform,
};

/// One platform.
struct Platform {
    /// What `STINT_TOKEN_SOURCE` calls it.
    name: &'static str,
    /// What it needs, in one line.
    declare: &'static str,
    /// Whether this looks like it, whole or half set up. Costs no network.
    is_here: fn(&Env<'_>) -> bool,
    /// The source, or what is missing.
    source: fn(&Env<'_>) -> Result<Source, SourceError>,
}

/// The first that is here is taken, and only that one. A pod comes twice: by its file it is sure; that there is a
/// cluster around says little, since CI jobs run in pods too.
const PLATFORMS: [Platform; 11] = [
    Platform {
        name: "github-actions",
        declare: "permissions: { id-token: write }",
        is_here: github::is_here,
        source: github::source,
    },
    Platform {
        name: "gitlab-ci",
        declare: "id_tokens: { STINT_ID_TOKEN: { aud: URL } }",
        is_here: gitlab::is_here,
        source: gitlab::source,
    },
    Platform {
        name: "kubernetes",
        declare: "a projected token at /var/run/secrets/stint/token",
        is_here: kubernetes::is_here,
        source: kubernetes::source,
    },
    Platform {
        name: "buildkite",
        declare: "`buildkite-agent` where the command runs",
        is_here: buildkite::is_here,
        source: buildkite::source,
    },
    Platform {
        name: "circleci",
        declare: "`circleci` where the command runs",
        is_here: circleci::is_here,
        source: circleci::source,
    },
    Platform {
        name: "terraform-cloud",
        declare: "TFC_WORKLOAD_IDENTITY_AUDIENCE in the workspace",
        is_here: terraform::is_here,
        source: terraform::source,
    },
    Platform {
        name: "spiffe",
        declare: "SPIFFE_ENDPOINT_SOCKET, and a registration",
        is_here: spiffe::is_here,
        source: spiffe::source,
    },
    Platform {
        name: "google",
        declare: "a service account; Cloud Run is found, elsewhere name it",
        is_here: google::is_here,
        source: google::source,
    },
    Platform {
        name: "azure",
        declare: "a managed identity; App Service is found, elsewhere name it",
        is_here: azure::is_here,
        source: azure::source,
    },
    Platform {
        name: "aws",
        declare: "`aws` on PATH; Lambda and ECS are found, elsewhere name it",
        is_here: aws::is_here,
        source: aws::source,
    },
    Platform {
        name: "kubernetes",
        declare: "",
        is_here: kubernetes::is_around,
        source: kubernetes::source,
    },
];

/// A row of `stint help sources`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// What `STINT_TOKEN_SOURCE` calls the platform.
    pub name: &'static str,
    /// What has to be declared for it.
    pub declare: &'static str,
}

/// The table without its second row for Kubernetes.
pub(super) fn rows() -> Vec<Row> {
    let said = PLATFORMS.iter().filter(|row| !row.declare.is_empty());
    said.map(|&Platform { name, declare, .. }| Row { name, declare })
        .collect()
}

/// The names, for people.
pub(super) fn names() -> String {
    let names: Vec<_> = rows().iter().map(|row| row.name).collect();
    match names.split_last() {
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => String::new(),
    }
}

/// The platform that is named, else the first that is here.
pub(super) fn find(env: &Env<'_>) -> Result<Source, SourceError> {
    let mut platforms = PLATFORMS.iter();
    let named = env.get("STINT_TOKEN_SOURCE");
    let found = platforms.find(|platform| match &named {
        Some(name) => platform.name == name,
        None => (platform.is_here)(env),
    });
    match (found, named) {
        (Some(platform), _) => (platform.source)(env),
        (None, Some(name)) => Err(SourceError::Unknown(name)),
        (None, None) => Err(SourceError::None),
    }
}

/// The environment as somebody else reads it; an empty variable is none.
pub(super) struct Env<'a>(&'a dyn Fn(&str) -> Option<String>);

impl<'a> Env<'a> {
    pub(super) fn new(read: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self(read)
    }

    pub(super) fn get(&self, name: &str) -> Option<String> {
        (self.0)(name).filter(|value| !value.is_empty())
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// The broker's URL for a text to copy. It is the audience too, but for a broker that says otherwise.
    pub(super) fn broker(&self) -> String {
        let url = self.get("STINT_URL");
        url.map_or_else(
            || "https://your.broker".to_owned(),
            |url| url.trim_end_matches('/').to_owned(),
        )
    }

    /// Where the program `name` is, if it is on `PATH`. Not in the folder that the job is in: whoever wrote what was
    /// checked out there is not who the token is for.
    pub(super) fn program(&self, name: &str) -> Option<std::path::PathBuf> {
        let path = self.get("PATH")?;
        std::env::split_paths(&path)
            .filter(|folder| folder.is_absolute())
            .map(|folder| folder.join(name))
            .find(|program| program.is_file())
    }
}
