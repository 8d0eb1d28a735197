//! Scans by part: what a report is of, what it replaces, and what the gate makes of all of them together.

use serde_json::{Value, json};
use waybill::domain::vocabulary::Scope;

use crate::{
    api::scans::{GRYPE, plain, scans, with_releases},
    db_test,
    support::{
        api::{Api, image},
        db::TestDb,
    },
};

/// A vulnerability in a package of a version, and its severity.
type Found = (&'static str, &'static str, &'static str, &'static str);

const BAD: Found = ("CVE-2024-77777", "libc", "1", "CRITICAL");

/// A report of Trivy of image `a`, made at this minute, for a platform, of these classes.
fn report(minute: u32, architecture: &str, results: &[(&str, &[Found])]) -> Value {
    let found = |(id, package, version, severity): &Found| json!({ "VulnerabilityID": id, "PkgName": package, "InstalledVersion": version, "Severity": severity });
    let result = |(class, list): &(&str, &[Found])| json!({ "Vulnerabilities": list.iter().map(found).collect::<Vec<_>>(), "Target": "t", "Class": class });
    json!({
        "SchemaVersion": 2, "CreatedAt": format!("2026-01-20T10:{minute:02}:00Z"), "ArtifactType": "container_image",
        "Metadata": { "RepoDigests": [image('a')], "ImageConfig": { "architecture": architecture, "os": "linux" } },
        "Results": results.iter().map(result).collect::<Vec<_>>(),
    })
}

/// The API with release 1 of `shop`, image `a`, and an environment whose gate demands a scan without critical ones.
async fn guarded(db: &TestDb) -> Api {
    let api = with_releases(db, &[("1", 'a')]).await;
    api.post("/environments", json!({ "name": "prod" })).await.ok(201);
    let policy = json!({ "vulnerabilities": { "max": { "critical": 0 }, "require_scan": true } });
    api.put("/environments/prod/policy", policy).await.ok(200);
    api
}

async fn send(api: &Api, report: Value) -> Value {
    api.post(&scans("1"), report).await.ok(201)
}

/// What the gate says about vulnerabilities: its code and its message.
async fn gate(api: &Api) -> (String, String) {
    let question = json!({ "service": "shop", "environment": "prod", "version": "1" });
    let answer = api.post("/gate/check", question).await.ok(200);
    let checks = answer["checks"].as_array().unwrap();
    let check = checks.iter().find(|check| check["rule"] == "vulnerabilities").unwrap();
    (check["code"].as_str().unwrap().to_owned(), check["message"].as_str().unwrap().to_owned())
}

async fn code(api: &Api) -> String {
    gate(api).await.0
}

const OVER: &str = "vulnerability-budget";

db_test!(
    async fn the_worst_platform_counts(db: TestDb) {
        let api = guarded(&db).await;
        assert_eq!(code(&api).await, "scan-missing");
        let made = send(&api, report(1, "amd64", &[("os-pkgs", &[BAD])])).await;
        assert_eq!((&made["platform"], &made["latest"]), (&json!("linux/amd64"), &json!(true)));
        let over = gate(&api).await;
        assert_eq!(
            over,
            (OVER.to_owned(), "over the budget: 1 critical of 0 (trivy, linux/amd64)".to_owned())
        );
        send(&api, report(2, "arm64", &[("os-pkgs", &[])])).await;
        assert_eq!(gate(&api).await, over, "another platform's report takes nothing away");
        send(&api, report(3, "amd64", &[("os-pkgs", &[])])).await;
        assert_eq!(code(&api).await, "pass");
        let late = send(&api, report(2, "amd64", &[("os-pkgs", &[BAD])])).await;
        assert_eq!((&late["latest"], &late["findings"]), (&json!(false), &json!(0)), "made before");
        assert_eq!(code(&api).await, "pass");
    }
);

db_test!(
    async fn packages_of_the_system_and_of_languages_may_come_from_two_jobs(db: TestDb) {
        let api = guarded(&db).await;
        send(&api, report(1, "amd64", &[("os-pkgs", &[BAD])])).await;
        send(&api, report(2, "amd64", &[("lang-pkgs", &[])])).await;
        assert_eq!(code(&api).await, OVER);
        send(&api, report(3, "amd64", &[("os-pkgs", &[]), ("lang-pkgs", &[])])).await;
        assert_eq!(code(&api).await, "pass");
        let language = ("CVE-2024-1", "log4j", "2.14", "CRITICAL");
        send(&api, report(4, "amd64", &[("lang-pkgs", &[language])])).await;
        send(&api, report(5, "amd64", &[("os-pkgs", &[])])).await;
        assert_eq!(code(&api).await, OVER);
        let items = api.get(&scans("1")).await.ok(200)["items"].take();
        let parts = |scan: &Value| -> Vec<String> {
            let part = |part: &Value| format!("{}:{}", part["class"].as_str().unwrap(), part["latest"]);
            scan["parts"].as_array().unwrap().iter().map(part).collect()
        };
        let listed: Vec<_> = items.as_array().unwrap().iter().map(parts).collect();
        let expected: [&[&str]; 5] = [
            &["os:true"],
            &["language:true"],
            &["os:false", "language:false"],
            &["language:false"],
            &["os:false"],
        ];
        assert_eq!(listed, expected);
    }
);

db_test!(
    async fn both_classes_add_up_against_the_budget(db: TestDb) {
        let api = guarded(&db).await;
        let policy = json!({ "vulnerabilities": { "max": { "high": 1 } } });
        api.put("/environments/prod/policy", policy).await.ok(200);
        let (one, other) = (("CVE-2024-1", "libc", "1", "HIGH"), ("CVE-2024-2", "log4j", "2", "HIGH"));
        send(&api, report(1, "amd64", &[("os-pkgs", &[one])])).await;
        assert_eq!(code(&api).await, "pass");
        send(&api, report(2, "amd64", &[("lang-pkgs", &[other])])).await;
        assert_eq!(gate(&api).await.1, "over the budget: 2 high of 1 (trivy, linux/amd64)");
        send(&api, report(3, "arm64", &[("lang-pkgs", &[other]), ("os-pkgs", &[])])).await;
        assert_eq!(gate(&api).await.1, "over the budget: 2 high of 1 (trivy, linux/amd64)", "the worst one");
    }
);

db_test!(
    async fn what_is_no_scan_for_vulnerabilities_is_refused_and_takes_nothing_away(db: TestDb) {
        let api = guarded(&db).await;
        let fault = |code: &str| vec![("/Results".to_owned(), code.to_owned())];
        for class in ["secret", "config", "license", "license-file", "custom"] {
            let answer = api.post(&scans("1"), report(9, "amd64", &[(class, &[])])).await;
            assert_eq!(answer.faults(), fault("no-vulnerability-scan"), "{class}");
            assert!(
                answer.text.contains(class) && answer.text.contains("--scanners vuln"),
                "{}",
                answer.text
            );
        }
        let mut silent = report(9, "amd64", &[]);
        let mut none = silent.clone();
        none["Results"] = Value::Null;
        silent["Metadata"]["ImageConfig"]["rootfs"] = json!({ "type": "layers", "diff_ids": ["sha256:00"] });
        for silent in [silent.clone(), none] {
            let answer = api.post(&scans("1"), silent).await;
            assert_eq!(answer.faults(), fault("nothing-scanned"));
            assert!(answer.text.contains("--list-all-pkgs"), "{}", answer.text);
        }
        assert_eq!(code(&api).await, "scan-missing", "none of them satisfies anybody");
        send(&api, report(1, "amd64", &[("os-pkgs", &[BAD])])).await;
        let both = send(&api, report(2, "amd64", &[("lang-pkgs", &[]), ("secret", &[])])).await;
        assert_eq!(both["parts"].as_array().unwrap().len(), 1);
        assert_eq!(code(&api).await, OVER);
        // An image without layers has nothing in it, as it says itself.
        silent["Metadata"]["ImageConfig"]["rootfs"]["diff_ids"] = json!([]);
        let empty = send(&api, silent).await;
        assert_eq!((&empty["parts"][0]["class"], &empty["findings"]), (&json!("all"), &json!(0)));
        assert_eq!(code(&api).await, "pass");
        let mut grype: Value = serde_json::from_str(GRYPE).unwrap();
        grype.as_object_mut().unwrap().remove("matches");
        let faults = api.post(&scans("1"), grype).await.faults();
        assert_eq!(faults, [("/matches".to_owned(), "required".to_owned())]);
    }
);

db_test!(
    async fn a_report_that_tells_no_platform_speaks_for_none_of_the_others(db: TestDb) {
        let api = guarded(&db).await;
        send(&api, report(1, "amd64", &[("os-pkgs", &[BAD])])).await;
        let mut untold = report(2, "", &[("os-pkgs", &[])]);
        assert_eq!(send(&api, untold.clone()).await["platform"], Value::Null);
        assert_eq!(code(&api).await, OVER);
        untold["CreatedAt"] = json!("2026-01-20T10:04:00Z");
        untold["Results"][0]["Vulnerabilities"] =
            report(4, "", &[("", &[BAD])])["Results"][0]["Vulnerabilities"].take();
        send(&api, report(3, "amd64", &[("os-pkgs", &[])])).await;
        send(&api, untold).await;
        assert_eq!(gate(&api).await.1, "over the budget: 1 critical of 0 (trivy)");
    }
);

db_test!(
    async fn a_plain_report_and_one_of_grype_cover_all_of_their_scanner(db: TestDb) {
        let api = guarded(&db).await;
        let grype = |minute: u32, architecture: &str, severity: &str| {
            json!({ "descriptor": { "timestamp": format!("2026-01-20T10:{minute:02}:00Z") },
                "source": { "type": "image", "target": { "repoDigests": [image('a')], "architecture": architecture, "os": "linux" } },
                "matches": [{ "vulnerability": { "id": "CVE-2024-1", "severity": severity }, "artifact": { "name": "p", "version": "1" } }] })
        };
        let made = send(&api, grype(1, "amd64", "Critical")).await;
        assert_eq!((&made["parts"][0]["class"], &made["platform"]), (&json!("all"), &json!("linux/amd64")));
        send(&api, grype(2, "arm64", "Low")).await;
        assert_eq!(gate(&api).await.1, "over the budget: 1 critical of 0 (grype, linux/amd64)");
        send(&api, grype(3, "amd64", "Low")).await;
        assert_eq!(code(&api).await, "pass");
        send(&api, report(1, "amd64", &[("os-pkgs", &[BAD])])).await;
        send(&api, report(1, "arm64", &[("lang-pkgs", &[BAD])])).await;
        send(&api, plain("trivy", "2026-01-20T10:05:00Z", 0)).await;
        assert_eq!(code(&api).await, "pass", "the plain report speaks for all that its scanner knows");
        send(&api, report(6, "amd64", &[("os-pkgs", &[BAD])])).await;
        assert_eq!(code(&api).await, OVER);
        send(&api, report(7, "amd64", &[("os-pkgs", &[]), ("lang-pkgs", &[])])).await;
        assert_eq!(code(&api).await, "pass");
    }
);

db_test!(
    async fn every_part_is_as_old_as_it_is(db: TestDb) {
        let api = guarded(&db).await;
        let policy = json!({ "vulnerabilities": { "require_scan": true, "max_scan_age_seconds": 86400 } });
        api.put("/environments/prod/policy", policy).await.ok(200);
        let now = waybill::clock::now();
        let at = |mut report: Value, days: i64| {
            report["CreatedAt"] = json!(now - chrono::TimeDelta::days(days));
            report
        };
        send(&api, at(report(1, "amd64", &[("os-pkgs", &[])]), 0)).await;
        assert_eq!(code(&api).await, "pass");
        send(&api, at(report(1, "arm64", &[("os-pkgs", &[])]), 30)).await;
        let (stale, message) = gate(&api).await;
        assert_eq!(stale, "scan-stale");
        assert!(message.contains("trivy, linux/arm64"), "{message}");
        send(&api, plain("snyk", &now.to_rfc3339(), 0)).await;
        assert_eq!(code(&api).await, "pass", "another scanner's word is new");
    }
);

db_test!(
    async fn two_versions_of_a_package_are_two_findings(db: TestDb) {
        let api = guarded(&db).await;
        let found: [Found; 4] = [
            ("CVE-2024-1", "stdlib", "1.22", "HIGH"),
            ("CVE-2024-1", "stdlib", "1.23", "HIGH"),
            ("CVE-2024-1", "stdlib", "1.23", "CRITICAL"),
            ("CVE-2024-1", "other", "1.23", "LOW"),
        ];
        let made = send(&api, report(1, "amd64", &[("lang-pkgs", &found)])).await;
        let counts = json!({ "critical": 1, "high": 1, "medium": 0, "low": 1, "unknown": 0 });
        assert_eq!((&made["counts"], &made["findings"]), (&counts, &json!(3)));
        api.deployed("shop/dev", "1").await;
        let answer = api.get("/vulnerabilities/CVE-2024-1").await.ok(200);
        let packages = answer["targets"][0]["packages"].as_array().unwrap();
        let package = |package: &Value| {
            format!(
                "{} {}",
                package["name"].as_str().unwrap(),
                package["installed_version"].as_str().unwrap()
            )
        };
        let packages: Vec<_> = packages.iter().map(package).collect();
        assert_eq!(packages, ["other 1.23", "stdlib 1.22", "stdlib 1.23"]);
    }
);

db_test!(
    async fn a_severity_that_only_others_give_counts(db: TestDb) {
        let api = guarded(&db).await;
        let mut quoted = report(1, "amd64", &[("os-pkgs", &[("CVE-2024-1", "p", "1", "UNKNOWN")])]);
        quoted["Results"][0]["Vulnerabilities"][0]["VendorSeverity"] =
            json!({ "nvd": 2, "ghsa": 4, "odd": "x" });
        assert_eq!(send(&api, quoted).await["counts"]["critical"], 1);
        let mut grype: Value = serde_json::from_str(GRYPE).unwrap();
        for (own, related, counted) in [
            (
                "Unknown",
                json!([{ "id": "CVE-2024-1", "severity": "High" }, { "id": "CVE-2024-1", "severity": "Low" }]),
                "high",
            ),
            ("", json!([{ "id": "CVE-2024-1", "severity": "Medium" }]), "medium"),
            ("Low", json!([{ "id": "CVE-2024-1", "severity": "Critical" }]), "low"),
            ("Unknown", json!([{ "id": "CVE-2024-1", "severity": "strange" }]), "unknown"),
        ] {
            grype["matches"] = json!([{ "vulnerability": { "id": "GHSA-aaaa-bbbb-cccc", "severity": own },
                "relatedVulnerabilities": related, "artifact": { "name": "p", "version": "1" } }]);
            grype["descriptor"]["timestamp"] = json!(waybill::clock::now());
            let made = send(&api, grype.clone()).await;
            assert_eq!((&made["counts"][counted], &made["findings"]), (&json!(1), &json!(1)), "{made}");
        }
    }
);

db_test!(
    async fn invented_platforms_shut_no_real_one_out(db: TestDb) {
        let api = guarded(&db).await;
        let mal = api.person("mal", &[Scope::Attest], &[]).await;
        for number in 0..40 {
            send(&mal, report(1, &format!("junk{number}"), &[("os-pkgs", &[])])).await;
        }
        let more = mal.post(&scans("1"), report(1, "amd64", &[("os-pkgs", &[])])).await;
        let problem = more.problem(409, "conflict");
        assert!(problem["detail"].as_str().unwrap().contains("40 platforms"), "{problem}");
        let ci = api.person("ci", &[Scope::Attest], &[]).await;
        send(&ci, report(1, "amd64", &[("os-pkgs", &[BAD])])).await;
        assert_eq!(code(&api).await, OVER);
    }
);

db_test!(
    async fn a_result_that_lists_nothing_takes_nothing_away(db: TestDb) {
        let api = guarded(&db).await;
        let language = ("CVE-2024-1", "log4j", "2.14", "CRITICAL");
        send(&api, report(1, "amd64", &[("os-pkgs", &[BAD]), ("lang-pkgs", &[language])])).await;
        for results in [
            json!([{}]),
            json!([{ "Target": "x" }]),
            json!([{ "Type": "dockerfile", "Misconfigurations": [{}] }]),
        ] {
            let mut nothing = report(2, "amd64", &[]);
            nothing["Results"] = results;
            let faults = api.post(&scans("1"), nothing).await.faults();
            assert_eq!(faults, [("/Results".to_owned(), "nothing-scanned".to_owned())]);
        }
        let mut beside =
            report(3, "amd64", &[("os-pkgs", &[]), ("custom", &[("CVE-2024-2", "p", "1", "LOW")])]);
        beside["Results"].as_array_mut().unwrap().push(json!({ "Target": "y", "Secrets": [{}] }));
        let made = send(&api, beside).await;
        assert_eq!((&made["parts"][0]["class"], &made["counts"]["low"]), (&json!("os"), &json!(1)), "{made}");
        assert_eq!(made["parts"].as_array().unwrap().len(), 1);
        assert_eq!(gate(&api).await.1, "over the budget: 1 critical of 0 (trivy, linux/amd64)");
    }
);

db_test!(
    async fn packages_that_were_looked_at_again_are_counted_beside_all_of_them(db: TestDb) {
        let api = guarded(&db).await;
        let policy = json!({ "vulnerabilities": { "max": { "critical": 1 } } });
        api.put("/environments/prod/policy", policy).await.ok(200);
        let mut whole = report(1, "amd64", &[("", &[("CVE-2024-1", "log4j", "2.14", "CRITICAL")])]);
        whole["Results"][0].as_object_mut().unwrap().remove("Class");
        assert_eq!(send(&api, whole).await["parts"][0]["class"], "all");
        send(&api, report(2, "amd64", &[("os-pkgs", &[BAD])])).await;
        assert_eq!(code(&api).await, OVER, "two that are on record");
    }
);

db_test!(
    async fn what_is_said_at_the_same_moment_is_the_same_only_where_all_of_it_is(db: TestDb) {
        let api = guarded(&db).await;
        let other = ("CVE-2024-88888", "libc", "1", "CRITICAL");
        let first = send(&api, report(1, "amd64", &[("os-pkgs", &[BAD])])).await;
        let again = api.post(&scans("1"), report(1, "amd64", &[("os-pkgs", &[BAD])])).await.ok(200);
        assert_eq!(first["id"], again["id"]);
        send(&api, report(1, "amd64", &[("os-pkgs", &[other])])).await;
        api.deployed("shop/dev", "1").await;
        let found = api.get("/vulnerabilities/CVE-2024-88888").await.ok(200);
        assert_eq!(found["targets"].as_array().unwrap().len(), 1);
        // The last to arrive counts, though the same was said before at that moment.
        send(&api, report(1, "amd64", &[("os-pkgs", &[])])).await;
        assert_eq!(code(&api).await, "pass");
        send(&api, report(1, "amd64", &[("os-pkgs", &[BAD])])).await;
        assert_eq!(code(&api).await, OVER);
    }
);

db_test!(
    async fn only_what_has_a_fix_counts_where_the_policy_says_so(db: TestDb) {
        let api = guarded(&db).await;
        let policy = json!({ "vulnerabilities": { "max": { "critical": 0 }, "only_fixable": true } });
        api.put("/environments/prod/policy", policy).await.ok(200);
        let with_fixes = |minute, fixes: [&str; 2]| {
            let mut sent =
                report(minute, "amd64", &[("os-pkgs", &[BAD, ("CVE-2024-2", "libc", "1", "HIGH")])]);
            for (found, fix) in
                sent["Results"][0]["Vulnerabilities"].as_array_mut().unwrap().iter_mut().zip(fixes)
            {
                found["FixedVersion"] = json!(fix);
            }
            sent
        };
        let sent = send(&api, with_fixes(1, ["", "2"])).await;
        let none = json!({ "critical": 0, "high": 1, "medium": 0, "low": 0, "unknown": 0 });
        assert_eq!((&sent["fixable"], &sent["parts"][0]["fixable"]), (&none, &none), "{sent}");
        assert_eq!(code(&api).await, "pass");
        let listed = api.get(&scans("1")).await.ok(200)["items"][0].take();
        assert_eq!((&listed["fixable"], &listed["counts"]["critical"]), (&none, &json!(1)));
        send(&api, with_fixes(2, ["2", "2"])).await;
        assert_eq!(
            gate(&api).await.1,
            "over the budget of what has a fix: 1 critical of 0 (trivy, linux/amd64)"
        );
        send(&api, with_fixes(3, ["", ""])).await;
        assert_eq!(code(&api).await, "pass");
        let counted = send(&api, plain("snyk", "2026-01-20T10:00:00Z", 1)).await;
        assert_eq!(counted["fixable"], Value::Null);
        let (code, message) = gate(&api).await;
        assert_eq!(code, OVER);
        assert!(
            message.ends_with("all of it counts by snyk, where nothing tells what has a fix"),
            "{message}"
        );
    }
);
