//! Audiences that are somebody else's (I04): what platforms give without being asked, and what other services ask for. A
//! token for one of them is in many hands, and one that opens a cloud must not lie in this broker's memory.

/// Whether tokens for other services carry this audience.
pub(super) fn is_foreign(audience: &str) -> bool {
    let host = audience
        .strip_prefix("https://")
        .map(|rest| rest.split(['/', ':']).next().unwrap_or_default());
    let at = |host: &str, domain: &str| {
        host.strip_suffix(domain)
            .is_some_and(|head| head.is_empty() || head.ends_with('.'))
    };
    WHOLE.contains(&audience)
        || STARTS.iter().any(|start| audience.starts_with(start))
        || ENDS.iter().any(|end| audience.ends_with(end))
        || host.is_some_and(|host| DOMAINS.iter().any(|domain| at(host, domain)))
}

/// Words that services agree on, and the ids of Microsoft's own applications (Graph, Azure AD Graph, Resource Manager,
/// Key Vault, Storage), which v2 tokens carry in place of their URLs.
const WHOLE: [&str; 17] = [
    "api://AzureADTokenExchange",
    "aws.workload.identity",
    "azure.workload.identity",
    "gcp.workload.identity",
    "hcp.workload.identity",
    "kubernetes",
    "pypi",
    "rubygems.org",
    "sigstore",
    "sts.amazonaws.com",
    "testpypi",
    "vault.workload.identity",
    "00000002-0000-0000-c000-000000000000",
    "00000003-0000-0000-c000-000000000000",
    "797f4846-ba00-4fd7-ba43-dac1f8f63013",
    "cfa8b339-82a2-471a-a3c9-0fc0be7a4093",
    "e406a681-f3d4-42a8-90b6-c2b029497af1",
];

const STARTS: [&str; 4] = [
    "//iam.googleapis.com/",
    "npm:",
    "https://kubernetes.default",
    "spiffe://",
];

/// The form of Google's OAuth clients: gcloud's own, and those in front of other services.
const ENDS: [&str; 1] = [".apps.googleusercontent.com"];

/// Hosts of platforms and of the services they open.
const DOMAINS: [&str; 17] = [
    "amazonaws.com",
    "azure.cn",
    "azure.com",
    "azure.net",
    "buildkite.com",
    "circleci.com",
    "crates.io",
    "github.com",
    "gitlab.com",
    "googleapis.com",
    "microsoft.com",
    "microsoftazure.us",
    "microsoftonline.com",
    "rubygems.org",
    "terraform.io",
    "usgovcloudapi.net",
    "windows.net",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_audience_of_others_is_known() {
        for foreign in [
            "sts.amazonaws.com",
            "https://github.com/octo",
            "https://gitlab.com",
            "https://management.azure.com",
            "https://management.azure.com/",
            "https://vault.azure.net",
            "https://graph.microsoft.com",
            "https://acme.database.windows.net:443/x",
            "00000003-0000-0000-c000-000000000000",
            "https://buildkite.com/acme",
            "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/x",
            "https://iam.googleapis.com/projects/1",
            "32555940559.apps.googleusercontent.com",
            "https://kubernetes.default.svc.cluster.local",
            "npm:registry.example",
        ] {
            assert!(is_foreign(foreign), "{foreign}");
        }
        for own in [
            "https://stint.example",
            "https://stint.example/k/west",
            "https://notgithub.com",
            "https://github.com.acme.example",
            "stint",
            "pypi-internal",
            "api://72f988bf-86f1-41af-91ab-2d7cd011db47",
        ] {
            assert!(!is_foreign(own), "{own}");
        }
    }
}
