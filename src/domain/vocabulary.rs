//! The closed sets of words that the API, the database and the code share, each with its one spelling.
//!
//! They carry the derive of the API's format, because a second copy of each list would have to be kept in step.

use serde::{Deserialize, Serialize};

use crate::domain::fault::Malformed;

/// A word of one of the sets.
pub trait Word: Copy + std::str::FromStr<Err = Malformed> + Send + Sync + 'static {
    /// The word as it is written, and what it means.
    fn explained(self) -> (&'static str, &'static str);
}

macro_rules! vocabulary {
    ($(#[$meta:meta])* $name:ident { $(#[doc = $meaning:literal] $(#[$variant_meta:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, poem_openapi::Enum)]
        pub enum $name {
            $(#[doc = $meaning] $(#[$variant_meta])* #[serde(rename = $text)] #[oai(rename = $text)] $variant,)+
        }

        impl $name {
            /// Every word of the set.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word as it is written everywhere.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }
        }

        impl Word for $name {
            fn explained(self) -> (&'static str, &'static str) {
                match self { $(Self::$variant => ($text, $meaning)),+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = Malformed;

            fn from_str(text: &str) -> Result<Self, Malformed> {
                Self::ALL.iter().copied().find(|word| word.as_str() == text).ok_or_else(|| {
                    let words: Vec<_> = Self::ALL.iter().map(|word| word.as_str()).collect();
                    Malformed::new("unknown-value", format!("must be one of {}", words.join(", ")))
                })
            }
        }
    };
}

vocabulary! {
    /// Which end of the log a list begins at.
    Order {
        /// What happened first comes first.
        OldestFirst = "oldest-first",
        /// What happened last comes first.
        NewestFirst = "newest-first",
    }
}

vocabulary! {
    /// Where a deployment is in its life.
    Status {
        /// Under way, its lease renewed by heartbeats.
        Running = "running",
        /// Finished; the only status that makes a release current.
        Succeeded = "succeeded",
        /// Finished without success.
        Failed = "failed",
        /// Given up by its pipeline, or canceled by a preempting rollback.
        Canceled = "canceled",
        /// Silent for longer than its lease; set by the server.
        Expired = "expired",
    }
}

vocabulary! {
    /// How a deployment that ran to its end came out.
    Outcome {
        /// The release now runs in the environment.
        Succeeded = "succeeded",
        /// It does not.
        Failed = "failed",
        /// It was given up.
        Canceled = "canceled",
    }
}

impl From<Outcome> for Status {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Succeeded => Self::Succeeded,
            Outcome::Failed => Self::Failed,
            Outcome::Canceled => Self::Canceled,
        }
    }
}

vocabulary! {
    /// What a deployment is for.
    Kind {
        /// A new release goes out.
        Deploy = "deploy",
        /// An earlier release comes back.
        Rollback = "rollback",
        /// An urgent repair goes out, for which a freeze may make an exception.
        Hotfix = "hotfix",
        /// The current release is put in place again.
        Redeploy = "redeploy",
        /// The service is taken out of the environment.
        Remove = "remove",
    }
}

impl Kind {
    /// Whether it puts a release into the environment.
    pub fn ships(self) -> bool {
        self != Self::Remove
    }

    /// What such a deployment is called in a sentence.
    pub const fn noun(self) -> &'static str {
        match self {
            Self::Remove => "removal",
            Self::Deploy | Self::Rollback | Self::Hotfix | Self::Redeploy => self.as_str(),
        }
    }
}

vocabulary! {
    /// How the new release replaces the old one.
    Strategy {
        /// Instance by instance.
        Rolling = "rolling",
        /// A second, complete set takes over at once.
        BlueGreen = "blue-green",
        /// A share of the traffic goes first.
        Canary = "canary",
        /// Stop the old one, start the new one.
        Recreate = "recreate",
    }
}

#[expect(
    clippy::derivable_impls,
    reason = "the macro that makes the words gives each its meaning and nothing else"
)]
impl Default for Strategy {
    fn default() -> Self {
        Self::Rolling
    }
}

vocabulary! {
    /// What an environment is for (the deployment tiers of GitLab).
    Tier {
        /// Users are served here.
        Production = "production",
        /// The last rehearsal.
        Staging = "staging",
        /// Tests and reviews of quality.
        Testing = "testing",
        /// Developers' own.
        Development = "development",
        /// None of these.
        Other = "other",
    }
}

vocabulary! {
    /// Which services of a matrix are told from the rest.
    Only {
        /// Those whose release is not the same in all environments that they run in.
        Differs = "differs",
        /// Those that something is on its way of, or is being taken away.
        Moves = "moves",
    }
}

vocabulary! {
    /// By what somebody is recognised.
    CredentialKind {
        /// By a token that somebody made for them.
        Token = "token",
        /// A pipeline, by what it was given for its ID token.
        Pipeline = "pipeline",
        /// A person who signed in.
        Session = "session",
    }
}

vocabulary! {
    /// What a token may do.
    Scope {
        /// See what its narrowing lets it see.
        Read = "read",
        /// Register releases; start, heartbeat and finish deployments, and tell of those that went on without the gate.
        Deploy = "deploy",
        /// Put finished deployments on record, past the gate.
        Record = "record",
        /// Approve and reject.
        Approve = "approve",
        /// Upload scans.
        Attest = "attest",
        /// Have its hotfixes exempted from freezes.
        Hotfix = "hotfix",
        /// Lift the gate's rules, with a reason.
        Override = "override",
        /// Set the policies of environments.
        Policy = "policy",
        /// Declare, edit and take back freeze windows; place and lift lockdowns.
        Freeze = "freeze",
        /// Read the whole audit log, with what it tells of tokens.
        Audit = "audit",
        /// Everything, and the only scope that makes tokens and edits what is registered.
        Admin = "admin",
    }
}

vocabulary! {
    /// The rules of the gate, in the order in which answers name them.
    Rule {
        /// One running deployment for a target.
        Concurrency = "concurrency",
        /// Nothing starts in an environment that is locked down.
        Lockdown = "lockdown",
        /// Nothing starts within a freeze window.
        Freeze = "freeze",
        /// The artefact ran in an earlier environment, for long enough.
        Promotion = "promotion",
        /// Enough people said yes, and nobody no.
        Approval = "approval",
        /// No more known vulnerabilities than the budget has room for.
        Vulnerabilities = "vulnerabilities",
        /// The image is told by its digest, and comes from where images may come from.
        Image = "image",
        /// No way back to an older release without saying so.
        Outdated = "outdated",
    }
}

vocabulary! {
    /// How many of several environments must have run the artefact.
    Require {
        /// Every one.
        All = "all",
        /// One of them.
        Any = "any",
    }
}

vocabulary! {
    /// What somebody says to a release going to an environment.
    Voice {
        /// Yes.
        Approved = "approved",
        /// No; it stands in the way until it is withdrawn.
        Rejected = "rejected",
    }
}

vocabulary! {
    /// How bad a vulnerability is, the worst first.
    Severity {
        /// As bad as it gets.
        Critical = "critical",
        /// Bad.
        High = "high",
        /// To be mended.
        Medium = "medium",
        /// Hardly a danger, or none.
        Low = "low",
        /// Not rated.
        Unknown = "unknown",
    }
}

vocabulary! {
    /// In which form a report of vulnerabilities came.
    ScanFormat {
        /// As Trivy writes it.
        Trivy = "trivy",
        /// As Grype writes it.
        Grype = "grype",
        /// Who, when, and how many of each severity.
        Plain = "plain",
    }
}

vocabulary! {
    /// The packages that a part of a scan is of.
    PackageClass {
        /// Those of the operating system.
        Os = "os",
        /// Those of programming languages.
        Language = "language",
        /// All of them.
        All = "all",
        /// Put on record before they were told apart.
        Any = "any",
    }
}

vocabulary! {
    /// Policies to begin with.
    Preset {
        /// Promotion with soak, an approval and a digest are demanded; vulnerabilities are reported.
        Production = "production",
        /// Reports what production would refuse.
        Staging = "staging",
    }
}

vocabulary! {
    /// How a rule counts.
    Mode {
        /// A failure refuses the start.
        Enforce = "enforce",
        /// A failure is reported, and nothing more.
        Report = "report",
        /// The rule is not looked at.
        Off = "off",
    }
}

vocabulary! {
    /// What a rule found.
    CheckOutcome {
        /// It holds.
        Pass = "pass",
        /// It does not.
        Fail = "fail",
        /// It did not apply.
        Skipped = "skipped",
    }
}
