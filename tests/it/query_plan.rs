//! The matrix, the gate and the history read what they need, and not the history behind it: PostgreSQL's own plans for the very
//! statements that the server sends.

use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, Statement};
use serde_json::json;

use crate::{
    people::visitor::{SITE, looking},
    support::{api::Api, db::TestDb, wire::Wire},
};

const SERVICES: usize = 200;
/// So many services are read at once.
const AT_ONCE: usize = 32;
const ENVIRONMENTS: usize = 5;

/// A hundred releases of each service, each deployed to every environment: 100,000 deployments. Ids are hashes of what
/// they stand for, so that rows find each other.
const FILL: &str = "
INSERT INTO service (id, name, labels, revision, created_at, updated_at)
SELECT md5('s' || s)::uuid, 'service-' || s, '{}', 1, '2020-01-01Z', '2020-01-01Z' FROM generate_series(1, 200) s;
INSERT INTO environment (id, name, tier, rank, unconfirmed, revision, created_at, updated_at)
SELECT md5('e' || e)::uuid, 'environment-' || e, 'other', e, false, 1, '2020-01-01Z', '2020-01-01Z'
FROM generate_series(1, 5) e;
INSERT INTO release (id, service_id, version, number, place, commit_sha, artefact, changes, labels, actor_token,
    actor_subject, created_at, ordered_at)
SELECT md5('r' || s || '/' || n)::uuid, md5('s' || s)::uuid, '1.0.' || n, n, n, md5(s || '/' || n), '1.0.' || n, '[]',
    '{}', 'ci', 'ci', timestamptz '2020-01-01Z' + n * interval '1 day', timestamptz '2020-01-01Z' + n * interval '1 day'
FROM generate_series(1, 200) s, generate_series(1, 100) n;
INSERT INTO deployment (id, service_id, environment_id, release_id, artefact, status, kind, strategy, actor_token,
    actor_subject, started_at, finished_at, lease_seconds, stay_started_at, superseded_at, superseded_by, recorded,
    ungated, credited, verified, preempted)
SELECT md5('d' || s || '/' || e || '/' || n)::uuid, md5('s' || s)::uuid, md5('e' || e)::uuid,
    md5('r' || s || '/' || n)::uuid, '1.0.' || n, 'succeeded', 'deploy', 'rolling', 'ci', 'ci', at,
    at + interval '1 minute', 60, at + interval '1 minute',
    CASE WHEN n < 100 THEN at + interval '1 day 1 minute' END,
    CASE WHEN n < 100 THEN md5('d' || s || '/' || e || '/' || n + 1)::uuid END, false, false, true, false, false
FROM generate_series(1, 200) s, generate_series(1, 5) e, generate_series(1, 100) n,
    LATERAL (SELECT timestamptz '2020-01-01Z' + n * interval '1 day' + (s * 5 + e) * interval '1 second' AS at) t;
INSERT INTO target (service_id, environment_id, current_deployment_id, current_release_id, current_artefact,
    current_since, current_finished_at, current_token, current_subject, last_started_at, last_at)
SELECT service_id, environment_id, id, release_id, artefact, stay_started_at, finished_at, 'ci', 'ci', started_at,
    finished_at FROM deployment WHERE superseded_at IS NULL;
ANALYZE;
";

/// The plan of a statement, where the values are known and where they are not: the server prepares its statements, and
/// PostgreSQL chooses.
async fn plan(
    db: &DatabaseConnection,
    statement: &str,
    (types, values): (&str, &str),
    cache_mode: &str,
) -> String {
    for command in
        [format!("SET plan_cache_mode = {cache_mode}"), format!("PREPARE of_server {types} AS {statement}")]
    {
        db.execute_unprepared(&command).await.unwrap();
    }
    let explain = format!("EXPLAIN (ANALYZE, BUFFERS) EXECUTE of_server {values}");
    let lines = db.query_all_raw(Statement::from_string(DbBackend::Postgres, explain)).await.unwrap();
    db.execute_unprepared("DEALLOCATE of_server").await.unwrap();
    lines.iter().map(|line| line.try_get_by_index::<String>(0).unwrap() + "\n").collect()
}

/// The plan of a statement for no values in particular, which does not depend on those that it is asked for with.
async fn generic_plan(db: &DatabaseConnection, statement: &str) -> String {
    let values = (1..100).take_while(|number| statement.contains(&format!("${number}"))).count();
    let nulls = format!("({})", vec!["NULL"; values].join(", "));
    plan(db, statement, ("", &nulls), "force_generic_plan").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_matrix_reads_what_it_shows() {
    let db = TestDb::postgres().await;
    let wire = Wire::tap(&db.url).await;
    let api = Api::with(&db, |config| config.database.url = wire.url.parse().unwrap()).await;
    let direct = api.sql().await;
    direct.execute_unprepared(FILL).await.unwrap();
    for at in [None, Some("2020-03-01T12:00:00Z")] {
        wire.statements();
        let query = at.map(|at| format!("?as_of={at}")).unwrap_or_default();
        let matrix = api.get(&format!("/matrix{query}")).await.ok(200);
        let services = matrix["services"].as_array().unwrap();
        assert_eq!(services.len(), SERVICES);
        for service in services {
            let targets = service["targets"].as_array().unwrap();
            let occupied = targets.iter().filter(|target| target["current"].is_object());
            assert_eq!(occupied.count(), ENVIRONMENTS, "{service}");
        }
        let statements = wire.statements();
        let mut of_targets: Vec<_> = statements.iter().filter(|text| text.contains("target")).collect();
        // One for as many as are read at once, and one for the rest, on each connection.
        of_targets.sort_by_key(|text| std::cmp::Reverse(text.len()));
        of_targets.dedup();
        assert_eq!(of_targets.len(), 2, "{statements:?}");
        let names: Vec<_> = (1..=AT_ONCE).map(|n| format!("'service-{n}'")).collect();
        let literals: Vec<_> = at.map(|at| format!("'{at}'")).into_iter().chain(names).collect();
        let literals = format!("({})", literals.join(", "));
        let values = (if at.is_some() { "(timestamptz)" } else { "" }, literals.as_str());
        for cache_mode in ["force_custom_plan", "force_generic_plan"] {
            let plan = plan(&direct, of_targets[0], values, cache_mode).await;
            println!("--- {at:?} {cache_mode}\n{plan}");
            assert!(!plan.contains("Scan on deployment"), "{plan}");
            assert!(at.is_none() || plan.contains("deployment_stay_key"), "{plan}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_gate_finds_the_artefacts_deployments_by_index() {
    let db = TestDb::postgres().await;
    let wire = Wire::tap(&db.url).await;
    let api = Api::with(&db, |config| config.database.url = wire.url.parse().unwrap()).await;
    let direct = api.sql().await;
    direct.execute_unprepared(FILL).await.unwrap();
    let policy = json!({ "promotion": { "from": ["environment-1"] }, "approval": { "required": 1 }, "vulnerabilities": { "require_scan": true } });
    api.put("/environments/environment-2/policy", policy).await.ok(200);
    wire.statements();
    let question = json!({ "service": "service-1", "environment": "environment-2", "version": "1.0.50" });
    let answer = api.post("/gate/check", question).await.ok(200);
    assert_eq!(answer["checks"][3]["code"], "pass", "{answer}");
    let statements = wire.statements();
    let of_deployments: Vec<_> = statements.iter().filter(|text| text.contains("deployment d")).collect();
    assert_eq!(of_deployments.len(), 1, "{statements:?}");
    let plan = generic_plan(&direct, of_deployments[0]).await;
    println!("{plan}");
    assert!(!plan.contains("Seq Scan on deployment") && !plan.contains("Seq Scan on release"), "{plan}");
    // The stays, the reverts, and those of the release alone.
    let by_artefact = |line: &&str| line.contains("Index Cond") && line.contains("(artefact)::text = ");
    assert_eq!(plan.lines().filter(by_artefact).count(), 3, "{plan}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_of_a_services_history_reads_no_others() {
    let db = TestDb::postgres().await;
    let wire = Wire::tap(&db.url).await;
    let api = Api::with(&db, |config| config.database.url = wire.url.parse().unwrap()).await;
    let direct = api.sql().await;
    direct.execute_unprepared(FILL).await.unwrap();
    for (query, index, names) in [
        ("service=service-1", "deployment_service_idx", "'service-1'"),
        (
            "service=service-1&environment=environment-2",
            "deployment_target_idx",
            "'service-1', 'environment-2'",
        ),
        ("environment=environment-2", "deployment_environment_idx", "'environment-2'"),
    ] {
        wire.statements();
        let page = api.get(&format!("/deployments?{query}")).await.ok(200);
        assert_eq!(page["items"].as_array().unwrap().len(), 50, "{page}");
        let statements = wire.statements();
        let history: Vec<_> = statements.iter().filter(|text| text.contains("FROM \"deployment\"")).collect();
        assert_eq!(history.len(), 1, "{statements:?}");
        // A limit that is not in the text makes PostgreSQL plan anew each time.
        assert!(history[0].ends_with("LIMIT 51"), "{history:?}");
        let plan = plan(&direct, history[0], ("", &format!("({names})")), "force_generic_plan").await;
        println!("{plan}");
        assert!(plan.contains(&format!("Scan Backward using {index} ")), "{plan}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_search_and_the_lanes_of_a_service_read_no_others() {
    let db = TestDb::postgres().await;
    let wire = Wire::tap(&db.url).await;
    let set_up = |config: &mut waybill::config::Config| {
        config.database.url = wire.url.parse().unwrap();
        config.server.public_url = Some(SITE.parse().unwrap());
    };
    let api = Api::with(&db, set_up).await;
    let direct = api.sql().await;
    direct.execute_unprepared(FILL).await.unwrap();
    let mut visitor = looking(&api, &api).await;
    for (path, what, index) in [
        ("/search?q=1.0.50", "r.version = ", "release_version_idx"),
        ("/search?q=c4ca4238a0b923820dcc509a6f75849b", "r.commit_sha >= ", "release_commit_idx"),
        ("/services/service-1?as_of=2020-03-01&zoom=quarter", "\"finished_at\" > ", "deployment_stay_key"),
        ("/services/service-1/releases/1.0.50", "\"release_id\" IN (SELECT ", "release_version_"),
    ] {
        wire.statements();
        let page = visitor.page(path).await;
        assert!([200, 303].contains(&page.status), "{path}: {}", page.text);
        let statements = wire.statements();
        let found: Vec<_> = statements.iter().filter(|text| text.contains(what)).collect();
        assert!(!found.is_empty(), "{path}: {statements:?}");
        for statement in found {
            let plan = generic_plan(&direct, statement).await;
            println!("{path}\n{plan}");
            assert!(plan.contains(index), "{path}: {statement}\n{plan}");
            assert!(
                !plan.contains("Seq Scan on deployment") && !plan.contains("Seq Scan on release"),
                "{plan}"
            );
        }
    }
}
