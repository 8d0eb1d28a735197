//! Scans: what is taken, which one counts, and where a vulnerability is.

use chrono::{SecondsFormat, TimeDelta};
use poem::http::Method;
use sea_orm::{ConnectionTrait as _, Statement};
use serde_json::{Value, json};
use waybill::{clock, domain::vocabulary::Scope};

use crate::{
    db_test,
    support::{
        api::{Answer, Api, commit, image},
        db::TestDb,
    },
};

const TRIVY: &str = include_str!("../../data/trivy-image.json");
pub const GRYPE: &str = include_str!("../../data/grype-image.json");

pub fn scans(version: &str) -> String {
    format!("/services/shop/releases/{version}/scans")
}

/// The API with releases of `shop`: each version has the image of its digit, `-` has none.
pub async fn with_releases(db: &TestDb, releases: &[(&str, char)]) -> Api {
    let api = Api::new(db).await;
    api.post("/services", json!({ "name": "shop" })).await.ok(201);
    for (version, digit) in releases {
        register(&api, version, *digit).await;
    }
    api
}

async fn register(api: &Api, version: &str, digit: char) {
    let image = (digit != '-').then(|| image(digit));
    let release = json!({ "version": version, "commit_sha": commit(version), "image": image });
    api.post("/services/shop/releases", release).await.ok(201);
}

/// Sends a report as it is.
async fn send(api: &Api, path: &str, report: &str) -> Answer {
    let headers = [("content-type", "application/json")];
    api.send(Method::POST, path, &headers, Some(report.as_bytes().to_vec())).await
}

pub fn plain(scanner: &str, scanned_at: &str, critical: u32) -> Value {
    json!({ "scanner": scanner, "scanned_at": scanned_at,
        "counts": { "critical": critical, "high": 0, "medium": 0, "low": 0, "unknown": 0 } })
}

/// A report of Trivy of the image of this digit, with these vulnerabilities in these packages.
pub fn trivy(digit: char, scanned_at: &str, found: &[(&str, &str, &str)]) -> Value {
    let found: Vec<_> = found
        .iter()
        .map(|(id, package, severity)| {
            json!({ "VulnerabilityID": id, "PkgName": package, "InstalledVersion": "1", "Severity": severity })
        })
        .collect();
    json!({ "SchemaVersion": 2, "CreatedAt": scanned_at, "ArtifactType": "container_image",
        "Metadata": { "RepoDigests": [image(digit)] }, "Results": [{ "Target": "t", "Vulnerabilities": found }] })
}

pub fn texts<'a>(items: &'a Value, field: &str) -> Vec<&'a str> {
    items.as_array().unwrap().iter().map(|item| item[field].as_str().unwrap()).collect()
}

/// The scans of a release: scanner, time of day and whether it counts.
async fn listed(api: &Api, version: &str) -> Vec<(String, String, bool)> {
    let items = api.get(&scans(version)).await.ok(200)["items"].take();
    let text = |scan: &Value, field: &str| scan[field].as_str().unwrap().to_owned();
    let items = items.as_array().unwrap().iter();
    items
        .map(|scan| {
            (text(scan, "scanner"), text(scan, "scanned_at")[11..13].to_owned(), scan["latest"] == true)
        })
        .collect()
}

async fn findings(api: &Api) -> i64 {
    let sql = api.sql().await;
    let query = Statement::from_string(sql.get_database_backend(), "SELECT COUNT(*) AS n FROM finding");
    let count = sql.query_one_raw(query).await.unwrap().unwrap().try_get("", "n").unwrap();
    sql.close().await.unwrap();
    count
}

db_test!(
    async fn reports_are_taken_as_the_tools_write_them(db: TestDb) {
        let api = with_releases(&db, &[("1.4.2", 'a'), ("2", '-')]).await;
        let made = send(&api, &scans("1.4.2"), TRIVY).await.ok(201);
        let counts = json!({ "critical": 2, "high": 3, "medium": 2, "low": 1, "unknown": 0 });
        assert_eq!((&made["counts"], &made["findings"], &made["latest"]), (&counts, &json!(8), &json!(true)));
        assert_eq!((&made["scanner"], &made["format"]), (&json!("trivy"), &json!("trivy")));
        assert_eq!(made["scanned_at"], "2026-01-20T08:30:15.123456Z");
        assert_eq!(made["artefact"], image('a').split_once('@').unwrap().1);
        let grype = send(&api, &scans("1.4.2"), GRYPE).await.ok(201);
        assert_eq!((&grype["scanner"], &grype["findings"]), (&json!("grype"), &json!(5)));
        let plain = send(&api, &scans("1.4.2"), include_str!("../../data/plain.json")).await.ok(201);
        assert_eq!((&plain["scanner"], &plain["findings"]), (&json!("snyk"), &json!(0)));
        for report in [
            include_str!("../../data/trivy-by-digest-without-repodigests.json"),
            include_str!("../../data/grype-advisory.json"),
        ] {
            assert_eq!(send(&api, &scans("1.4.2"), report).await.ok(201)["latest"], true);
        }
        for report in [
            include_str!("../../data/trivy-filesystem.json"),
            include_str!("../../data/grype-directory.json"),
            include_str!("../../data/trivy-tar-without-digest.json"),
        ] {
            send(&api, &scans("2"), report).await.ok(201);
            let faults = send(&api, &scans("1.4.2"), report).await.faults();
            assert_eq!(faults[0].1, "image-unnamed", "{faults:?}");
        }
        let events = api.get("/events?kind=scan.recorded&limit=200").await.ok(200);
        assert!(events["items"].as_array().unwrap().len() <= 9);
    }
);

db_test!(
    async fn a_report_without_a_time_needs_one_beside_it(db: TestDb) {
        let api = with_releases(&db, &[("1.4.2", 'a')]).await;
        for (report, pointer) in [
            (include_str!("../../data/trivy-0.20-without-time.json"), "/CreatedAt"),
            (include_str!("../../data/grype-without-time.json"), "/descriptor/timestamp"),
        ] {
            let faults = send(&api, &scans("1.4.2"), report).await.faults();
            assert_eq!(faults, [(pointer.to_owned(), "required".to_owned())]);
            let path = format!("{}?scanned_at=2026-01-20T10:00:00%2B01:00", scans("1.4.2"));
            let made = send(&api, &path, report).await.ok(201);
            assert_eq!(made["scanned_at"], "2026-01-20T09:00:00.000000Z");
        }
        let path = format!("{}?scanned_at=yesterday", scans("1.4.2"));
        send(&api, &path, TRIVY).await.problem(400, "invalid-request");
    }
);

db_test!(
    async fn the_report_that_was_made_last_counts(db: TestDb) {
        let api = with_releases(&db, &[("1", 'a'), ("2", 'a'), ("3", 'b')]).await;
        let report = |hour: u32, found: &[_]| trivy('a', &format!("2026-01-20T{hour:02}:00:00Z"), found);
        let one = [("CVE-1", "p", "HIGH")];
        let two = [("CVE-1", "p", "HIGH"), ("CVE-2", "p", "LOW")];
        assert_eq!(api.post(&scans("1"), report(10, &one)).await.ok(201)["latest"], true);
        let late = api.post(&scans("1"), report(9, &two)).await.ok(201);
        assert_eq!(
            (&late["latest"], &late["findings"]),
            (&json!(false), &json!(0)),
            "late, and so not the latest"
        );
        assert_eq!(findings(&api).await, 1);
        assert_eq!(
            api.post(&scans("2"), report(11, &two)).await.ok(201)["version"],
            "2",
            "the same artefact"
        );
        assert_eq!(findings(&api).await, 2);
        assert_eq!(
            api.post(&scans("1"), report(11, &one)).await.ok(201)["latest"],
            true,
            "the later arrival"
        );
        assert_eq!(findings(&api).await, 1);
        api.post(&scans("1"), plain("snyk", "2026-01-19T08:00:00Z", 0)).await.ok(201);
        let by = |scanner: &str, hour: &str, latest| (scanner.to_owned(), hour.to_owned(), latest);
        let expected = [
            by("trivy", "11", true),
            by("trivy", "11", false),
            by("trivy", "10", false),
            by("trivy", "09", false),
            by("snyk", "08", true),
        ];
        assert_eq!(listed(&api, "1").await, expected);
        assert_eq!(listed(&api, "2").await, expected, "scans follow the artefact");
        assert_eq!(listed(&api, "3").await, []);
    }
);

db_test!(
    async fn the_very_same_report_again_is_one_scan(db: TestDb) {
        let api = with_releases(&db, &[("1.4.2", 'a'), ("1.4.3", 'a')]).await;
        let made = send(&api, &scans("1.4.2"), TRIVY).await.ok(201);
        assert_eq!(send(&api, &scans("1.4.2"), TRIVY).await.ok(200), made);
        assert_eq!(send(&api, &scans("1.4.3"), TRIVY).await.ok(200), made, "of the same artefact");
        let headers = [("content-type", "application/json"), ("idempotency-key", "k")];
        let body = || Some(GRYPE.as_bytes().to_vec());
        let first = api.send(Method::POST, &scans("1.4.2"), &headers, body()).await;
        let again = api.send(Method::POST, &scans("1.4.2"), &headers, body()).await;
        assert_eq!((first.ok(201), again.header("idempotency-replayed")), (again.ok(201), Some("true")));
        let other = api.send(Method::POST, &scans("1.4.2"), &headers, Some(TRIVY.as_bytes().to_vec())).await;
        other.problem(422, "idempotency-key-reused");
        assert_eq!(listed(&api, "1.4.2").await.len(), 2);
    }
);

db_test!(
    async fn uploads_at_the_same_moment_leave_one_latest(db: TestDb) {
        let api = with_releases(&db, &[("1", 'a')]).await;
        let sends = (0..12_u32).map(|n| {
            let hour = n % 6;
            let report = trivy('a', &format!("2026-01-20T{hour:02}:00:00Z"), &[("CVE-1", "p", "HIGH")]);
            let (api, path) = (api.clone(), scans("1"));
            async move { api.post(&path, report).await.status }
        });
        let mut statuses = futures_util::future::join_all(sends).await;
        statuses.sort_unstable();
        assert_eq!(statuses, [[200; 6], [201; 6]].concat());
        let listed = listed(&api, "1").await;
        let latest: Vec<_> = listed.iter().filter(|(_, _, latest)| *latest).collect();
        assert_eq!((listed.len(), latest.len(), latest[0].1.as_str()), (6, 1, "05"));
        assert_eq!(findings(&api).await, 1);
    }
);

db_test!(
    async fn a_report_of_something_else_or_of_another_time_is_refused(db: TestDb) {
        let api = with_releases(&db, &[("1", 'b'), ("2", '-')]).await;
        let fault = |pointer: &str, code: &str| vec![(pointer.to_owned(), code.to_owned())];
        assert_eq!(
            send(&api, &scans("1"), TRIVY).await.faults(),
            fault("/Metadata/RepoDigests/0", "other-image")
        );
        let grype = send(&api, &scans("1"), GRYPE).await;
        assert_eq!(grype.faults(), fault("/source/target/repoDigests/0", "other-image"));
        let mut report = plain("snyk", "2026-01-20T10:00:00Z", 0);
        report["image"] = json!(image('a'));
        assert_eq!(api.post(&scans("1"), report.clone()).await.faults(), fault("/image", "other-image"));
        assert_eq!(api.post(&scans("2"), report).await.faults(), fault("/image", "image-missing"));
        let in_seconds = |seconds| {
            let at = clock::now() + TimeDelta::seconds(seconds);
            plain("snyk", &at.to_rfc3339_opts(SecondsFormat::Micros, true), 0)
        };
        api.post(&scans("1"), in_seconds(30)).await.ok(201);
        assert_eq!(
            api.post(&scans("1"), in_seconds(90)).await.faults(),
            fault("/scanned_at", "in-the-future")
        );
        let old = plain("snyk", "2000-01-01T00:00:00Z", 0);
        assert_eq!(api.post(&scans("1"), old).await.faults(), fault("/scanned_at", "too-old"));
        let mut wrong = trivy('a', "2999-01-01T00:00:00Z", &[]);
        wrong["Metadata"] = Value::Null;
        assert_eq!(api.post(&scans("1"), wrong).await.faults().len(), 2, "both at once");
        assert_eq!(listed(&api, "1").await.len(), 1);
    }
);

db_test!(
    async fn no_report_is_a_fault_of_the_server(db: TestDb) {
        let api = with_releases(&db, &[("1", 'a')]).await;
        let deep = format!("{}1{}", "[".repeat(50_000), "]".repeat(50_000));
        let skipped = format!("{{\"SchemaVersion\":2,\"x\":{deep}}}");
        let huge = "{\"scanner\":\"x\",\"scanned_at\":\"2026-01-01T00:00:00Z\",\"counts\":{\"critical\":1e999,\"high\":\
                    123456789012345678901234567890,\"medium\":-0,\"low\":0.0,\"unknown\":\"0\"}}";
        let nul = "{\"scanner\":\"a\\u0000b\",\"counts\":{}}";
        for report in
            ["", "{", "null", "[]", "{}", "5", "\"x\"", &deep, &skipped, huge, nul, "{\"matches\":5}"]
        {
            send(&api, &scans("1"), report).await.assert_refused(&format!("{report:.40}"));
        }
        for text in ["\u{0}", "a\u{0}b", "\u{202e}", "'; DROP TABLE scan; --", &"x".repeat(100_000)] {
            for member in ["VulnerabilityID", "PkgName", "InstalledVersion", "FixedVersion", "Severity"] {
                let mut report = trivy('a', "2026-01-20T10:00:00Z", &[("CVE-1", "p", "LOW")]);
                report["Results"][0]["Vulnerabilities"][0][member] = json!(text);
                report["CreatedAt"] = json!(clock::now());
                let answer = api.post(&scans("1"), report).await;
                if answer.status >= 300 {
                    answer.assert_refused(member);
                }
            }
            let path =
                format!("/vulnerabilities/{}", text.replace('\0', "%00").replace(['\'', ' ', ';'], "%20"));
            if text.is_ascii() && text.len() < 1000 {
                let answer = api.get(&path).await;
                assert!(answer.status < 500, "{}", answer.text);
            }
        }
        let text = api
            .send(Method::POST, &scans("1"), &[("content-type", "text/plain")], Some(b"{}".to_vec()))
            .await;
        text.problem(415, "unsupported-media-type");
        api.send(Method::POST, &scans("1"), &[], Some(b"{}".to_vec()))
            .await
            .problem(415, "unsupported-media-type");
    }
);

db_test!(
    async fn large_reports_have_a_limit_of_their_own(db: TestDb) {
        let api = Api::with(&db, |config| config.limits.scan_bytes = 3 * 1024 * 1024).await;
        api.post("/services", json!({ "name": "shop" })).await.ok(201);
        register(&api, "1", 'a').await;
        let ids: Vec<_> = (0..10_000).map(|n| format!("CVE-2026-{n}")).collect();
        let found: Vec<_> = ids.iter().map(|id| (id.as_str(), "package", "MEDIUM")).collect();
        let mut report = trivy('a', "2026-01-20T10:00:00Z", &found);
        report["Description"] = json!("x".repeat(1024 * 1024));
        let made = api.post(&scans("1"), report.clone()).await.ok(201);
        assert_eq!((&made["findings"], &made["counts"]["medium"]), (&json!(10_000), &json!(10_000)));
        assert_eq!(findings(&api).await, 10_000);
        report["Description"] = json!("x".repeat(3 * 1024 * 1024));
        api.post(&scans("1"), report).await.problem(413, "payload-too-large");
        let service = json!({ "name": "other", "description": "x".repeat(2 * 1024 * 1024) });
        api.post("/services", service).await.problem(413, "payload-too-large");
        api.get("/services/other").await.problem(404, "not-found");
    }
);

db_test!(
    async fn only_so_many_scanners_have_a_say(db: TestDb) {
        let api = with_releases(&db, &[("1", 'a')]).await;
        for n in 0..20 {
            api.post(&scans("1"), plain(&format!("scanner-{n}"), "2026-01-20T10:00:00Z", 0)).await.ok(201);
        }
        let one_more = plain("one-more", "2026-01-20T10:00:00Z", 0);
        api.post(&scans("1"), one_more).await.problem(409, "conflict");
        api.post(&scans("1"), plain("scanner-0", "2026-01-21T10:00:00Z", 0)).await.ok(201);
    }
);

db_test!(
    async fn scans_are_for_those_who_attest_and_lie_within(db: TestDb) {
        let api = with_releases(&db, &[("1.4.2", 'a')]).await;
        api.post("/services", json!({ "name": "pay" })).await.ok(201);
        let others: Vec<_> = Scope::ALL
            .iter()
            .copied()
            .filter(|scope| !matches!(scope, Scope::Attest | Scope::Admin))
            .collect();
        let poor = api.token(&others, None, None).await;
        let problem = send(&poor, &scans("1.4.2"), TRIVY).await.problem(403, "forbidden");
        assert!(problem["detail"].as_str().unwrap().contains("attest"));
        send(&poor, &scans("1.4.2"), "no JSON").await.problem(403, "forbidden");
        let narrow = api.token(&[Scope::Attest, Scope::Read], Some(&["pay"]), None).await;
        send(&narrow, &scans("1.4.2"), TRIVY).await.problem(403, "forbidden");
        narrow.get(&scans("1.4.2")).await.problem(404, "not-found");
        let attest = api.token(&[Scope::Attest], Some(&["shop"]), None).await;
        send(&attest, &scans("1.4.2"), TRIVY).await.ok(201);
        attest.get(&scans("1.4.2")).await.problem(403, "forbidden");
        attest.get("/vulnerabilities/CVE-1").await.problem(403, "forbidden");
        send(&api, &scans("9"), TRIVY).await.problem(404, "not-found");
        send(&api, "/services/none/releases/1/scans", TRIVY).await.problem(404, "not-found");
        send(&api, "/services/shop/releases/a%20b/scans", TRIVY).await.problem(422, "invalid-input");
        send(&api.anonymous(), &scans("1.4.2"), TRIVY).await.problem(401, "unauthenticated");
        api.delete("/services/shop").await.ok(200);
        send(&api, &scans("1.4.2"), GRYPE).await.problem(409, "conflict");
    }
);

db_test!(
    async fn scans_come_in_pages(db: TestDb) {
        let api = with_releases(&db, &[("1", 'a')]).await;
        for minute in 0..7 {
            api.post(&scans("1"), plain("snyk", &format!("2026-01-20T10:0{minute}:00Z"), 0)).await.ok(201);
        }
        let mut path = format!("{}?limit=3", scans("1"));
        let mut seen = Vec::new();
        loop {
            let answer = api.get(&path).await;
            let page = answer.ok(200);
            seen.extend(texts(&page["items"], "scanned_at").into_iter().map(str::to_owned));
            let Some(cursor) = page["next_cursor"].as_str() else { break };
            assert!(
                answer.header("link").unwrap().contains("/services/shop/releases/1/scans?limit=3&cursor=")
            );
            path = format!("{}?limit=3&cursor={cursor}", scans("1"));
        }
        let mut sorted = seen.clone();
        sorted.sort_by(|one, other| other.cmp(one));
        assert_eq!((seen.len(), seen), (7, sorted));
    }
);

db_test!(
    async fn a_release_that_was_scanned_gets_no_other_image(db: TestDb) {
        let api = with_releases(&db, &[("1", '-'), ("2", '-')]).await;
        api.post(&scans("1"), plain("snyk", "2026-01-20T10:00:00Z", 0)).await.ok(201);
        let release =
            |version: &str| json!({ "version": version, "commit_sha": commit(version), "image": image('a') });
        api.post("/services/shop/releases", release("1")).await.problem(409, "conflict");
        api.post("/services/shop/releases", release("2")).await.ok(200);
    }
);

db_test!(
    async fn invented_scanners_shut_no_real_one_out(db: TestDb) {
        let api = with_releases(&db, &[("1", 'a')]).await;
        api.post("/environments", json!({ "name": "prod" })).await.ok(201);
        let mal = api.person("mal", &[Scope::Attest], &[]).await;
        let path = scans("1");
        let at = "2026-01-20T10:00:00Z";
        for number in 0..20 {
            mal.post(&path, plain(&format!("invented-{number}"), at, 0)).await.ok(201);
        }
        let full = mal.post(&path, plain("invented-20", at, 0)).await.problem(409, "conflict");
        assert!(full["detail"].as_str().unwrap().contains("`vulnerabilities.scanners`"), "{full}");
        mal.post(&path, plain("invented-0", at, 7)).await.ok(201);
        // Another subject has room of its own.
        let ci = api.person("ci", &[Scope::Attest], &[]).await;
        ci.post(&path, plain("trivy", at, 3)).await.ok(201);
        // What a policy names is always taken; its other words are no names of scanners.
        let policy = json!({ "vulnerabilities": { "max": { "critical": 0 }, "scanners": ["snyk"] } });
        api.put("/environments/prod/policy", policy).await.ok(200);
        for word in ["enforce", "mode", "scanners", "rollback"] {
            mal.post(&path, plain(word, at, 0)).await.problem(409, "conflict");
        }
        mal.post(&path, plain("snyk", at, 0)).await.ok(201);
        let all = api.get(&format!("{path}?limit=200")).await.ok(200)["items"].take();
        let latest = all.as_array().unwrap().iter().filter(|scan| scan["latest"] == true).count();
        assert_eq!(latest, 22, "nothing was displaced");
    }
);
