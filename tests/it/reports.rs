//! Reports as the tools write them, and what is read from them.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use proptest::prelude::*;
use serde_json::{Value, json};
use uuid::Uuid;
use waybill::domain::{
    gate::facts::{Counts, ScanFact},
    policy::{Budget, VulnerabilitiesRule},
    scan::{FINDINGS_MAX, Finding, Report, Unreadable, read, spelled, within},
    text::Image,
    vocabulary::{PackageClass, ScanFormat, Severity},
};

macro_rules! fixture {
    ($name:literal) => {
        include_bytes!(concat!("../data/", $name, ".json"))
    };
}

fn image(digit: char) -> Image {
    Image::parse(&format!("registry.example.com/shop@sha256:{}", digit.to_string().repeat(64))).unwrap()
}

fn read_value(report: &Value) -> Result<Report, Unreadable> {
    read(report.to_string().as_bytes())
}

/// The pointers and codes of what is wrong with a report.
fn faults(report: &Value) -> Vec<(String, &'static str)> {
    match read_value(report) {
        Err(Unreadable::Faulty(faults)) => {
            faults.into_vec().into_iter().map(|fault| (fault.pointer, fault.code)).collect()
        }
        other => panic!("{other:?}"),
    }
}

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn numbers(counts: Counts) -> [u32; 5] {
    [counts.critical, counts.high, counts.medium, counts.low, counts.unknown]
}

/// What a report counts in all.
fn total(report: &Report) -> [u32; 5] {
    let counts = report.parts.iter().map(|part| numbers(part.counts));
    counts.fold([0; 5], |sum, part| std::array::from_fn(|place| sum[place] + part[place]))
}

/// What a report found in all.
fn findings(report: &Report) -> Vec<&Finding> {
    report.parts.iter().flat_map(|part| &part.findings).collect()
}

/// The one other id that a vulnerability has.
fn alias(finding: &Finding) -> Option<&str> {
    assert!(finding.aliases.len() <= 1, "{finding:?}");
    finding.aliases.first().map(String::as_str)
}

fn texts(finding: &Finding) -> (&str, Option<&str>, &str, Severity, Option<&str>, Option<&str>) {
    (
        &finding.vulnerability,
        alias(finding),
        &finding.package,
        finding.severity,
        finding.installed_version.as_deref(),
        finding.fixed_version.as_deref(),
    )
}

#[test]
fn a_report_of_trivy() {
    let report = read(fixture!("trivy-image")).unwrap();
    assert_eq!((report.format, report.scanner.as_str()), (ScanFormat::Trivy, "trivy"));
    assert_eq!(report.scanned_at, Some(at("2026-01-20T08:30:15.123456Z")));
    // The unrated one is rated by somebody whom the report quotes.
    assert_eq!(total(&report), [2, 3, 2, 1, 0]);
    let go = findings(&report).into_iter().find(|finding| finding.package == "golang.org/x/net").unwrap();
    let expected = (
        "CVE-2025-30003",
        Some("GHSA-qxp5-gwg8-xv66"),
        "golang.org/x/net",
        Severity::Medium,
        Some("v0.33.0"),
        Some("0.36.0, 0.37.0"),
    );
    assert_eq!(texts(go), expected);
    // Two binaries have the same package in two versions: both count.
    let stdlib: Vec<_> =
        findings(&report).into_iter().filter(|finding| finding.package == "stdlib").collect();
    let versions: Vec<_> =
        stdlib.iter().map(|f| (f.severity, f.installed_version.as_deref().unwrap())).collect();
    assert_eq!(versions, [(Severity::High, "v1.22.0"), (Severity::Medium, "v1.23.4")]);
    let classes: Vec<_> = report.parts.iter().map(|part| part.class).collect();
    assert_eq!(classes, [PackageClass::Os, PackageClass::Language]);
    assert_eq!(report.platform.as_deref(), Some("linux/amd64"));
    assert_eq!(report.subject.check(Some(&image('a')), &[]), Ok(()));
    let fault = report.subject.check(Some(&image('b')), &[]).unwrap_err();
    assert_eq!((fault.pointer.as_str(), fault.code), ("/Metadata/RepoDigests/0", "other-image"));
    assert_eq!(report.subject.check(None, &[]).unwrap_err().code, "image-missing");
}

#[test]
fn reports_of_trivy_that_lack_something() {
    let old = read(fixture!("trivy-0.20-without-time")).unwrap();
    assert_eq!((old.scanned_at, total(&old)), (None, [1, 0, 0, 0, 0]));
    let by_digest = read(fixture!("trivy-by-digest-without-repodigests")).unwrap();
    assert_eq!((by_digest.subject.check(Some(&image('a')), &[]), findings(&by_digest).len()), (Ok(()), 0));
    let tar = read(fixture!("trivy-tar-without-digest")).unwrap();
    let fault = tar.subject.check(Some(&image('a')), &[]).unwrap_err();
    assert_eq!((fault.pointer.as_str(), fault.code), ("/Metadata/RepoDigests", "image-unnamed"));
    assert_eq!(tar.subject.check(None, &[]), Ok(()));
    let Err(Unreadable::Faulty(faults)) = read(fixture!("trivy-without-results")) else {
        panic!("it says nothing")
    };
    assert_eq!(faults.into_vec()[0].code, "nothing-scanned");
}

#[test]
fn a_report_of_a_filesystem_is_not_one_of_an_image() {
    let report = read(fixture!("trivy-filesystem")).unwrap();
    let fault = report.subject.check(Some(&image('a')), &[]).unwrap_err();
    assert_eq!((fault.pointer.as_str(), fault.code), ("/ArtifactType", "image-unnamed"));
    assert_eq!(report.subject.check(None, &[]), Ok(()));
    let ids: Vec<_> = findings(&report).into_iter().map(|f| (f.vulnerability.as_str(), alias(f))).collect();
    assert_eq!(ids, [("CVE-2020-26235", Some("GHSA-wcg3-cvx6-7396")), ("GHSA-wcg3-cvx6-7396", None)]);
    let directory = read(fixture!("grype-directory")).unwrap();
    assert_eq!(directory.subject.check(Some(&image('a')), &[]).unwrap_err().pointer, "/source/target");
    assert_eq!(directory.subject.check(None, &[]), Ok(()));
}

#[test]
fn a_report_of_grype() {
    let report = read(fixture!("grype-image")).unwrap();
    assert_eq!((report.format, report.scanner.as_str()), (ScanFormat::Grype, "grype"));
    assert_eq!(report.scanned_at, Some(at("2026-01-20T10:00:00.987654Z")));
    // Negligible counts as low; what was ignored does not count; a GHSA that stands for a CVE is that CVE.
    assert_eq!(total(&report), [2, 0, 1, 1, 1]);
    let go = findings(&report).into_iter().find(|finding| finding.package == "golang.org/x/net").unwrap();
    assert_eq!((go.vulnerability.as_str(), alias(go)), ("CVE-2025-30003", Some("GHSA-qxp5-gwg8-xv66")));
    assert_eq!(report.subject.check(Some(&image('a')), &[]), Ok(()));
    assert_eq!(report.subject.check(Some(&image('7')), &[]), Ok(()), "its manifest");
    assert_eq!(
        report.subject.check(Some(&image('9')), &[]).unwrap_err().code,
        "other-image",
        "its configuration"
    );
}

#[test]
fn an_advisory_counts_as_the_vulnerabilities_it_is_about() {
    let report = read(fixture!("grype-advisory")).unwrap();
    let names: Vec<_> = findings(&report).into_iter().map(|f| (f.vulnerability.as_str(), alias(f))).collect();
    let alias = Some("ALAS2023-2026-1234");
    assert_eq!(names, [("CVE-2026-10001", alias), ("CVE-2026-10007", alias)]);
    assert_eq!(report.subject.check(Some(&image('a')), &[]), Ok(()), "named by its manifest alone");
}

#[test]
fn an_advisory_is_about_so_many_vulnerabilities_at_most() {
    let related: Vec<_> = (0..500).map(|n| json!({ "id": format!("CVE-2026-{n:05}") })).collect();
    let versions: Vec<_> = (0..500).map(|n| format!("{n}.{}", "0".repeat(200))).collect();
    let found = json!({
        "vulnerability": { "id": "GHSA-aaaa-bbbb-cccc", "severity": "High", "fix": { "versions": versions } },
        "relatedVulnerabilities": related,
        "artifact": { "name": "openssl", "version": "3" },
    });
    let mut report: Value = serde_json::from_slice(fixture!("grype-advisory")).unwrap();
    report["matches"] = json!(vec![found; 20]);
    let report = read(report.to_string().as_bytes()).unwrap();
    assert_eq!(findings(&report).len(), 500);
    assert!(
        findings(&report).iter().all(|found| found.fixed_version.as_ref().unwrap().chars().count() == 300)
    );
}

#[test]
fn a_plain_report() {
    let report = read(fixture!("plain")).unwrap();
    assert_eq!((report.format, report.scanner.as_str()), (ScanFormat::Plain, "snyk"));
    assert_eq!((total(&report), findings(&report).len()), ([0, 2, 5, 11, 0], 0));
    assert_eq!(report.subject.check(Some(&image('b')), &[]).unwrap_err().pointer, "/image");
    let mut unnamed: Value = serde_json::from_slice(fixture!("plain")).unwrap();
    unnamed["image"] = Value::Null;
    let unnamed = read_value(&unnamed).unwrap();
    assert_eq!(
        (unnamed.subject.check(Some(&image('b')), &[]), unnamed.subject.check(None, &[])),
        (Ok(()), Ok(()))
    );
}

#[test]
fn a_report_says_when_it_was_made_or_its_sender_does() {
    let now = at("2026-01-20T08:30:15Z");
    let report = read(fixture!("trivy-image")).unwrap();
    assert_eq!(report.time(Some(at("2000-01-01T00:00:00Z")), now), Ok(report.scanned_at.unwrap()));
    let code = |now| report.time(None, now).unwrap_err().code;
    assert_eq!(code(at("2026-01-20T08:29:14Z")), "in-the-future");
    assert_eq!(code(at("2037-01-20T08:29:14Z")), "too-old");
    for report in [fixture!("grype-without-time").as_slice(), fixture!("trivy-0.20-without-time")] {
        let report = read(report).unwrap();
        assert_eq!(report.time(None, now).unwrap_err().code, "required");
        assert_eq!(report.time(Some(now), now), Ok(now));
        let future = report.time(Some(at("2026-01-20T09:00:00Z")), now).unwrap_err();
        assert_eq!((future.pointer.as_str(), future.code), ("/query/scanned_at", "in-the-future"));
    }
    let zero = json!({ "SchemaVersion": 2, "CreatedAt": "0001-01-01T00:00:00Z", "Results": [{ "Vulnerabilities": [] }] });
    assert_eq!(read_value(&zero).unwrap().scanned_at, None);
    let grype = json!({ "descriptor": { "timestamp": "" }, "matches": [] });
    assert_eq!(read_value(&grype).unwrap().scanned_at, None);
}

#[test]
fn every_fault_of_a_report_is_named() {
    let found = |faults: &[(&str, &'static str)]| {
        faults.iter().map(|(pointer, code)| ((*pointer).to_owned(), *code)).collect::<Vec<_>>()
    };
    let trivy = json!({ "SchemaVersion": 3, "CreatedAt": "yesterday", "Results": [
        {}, { "Vulnerabilities": [1, {}] }, { "Vulnerabilities": {} }, 5,
        { "Vulnerabilities": [{ "VulnerabilityID": "x".repeat(129), "PkgName": "a\u{0}", "Severity": "SEVERE" }] },
    ]});
    let expected = [
        ("/SchemaVersion", "unknown-value"),
        ("/CreatedAt", "format"),
        ("/Results/1/Vulnerabilities/0", "type"),
        ("/Results/1/Vulnerabilities/1/VulnerabilityID", "required"),
        ("/Results/1/Vulnerabilities/1/PkgName", "required"),
        ("/Results/2/Vulnerabilities", "type"),
        ("/Results/3", "type"),
        ("/Results/4/Vulnerabilities/0/VulnerabilityID", "too-long"),
        ("/Results/4/Vulnerabilities/0/PkgName", "control-character"),
        ("/Results/4/Vulnerabilities/0/Severity", "unknown-value"),
    ];
    assert_eq!(faults(&trivy), found(&expected));
    let grype = json!({ "matches": [{ "vulnerability": { "id": 5, "severity": [] }, "artifact": "x" }], "descriptor": 1 });
    let expected = [
        ("/descriptor", "type"),
        ("/matches/0/vulnerability/id", "required"),
        ("/matches/0/artifact/name", "required"),
        ("/matches/0/vulnerability/severity", "unknown-value"),
    ];
    assert_eq!(faults(&grype), found(&expected));
    let plain = json!({ "scanner": "A b", "image": "shop:latest", "counts": { "critical": -1, "high": 1e300, "low": 5_000_000_000_u64 } });
    let expected = [
        ("/scanner", "invalid-name"),
        ("/image", "invalid-image"),
        ("/counts/critical", "type"),
        ("/counts/high", "type"),
        ("/counts/medium", "required"),
        ("/counts/low", "out-of-range"),
        ("/counts/unknown", "required"),
    ];
    assert_eq!(faults(&plain), found(&expected));
    for unknown in [
        json!(null),
        json!([]),
        json!([{ "Target": "a" }]),
        json!({}),
        json!("x"),
        json!({ "bomFormat": "CycloneDX" }),
    ] {
        assert_eq!(faults(&unknown), found(&[("", "unknown-format")]), "{unknown}");
    }
}

#[test]
fn faults_and_findings_have_an_end() {
    let many = |count: usize, id: fn(usize) -> String| {
        let found = |n| json!({ "VulnerabilityID": id(n), "PkgName": "p", "Severity": "LOW" });
        let found: Vec<_> = (0..count).map(found).collect();
        json!({ "SchemaVersion": 2, "Results": [{ "Vulnerabilities": found }] })
    };
    let found = |report: &Value| findings(&read_value(report).unwrap()).len();
    assert_eq!(found(&many(FINDINGS_MAX, |n| format!("CVE-{n}"))), FINDINGS_MAX);
    assert_eq!(found(&many(FINDINGS_MAX * 2, |_| "CVE-1".to_owned())), 1);
    let too_many = faults(&many(FINDINGS_MAX + 1, |n| format!("CVE-{n}")));
    assert_eq!(too_many, [("/Results".to_owned(), "too-many")]);
    assert_eq!(faults(&many(1000, |_| String::new())).len(), 50);
}

#[test]
fn what_is_no_json_is_none() {
    let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    let nested = format!("{{\"SchemaVersion\":2,\"x\":{}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
    for text in ["", "{", "{\"matches\":[}", "{\"scanner\":\"\\ud800\"}", "{} {}", "nul"] {
        assert!(matches!(read(text.as_bytes()), Err(Unreadable::NotJson(_))), "{text:.20}");
    }
    assert!(matches!(read(b"{\"scanner\":\"\xff\"}"), Err(Unreadable::NotJson(_))));
    // What is skipped may be as deep as it likes.
    assert!(matches!(read(deep.as_bytes()), Err(Unreadable::Faulty(_))));
    assert!(read(nested.replace("{\"Sch", "{\"Results\":[{\"Packages\":[]}],\"Sch").as_bytes()).is_ok());
    let twice = b"{\"SchemaVersion\":2,\"SchemaVersion\":2}";
    assert!(matches!(read(twice), Err(Unreadable::Faulty(_))));
}

#[test]
fn a_report_is_read_however_its_text_is_encoded() {
    let report = include_str!("../data/trivy-image.json").replace("\"Title\"", "\"Tïtle 🦀\"");
    let right = read(report.as_bytes()).unwrap();
    let units: Vec<u16> = report.encode_utf16().collect();
    let little: Vec<u8> = units.iter().flat_map(|unit| unit.to_le_bytes()).collect();
    let big: Vec<u8> = units.iter().flat_map(|unit| unit.to_be_bytes()).collect();
    for (mark, bytes) in [
        (&b"\xef\xbb\xbf"[..], report.as_bytes()),
        (b"\xff\xfe", &little),
        (b"\xfe\xff", &big),
        (b"", &little),
        (b"", &big),
    ] {
        assert_eq!(read(&[mark, bytes].concat()).unwrap(), right, "{mark:?}");
    }
    for broken in [&b"\xff\xfe{\0}"[..], b"\xff\xfe\x00\xd8", b"\xff\xfe"] {
        assert!(matches!(read(broken), Err(Unreadable::NotJson(_))), "{broken:?}");
    }
}

/// Why a report is not read.
fn why(report: &[u8]) -> String {
    match read(report) {
        Err(Unreadable::NotJson(why)) => why,
        Err(Unreadable::Faulty(faults)) => faults.into_vec().remove(0).detail,
        Ok(report) => panic!("{report:?}"),
    }
}

#[test]
fn what_is_no_report_is_called_what_it_is() {
    let reports: [(&[u8], &str); 31] = [
        (b"", "empty"),
        (b"\xef\xbb\xbf\n", "empty"),
        (b"\x1f\x8b\x08\0", "gzip"),
        (b"PK\x03\x04", "zip"),
        (b"<!DOCTYPE html>\n<html>", "HTML"),
        (b"<?xml version=\"1.0\"?><bom xmlns=\"http://cyclonedx.org/schema/bom/1.5\">", "CycloneDX"),
        (b"<?xml version=\"1.0\"?>\n<testsuites>", "JUnit"),
        (b"<a/>", "XML"),
        (b"SPDXVersion: SPDX-2.3\n", "SPDX"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1", "Git LFS"),
        (b"NAME  INSTALLED  FIXED IN  TYPE  VULNERABILITY  SEVERITY\n", "Grype writes without"),
        ("\nshop (alpine 3.20)\n===\nTotal: 2 (UNKNOWN: 0, LOW: 2)\n\n┌─────┐".as_bytes(), "Trivy writes without"),
        (b"---\na: 1\n", "YAML"),
        (b"2026-01-01T00:00:00Z\tINFO\tVulnerability scanning\n{\"SchemaVersion\": 2}\n", "2>&1"),
        (b"FATAL no such image", "no JSON (expected"),
        (b"{\"SchemaVersion\": 2}\n{\"SchemaVersion\": 2}\n", "one after the other"),
        (b"{\"SchemaVersion\": 2, \"Results\": [", "cut off"),
        (b"{\"SchemaVersion\": 2,, }", "no JSON (key must"),
        (b"[{\"SchemaVersion\": 2}]", "list of reports"),
        (b"[{\"Target\": \"shop\", \"Vulnerabilities\": []}]", "before 0.20"),
        (b"{\"SchemaVersion\": 3}", "use one of these"),
        (b"{\"SchemaVersion\": 1}", "0.20 or newer"),
        (b"{\"SchemaVersion\": 2, \"ClusterName\": \"c\", \"Resources\": []}", "`trivy k8s`"),
        (b"{\"ClusterName\": \"c\", \"Findings\": []}", "`trivy k8s`"),
        (
            b"{\"apiVersion\": \"aquasecurity.github.io/v1alpha1\", \"kind\": \"VulnerabilityReport\", \"report\": {}}",
            "Trivy's operator",
        ),
        (
            b"{\"apiVersion\": \"v1\", \"kind\": \"List\", \"items\": [{\"apiVersion\": \"aquasecurity.github.io/v1\"}]}",
            "Trivy's operator",
        ),
        (b"{\"bomFormat\": \"CycloneDX\", \"vulnerabilities\": []}", "CycloneDX"),
        (b"{\"spdxVersion\": \"SPDX-2.3\"}", "SPDX"),
        (b"{\"version\": \"2.1.0\", \"runs\": []}", "SARIF"),
        (b"{\"version\": \"15.0.7\", \"scan\": {}, \"vulnerabilities\": []}", "GitLab"),
        (b"{\"x\": 1}", "no report that is known"),
    ];
    for (report, expected) in reports {
        let why = why(report);
        assert!(why.contains(expected), "{}: {why}", String::from_utf8_lossy(report));
        let of_another_form = why.contains("not read") || why.contains("table");
        assert!(!of_another_form || why.contains("trivy image --list-all-pkgs --format json"), "{why}");
    }
}

#[test]
fn ids_have_one_spelling() {
    for (id, expected) in [
        ("cve-2021-44228", "CVE-2021-44228"),
        ("ghsa-JFH8-c2jp-5v3q", "GHSA-jfh8-c2jp-5v3q"),
        ("RUSTSEC-2020-0071", "RUSTSEC-2020-0071"),
        ("é", "é"),
    ] {
        assert_eq!(spelled(id), expected);
    }
}

#[test]
fn a_release_without_an_accepted_scan_is_not_within_the_budget() {
    let rule = VulnerabilitiesRule {
        max: Budget { critical: Some(0), ..Budget::default() },
        scanners: vec!["trivy".to_owned()],
        ..VulnerabilitiesRule::default()
    };
    let fact = |scanner: &str, critical| ScanFact {
        id: Uuid::nil(),
        scanner: scanner.to_owned(),
        platform: None,
        class: PackageClass::All,
        scanned_at: at("2026-01-20T08:29:14Z"),
        counts: Counts { critical, ..Counts::default() },
        fixable: None,
        plain: false,
        waived: Vec::new(),
    };
    let now = at("2026-01-20T10:00:00Z");
    assert!(!within(&rule, &[], &[], now) && !within(&rule, &[fact("grype", 0)], &[], now));
    assert!(within(&rule, &[fact("trivy", 0), fact("grype", 5)], &[], now));
    assert!(!within(&rule, &[fact("trivy", 1)], &[], now));
}

fn vulnerability() -> impl Strategy<Value = Value> {
    let id = prop_oneof!["CVE-2026-[1-4]", "cve-2026-[1-4]", "GHSA-[ab]", "ALAS-1"];
    let severity = prop_oneof!["CRITICAL", "High", "medium", "LOW", "Negligible", "UNKNOWN", ""];
    let others = prop::collection::vec("(CVE-2026|GHSA)-[1-4]", 0..3);
    (id, "[pq]", "[0-9]\\.[0-9]", severity, others).prop_map(|(id, package, version, severity, others)| {
        json!({ "VulnerabilityID": id, "PkgName": package, "InstalledVersion": version, "FixedVersion": version,
            "Severity": severity, "VendorIDs": others })
    })
}

fn trivy(found: &[Value]) -> Report {
    let (first, second) = found.split_at(found.len() / 2);
    let results = json!([{ "Vulnerabilities": first }, { "Vulnerabilities": second }]);
    read_value(&json!({ "SchemaVersion": 2, "Results": results })).unwrap()
}

proptest! {
    #[test]
    fn neither_order_nor_repetition_matters(
        found in prop::collection::vec(vulnerability(), 0..30),
        shuffled in prop::collection::vec(any::<prop::sample::Index>(), 0..30),
    ) {
        let report = trivy(&found);
        let mut again = found.clone();
        again.reverse();
        if !found.is_empty() {
            again.extend(shuffled.iter().map(|index| index.get(&found).clone()));
        }
        prop_assert_eq!(trivy(&again), report);
    }

    #[test]
    fn counts_are_the_findings(found in prop::collection::vec(vulnerability(), 0..30)) {
        let report = trivy(&found);
        let findings = findings(&report);
        let of = |severity| findings.iter().filter(|f| f.severity == severity).count();
        for (severity, count) in Severity::ALL.iter().zip(total(&report)) {
            prop_assert_eq!(usize::try_from(count).unwrap(), of(*severity));
        }
        let key = |f: &&Finding| (f.vulnerability.clone(), f.package.clone(), f.installed_version.clone());
        let keys: BTreeSet<_> = findings.iter().map(key).collect();
        prop_assert_eq!(keys.len(), findings.len());
    }

    #[test]
    fn nothing_that_is_sent_is_more_than_refused(text in "[\\[\\]{}\",:0-9a-z\\\\]{0,60}") {
        drop(read(text.as_bytes()));
        drop(read(format!("{{\"SchemaVersion\":2,\"Results\":[{text}]}}").as_bytes()));
    }
}
