//! Where a vulnerability is, and which release is free of it.

use std::collections::BTreeSet;

use sea_orm::{ConnectionTrait as _, Statement};
use serde_json::{Value, json};
use waybill::{
    domain::{
        policy::{Budget, VulnerabilitiesRule},
        vocabulary::Scope,
    },
    store::scan,
};

use crate::{
    api::scans::{GRYPE, plain, scans, texts, trivy, with_releases},
    db_test,
    support::api::{Api, image},
};

db_test!(
    async fn everybody_is_told_where_a_vulnerability_is(db: TestDb) {
        let api = with_releases(&db, &[("1", 'a'), ("2", 'b'), ("3", 'c')]).await;
        let at = "2026-01-20T10:00:00Z";
        let found = [("CVE-2026-1", "libssl3", "HIGH"), ("cve-2026-1", "openssl", "CRITICAL")];
        api.post(&scans("1"), trivy('a', at, &found)).await.ok(201);
        api.post(&scans("2"), trivy('b', at, &[("CVE-2026-2", "zlib", "LOW")])).await.ok(201);
        api.post(&scans("3"), trivy('c', at, &found[..1])).await.ok(201);
        let mut grype: Value = serde_json::from_str(GRYPE).unwrap();
        grype["matches"] = json!([{ "vulnerability": { "id": "GHSA-aaaa", "severity": "Low" },
            "relatedVulnerabilities": [{ "id": "CVE-2026-1" }], "artifact": { "name": "openssl-sys", "version": "0.9" } }]);
        api.post(&scans("1"), grype).await.ok(201);
        let ask = async |id: &str| api.get(&format!("/vulnerabilities/{id}")).await.ok(200);

        let nowhere = ask("CVE-2026-1").await;
        assert_eq!(nowhere["targets"], json!([]));
        assert_eq!(texts(&nowhere["releases"], "version"), ["3", "1"], "newest first");
        assert_eq!(texts(&nowhere["releases"], "severity"), ["high", "critical"]);

        let first = api.deployed("shop/prod", "1").await;
        api.deployed("shop/dev", "1").await;
        let on_its_way = api.started("shop/staging", "3").await;
        for id in ["CVE-2026-1", "cve-2026-1", "GHSA-aaaa", "ghsa-AAAA"] {
            let answer = ask(id).await;
            let targets = &answer["targets"];
            assert_eq!(texts(targets, "environment"), ["dev", "staging", "prod"], "{id}: {answer}");
            assert_eq!(answer["releases"], json!([]));
        }
        let answer = ask("CVE-2026-1").await;
        let prod = &answer["targets"][2];
        assert_eq!((&prod["severity"], &prod["running"]), (&json!("critical"), &json!(false)));
        assert_eq!((&prod["deployment_id"], &prod["image"]), (&first["id"], &json!(image('a'))));
        assert_eq!(prod["since"], first["stay_started_at"]);
        assert_eq!(prod["scanners"], json!(["grype", "trivy"]));
        assert_eq!(texts(&prod["packages"], "name"), ["libssl3", "openssl", "openssl-sys"]);
        assert_eq!(prod["packages"][2]["installed_version"], "0.9");
        let staging = &answer["targets"][1];
        assert_eq!((&staging["deployment_id"], &staging["running"]), (&json!(on_its_way), &json!(true)));

        api.finished(&on_its_way, "failed").await;
        api.deployed("shop/prod", "2").await;
        let replaced = ask("CVE-2026-1").await;
        assert_eq!(texts(&replaced["targets"], "environment"), ["dev"]);
        assert_eq!(texts(&replaced["releases"], "version"), ["3"]);
        assert_eq!(texts(&ask("CVE-2026-2").await["targets"], "environment"), ["prod"]);

        api.post(&scans("1"), trivy('a', "2026-01-21T10:00:00Z", &[])).await.ok(201);
        let rescanned = ask("CVE-2026-1").await;
        assert_eq!(rescanned["targets"][0]["scanners"], json!(["grype"]), "Trivy no longer says so");
        let unheard = ask("CVE-1999-0001").await;
        assert_eq!((&unheard["targets"], &unheard["releases"]), (&json!([]), &json!([])));
        api.delete("/environments/dev").await.ok(200);
        assert_eq!(ask("CVE-2026-1").await["targets"], json!([]), "archived");
    }
);

db_test!(
    async fn a_vulnerability_is_known_by_every_id_that_a_report_gives_it(db: TestDb) {
        let api = with_releases(&db, &[("1", 'a'), ("2", 'b')]).await;
        let matched = |id: &str, related: &[&str], package: &str| {
            let related: Vec<_> = related.iter().map(|id| json!({ "id": id })).collect();
            json!({ "vulnerability": { "id": id, "severity": "High" }, "relatedVulnerabilities": related,
                "artifact": { "name": package, "version": "1" } })
        };
        let mut grype: Value = serde_json::from_str(GRYPE).unwrap();
        grype["matches"] = json!([
            matched("GHSA-w62r-7c53-fmc5", &["CVE-2025-41115"], "grafana"),
            matched("GO-2025-4153", &["CVE-2025-41115", "ghsa-W62R-7c53-fmc5"], "grafana"),
            matched("GO-2024-0001", &["GHSA-aaaa-bbbb-cccc"], "p"),
            matched("GO-2025-9999", &["GHSA-w62r-7c53-fmc5"], "loki"),
            matched("CVE-2024-90002", &["GHSA-2222-2222-2222", "GHSA-3333-3333-3333"], "q"),
            matched("ALAS2023-2026-1234", &["CVE-2026-10001", "CVE-2026-10007"], "r"),
        ]);
        let made = api.post(&scans("1"), grype).await.ok(201);
        assert_eq!(made["findings"], 6, "the two ids of one vulnerability are one finding");
        let mut trivy = trivy('a', "2026-01-20T10:00:00Z", &[("CVE-2024-90009", "libc", "HIGH")]);
        trivy["Results"][0]["Vulnerabilities"][0]["VendorIDs"] = json!(["DSA-5000-1", "RHSA-2021:1234"]);
        api.post(&scans("1"), trivy).await.ok(201);
        // Another report knows one of these by an id of its own alone.
        let mut other: Value = serde_json::from_str(GRYPE).unwrap();
        other["source"]["target"] = json!({ "repoDigests": [image('b')] });
        other["matches"] = json!([matched("GHSA-2222-2222-2222", &[], "q")]);
        api.post(&scans("2"), other).await.ok(201);
        api.deployed("shop/prod", "1").await;
        let ask = async |id: &str| {
            let answer = api.get(&format!("/vulnerabilities/{id}")).await.ok(200);
            let packages =
                answer["targets"].as_array().unwrap().first().map_or(json!([]), |t| t["packages"].clone());
            let packages = texts(&packages, "name").join(" ");
            (packages, answer["releases"].as_array().unwrap().len())
        };
        for (id, packages, elsewhere) in [
            ("CVE-2025-41115", "grafana loki", 0),
            ("GHSA-W62R-7C53-FMC5", "grafana loki", 0),
            ("go-2025-9999", "loki", 0),
            ("rhsa-2021:1234", "libc", 0),
            ("GO-2025-4153", "grafana", 0),
            ("GO-2024-0001", "p", 0),
            ("GHSA-aaaa-bbbb-cccc", "p", 0),
            ("CVE-2024-90002", "q", 1),
            ("GHSA-2222-2222-2222", "q", 1),
            ("GHSA-3333-3333-3333", "q", 0),
            ("ALAS2023-2026-1234", "r", 0),
            ("CVE-2026-10007", "r", 0),
            ("CVE-2024-90009", "libc", 0),
            ("DSA-5000-1", "libc", 0),
            ("RHSA-2021:1234", "libc", 0),
        ] {
            assert_eq!(ask(id).await, (packages.to_owned(), elsewhere), "{id}");
        }
    }
);

db_test!(
    async fn what_was_never_scanned_is_told_beside_every_answer(db: TestDb) {
        let api = with_releases(&db, &[("1", 'a'), ("2", 'b'), ("3", 'c')]).await;
        for (name, tier, rank) in
            [("dev", "development", 1), ("prod", "production", 3), ("staging", "staging", 2)]
        {
            api.post("/environments", json!({ "name": name, "tier": tier, "rank": rank })).await.ok(201);
        }
        api.post(&scans("1"), trivy('a', "2026-01-20T10:00:00Z", &[("CVE-2026-1", "p", "LOW")]))
            .await
            .ok(201);
        // A plain report names nothing that could be asked for.
        api.post(&scans("2"), plain("snyk", "2026-01-20T10:00:00Z", 0)).await.ok(201);
        for (target, version) in [("shop/dev", "2"), ("shop/prod", "3"), ("shop/staging", "1")] {
            api.deployed(target, version).await;
        }
        for id in ["CVE-2021-44228", "CVE-2026-1"] {
            let answer = api.get(&format!("/vulnerabilities/{id}")).await.ok(200);
            assert_eq!(texts(&answer["unscanned"], "environment"), ["prod", "dev"], "{answer}");
            assert_eq!(
                (&answer["unscanned_count"], &answer["unscanned"][0]["version"]),
                (&json!(2), &json!("3"))
            );
        }
        let narrow = api.token(&[Scope::Read], None, Some(&["dev"])).await;
        let answer = narrow.get("/vulnerabilities/CVE-2021-44228").await.ok(200);
        assert_eq!(
            (texts(&answer["unscanned"], "environment"), &answer["unscanned_count"]),
            (vec!["dev"], &json!(1))
        );
        api.post(&scans("3"), trivy('c', "2026-01-20T10:00:00Z", &[])).await.ok(201);
        api.delete("/environments/dev").await.ok(200);
        let answer = api.get("/vulnerabilities/CVE-2021-44228").await.ok(200);
        assert_eq!((&answer["unscanned"], &answer["unscanned_count"]), (&json!([]), &json!(0)));
    }
);

db_test!(
    async fn what_cannot_be_an_id_is_refused_unless_a_scanner_gave_it(db: TestDb) {
        let api = with_releases(&db, &[("1", 'a')]).await;
        api.post(&scans("1"), trivy('a', "2026-01-20T10:00:00Z", &[("CVE-7", "p", "LOW")])).await.ok(201);
        api.get("/vulnerabilities/CVE-7").await.ok(200);
        let long = "CVE-2021-".to_owned() + &"1".repeat(200);
        for id in [
            "CVE-2021",
            "CVE2021-44228",
            "cve2021-44228",
            "CVE:2021-44228",
            "CVE-0000-44228",
            "CVE-9999-44228",
            "CVE-21-44228",
            "CVE-2021-44x",
            "GHSA-1234",
            "log4j",
            "44228",
            "CVE%202021",
            "x%27y1",
            "%C3%A91",
            &long,
        ] {
            let faults = api.get(&format!("/vulnerabilities/{id}")).await.faults();
            assert_eq!(faults, [("/path/id".to_owned(), "invalid-vulnerability-id".to_owned())], "{id}");
        }
        for id in [
            "CVE-2021-44228",
            "cve-2021-44228",
            "GHSA-jfh8-c2jp-5v3q",
            "GO-2025-4153",
            "RHSA-2021:5127",
            "ALAS2-2021-1732",
            "DSA-5000-1",
            "SNYK-JS-LODASH-567746",
            "TEMP-0841856-B18BAF",
            "openSUSE-SU-2021:1234-1",
            "RUSTSEC-2020-0071",
            "MAL-2022-1",
            "KB5005566",
        ] {
            api.get(&format!("/vulnerabilities/{id}")).await.ok(200);
        }
    }
);

db_test!(
    async fn where_a_vulnerability_is_stays_within_the_narrowing(db: TestDb) {
        let api = with_releases(&db, &[("1", 'a'), ("2", 'b')]).await;
        let at = "2026-01-20T10:00:00Z";
        for (version, digit) in [("1", 'a'), ("2", 'b')] {
            let report = trivy(digit, at, &[("CVE-2026-0001", "p", "HIGH")]);
            api.post(&scans(version), report).await.ok(201);
        }
        api.deployed("shop/prod", "1").await;
        api.deployed("shop/dev", "1").await;
        let ask = async |api: Api| {
            let answer = api.get("/vulnerabilities/CVE-2026-0001").await.ok(200);
            let environments: BTreeSet<_> =
                texts(&answer["targets"], "environment").into_iter().map(str::to_owned).collect();
            (environments.into_iter().collect::<Vec<_>>(), answer["releases"].as_array().unwrap().len())
        };
        let prod = api.token(&[Scope::Read], Some(&["shop"]), Some(&["prod"])).await;
        assert_eq!(ask(prod).await, (vec!["prod".to_owned()], 1));
        let other = api.token(&[Scope::Read], Some(&["pay"]), None).await;
        assert_eq!(ask(other).await, (vec![], 0));
    }
);

db_test!(
    async fn the_newest_release_within_the_budget_is_found(db: TestDb) {
        let api = with_releases(&db, &[("1", 'a'), ("2", 'b'), ("3", 'c'), ("4", 'd'), ("5", 'e')]).await;
        let at = "2026-01-20T10:00:00Z";
        for (version, scanner, critical) in
            [("1", "trivy", 0), ("2", "trivy", 0), ("2", "grype", 1), ("3", "grype", 0), ("4", "trivy", 1)]
        {
            api.post(&scans(version), plain(scanner, at, critical)).await.ok(201);
        }
        let rule = |scanners: &[&str], critical| VulnerabilitiesRule {
            max: Budget { critical, ..Budget::default() },
            scanners: scanners.iter().map(ToString::to_string).collect(),
            ..VulnerabilitiesRule::default()
        };
        let sql = api.sql().await;
        let query = "SELECT service_id, artefact FROM release WHERE version = '2'";
        let query = Statement::from_string(sql.get_database_backend(), query);
        let row = sql.query_one_raw(query).await.unwrap().unwrap();
        let service: uuid::Uuid = row.try_get("", "service_id").unwrap();
        let newest = async |rule, limit| {
            let (environment, now) = ("prod", waybill::clock::now());
            let budgeted = scan::Budgeted { service_id: service, environment, rule: &rule, now };
            scan::newest_within(&sql, budgeted, limit).await.unwrap()
        };
        assert_eq!(newest(rule(&[], Some(0)), 50).await.as_deref(), Some("3"));
        assert_eq!(newest(rule(&["trivy"], Some(0)), 50).await.as_deref(), Some("2"));
        assert_eq!(newest(rule(&["trivy"], None), 50).await.as_deref(), Some("4"), "5 has no scan");
        assert_eq!(newest(rule(&["trivy"], Some(0)), 3).await, None, "as far as it looks");
        let artefact: String = row.try_get("", "artefact").unwrap();
        let counting = scan::counting(&sql, service, &artefact).await.unwrap();
        let facts: Vec<_> = counting.iter().map(|part| &part.fact).collect();
        let facts: Vec<_> = facts.iter().map(|fact| (fact.scanner.as_str(), fact.counts.critical)).collect();
        assert_eq!(facts, [("grype", 1), ("trivy", 0)]);
        sql.close().await.unwrap();
    }
);
