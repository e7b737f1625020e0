//! Why nothing is heard of a kind, and the one line that says so, with the cure. Not here: when it is tried again
//! (`backoff`).

use super::super::last_good::error;
use super::kinds::Kind;
use isolator_policy::model::{Place, Problem, Severity};

/// Why a list or a watch failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Away {
    /// No connection, or no answer, or one that it cannot serve now.
    Unreachable(String),
    /// Who we are is not accepted (401).
    Unauthorized(String),
    /// We may not do this (403).
    Forbidden(&'static str),
    /// The other side cannot be trusted.
    Untrusted(String),
    /// There is no such kind (404).
    Missing,
    /// Another refusal.
    Refused(String),
    /// An answer that cannot be read.
    Garbled(String),
}

/// What to do about certificates and tokens, which both have times in them.
const CLOCK: &str = "If this machine's clock is wrong, set it (chrony, systemd-timesyncd)";

impl Away {
    /// What a list or a watch of `kind` met. `verb` is what RBAC calls it.
    pub(super) fn of(error: &kube::Error, verb: &'static str) -> Away {
        if let kube::Error::Api(status) = error {
            let said = || format!("{} ({})", status.message, status.code);
            return match status.code {
                401 => Away::Unauthorized(said()),
                403 => Away::Forbidden(verb),
                404 => Away::Missing,
                408 | 429 | 500..=599 => Away::Unreachable(said()),
                _ => Away::Refused(said()),
            };
        }
        let text = chain(error);
        match error {
            kube::Error::SerdeError(_) | kube::Error::FromUtf8(_) => Away::Garbled(text),
            kube::Error::Auth(_) => Away::Unauthorized(text),
            _ if text.contains("certificate") => Away::Untrusted(text),
            _ => Away::Unreachable(text),
        }
    }

    /// Whether a problem of this code is not about one kind.
    pub(super) fn is_of_all(code: &str) -> bool {
        matches!(code, "api-server-away" | "unauthorized" | "untrusted")
    }

    /// The line. What concerns the whole server is the same for every kind.
    pub(super) fn problem(&self, kind: Kind, synced: bool) -> Problem {
        let name = kind.full_name();
        let consequence = if synced { "What is enforced stays" } else { NOT_SYNCED };
        let (code, message) = match self {
            Away::Unreachable(why) => (
                "api-server-away",
                format!("the API server cannot be reached: {why}. {consequence}; it is tried again"),
            ),
            Away::Unauthorized(why) => (
                "unauthorized",
                format!(
                    "the API server does not accept our credentials: {why}. {consequence}. Renew the token or the client \
                     certificate. {CLOCK}"
                ),
            ),
            Away::Untrusted(why) => (
                "untrusted",
                format!(
                    "the API server's certificate is not accepted: {why}. {consequence}. Check the CA in the kubeconfig. \
                     {CLOCK}"
                ),
            ),
            Away::Forbidden(verb) => (
                "forbidden",
                format!(
                    "no permission to {verb} {name}. {consequence}. Grant the verbs list and watch on {} in API group \
                     \"{}\" to isolator's ClusterRole",
                    kind.plural, kind.group
                ),
            ),
            Away::Missing => (
                "kind-missing",
                format!("the API server does not serve {name} in version {}. {consequence}", kind.version),
            ),
            Away::Refused(why) => {
                ("refused", format!("the API server refuses to list {name}: {why}. {consequence}"))
            }
            Away::Garbled(why) => {
                ("garbled", format!("an answer about {name} cannot be read: {why}. {consequence}"))
            }
        };
        let object = if Away::is_of_all(code) { String::new() } else { kind.kind.to_owned() };
        let problem = error(code, Place::Thing("API server".to_owned()), object, message);
        // Enforcement goes on as it was: that it gets old is worth a warning.
        let old = synced && matches!(self, Away::Unreachable(_));
        Problem { severity: if old { Severity::Warning } else { Severity::Error }, ..problem }
    }
}

/// What it means that not every kind was read.
const NOT_SYNCED: &str = "Nothing new is enforced before every kind was read once; what an earlier run enforced stays, \
                          and new pods may only talk to their node";

/// An error with its causes, each once.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let more = cause.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::kinds::of;
    use super::*;

    #[test]
    fn a_certificate_that_is_not_accepted_is_said_with_the_cure() {
        let said = "invalid peer certificate: certificate not valid yet";
        let away = Away::of(&kube::Error::Service(said.into()), "list");
        let Problem { code, message, .. } = away.problem(of("Pod").unwrap(), false);
        assert_eq!(code, "untrusted");
        for part in [said, "Check the CA in the kubeconfig", "chrony"] {
            assert!(message.contains(part), "{part} is not in: {message}");
        }
        assert!(!message.contains('\n'), "{message}");
    }
}
