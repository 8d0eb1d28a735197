//! What would make a yes of a no: for each reason why a rule does not hold, what has to happen. When it will, the check says
//! itself where it is known (`retry_at`).

use serde_json::Value;

use crate::domain::gate::Check;

/// What would make the rule hold, in a sentence. None where it holds, and where nobody can do anything but wait.
pub fn remedy(check: &Check, environment: &str) -> Option<String> {
    let details = &check.details;
    let sentence = match check.code.as_str() {
        "concurrent-deployment" => {
            "It has to end, or its lease to run out; only a rollback may take its place (`--preempt`).".to_owned()
        }
        "lockdown" => format!("Whoever may has to lift the lockdown: `waybill lockdown lift {environment}`."),
        "freeze-window" => "The freeze has to end; whoever may override says why (`--override`).".to_owned(),
        "soak-not-met" if check.retry_at.is_none() => {
            "It has to be deployed there again and to stay: a stay that is over grows no longer.".to_owned()
        }
        "soak-not-met" => "It has to stay there, and nothing else to take its place.".to_owned(),
        "promotion-missing" => match sources(details, "promotion-missing") {
            names if names.is_empty() => "It has to run where the policy says.".to_owned(),
            names => format!("It has to run in {} first.", names.join(" or ")),
        },
        "promotion-source-invalid" => {
            "Whoever may has to confirm or revive that environment, or name another in the policy.".to_owned()
        }
        "approval-rejected" => match names(details.get("rejected_by")) {
            names if names.is_empty() => "The rejection has to be withdrawn.".to_owned(),
            names => format!("{} has to withdraw the rejection.", names.join(", and ")),
        },
        "initiator-unknown" => "It has to be told who set it off (`--initiated-by`).".to_owned(),
        "approval-missing" => approvals(details),
        "scan-missing" => {
            let platforms = names(details.get("platforms_without_scan"));
            let what = if platforms.is_empty() { String::new() } else { format!(" of {}", platforms.join(" and ")) };
            format!("A scan{what} has to be put on record: `waybill scan upload`.")
        }
        "vulnerability-budget" => match details.get("newest_within_budget").and_then(Value::as_str) {
            Some(version) => format!("Deploy {version}, which is within the budget; or mend or waive what is over it."),
            None => "What is over the budget has to be mended, or waived by whoever answers for it.".to_owned(),
        },
        "scan-stale" => "A newer scan has to be put on record: `waybill scan upload`.".to_owned(),
        "image-not-pinned" => "The release has to name its image by digest: `waybill release record --image`.".to_owned(),
        "image-repository" => {
            "The image has to come from where the policy says, or the policy to name its repository.".to_owned()
        }
        "outdated" => {
            "Deploy a newer release; if the older one is meant, say so: kind `hotfix`, `rollback`, or an override.".to_owned()
        }
        _ => return None,
    };
    Some(sentence)
}

fn names(list: Option<&Value>) -> Vec<&str> {
    list.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect()
}

/// The environments of which the rule about promotion found this.
fn sources<'a>(details: &'a Value, finding: &str) -> Vec<&'a str> {
    let sources = details.get("sources").and_then(Value::as_array).into_iter().flatten();
    let such = sources.filter(|source| source.get("finding").and_then(Value::as_str) == Some(finding));
    such.filter_map(|source| source.get("environment").and_then(Value::as_str)).collect()
}

/// Who has to approve yet.
fn approvals(details: &Value) -> String {
    let rules = details.get("rules").and_then(Value::as_array).into_iter().flatten();
    let missing = |rule: &Value| {
        let missing = rule.get("missing").and_then(Value::as_u64).filter(|missing| *missing > 0)?;
        let groups = names(rule.get("groups"));
        let who = if groups.is_empty() { String::new() } else { format!(" of {}", groups.join(" or ")) };
        Some(format!("{missing} more{who}"))
    };
    match rules.filter_map(missing).collect::<Vec<_>>() {
        parts if parts.is_empty() => "More have to approve it.".to_owned(),
        parts => format!("{} must approve it: `waybill approve`.", parts.join(", and ")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::vocabulary::Rule;

    fn said(code: &str, details: Value) -> Option<String> {
        let check = Check::fail(Rule::Approval, code, "no").with_details(details);
        remedy(&check, "prod")
    }

    #[test]
    fn what_is_missing_is_named() {
        let rules = json!({ "rules": [
            { "groups": ["leads", "ops"], "required": 2, "missing": 1 },
            { "groups": [], "required": 1, "missing": 0 },
            { "groups": [], "required": 3, "missing": 2 },
        ] });
        let expected = [
            (
                "approval-missing",
                rules,
                "1 more of leads or ops, and 2 more must approve it: `waybill approve`.",
            ),
            ("approval-rejected", json!({ "rejected_by": ["eve"] }), "eve has to withdraw the rejection."),
            (
                "promotion-missing",
                json!({ "sources": [
                    { "environment": "qa", "finding": "promotion-missing" },
                    { "environment": "dev", "finding": "soak-not-met" },
                ] }),
                "It has to run in qa first.",
            ),
            (
                "vulnerability-budget",
                json!({ "newest_within_budget": "1.4" }),
                "Deploy 1.4, which is within the budget; or mend or waive what is over it.",
            ),
        ];
        for (code, details, sentence) in expected {
            assert_eq!(said(code, details).as_deref(), Some(sentence));
        }
        assert_eq!(said("pass", json!({})), None);
        assert_eq!(said("off", json!({})), None);
    }

    #[test]
    fn every_reason_that_a_rule_gives_has_a_remedy() {
        let sources = [
            include_str!("rules/approval.rs"),
            include_str!("rules/image.rs"),
            include_str!("rules/promotion.rs"),
            include_str!("rules/target.rs"),
            include_str!("rules/vulnerabilities.rs"),
            include_str!("rules/windows.rs"),
        ];
        let fails = sources.iter().flat_map(|source| source.split("Check::fail(Rule::").skip(1));
        // The one about promotion chooses among the words below.
        let code = |rest: &'static str| {
            let (rule, rest) = rest.split_once(", \"")?;
            rule.chars().all(char::is_alphabetic).then(|| rest.split('"').next()).flatten()
        };
        let codes: Vec<_> = fails.filter_map(code).collect();
        assert!(codes.len() >= 12, "{codes:?}");
        let words = ["soak-not-met", "promotion-missing", "promotion-source-invalid"];
        for code in codes.into_iter().chain(words) {
            assert!(said(code, json!({})).is_some(), "{code}");
        }
    }
}
