//! What people open the pages for, in a real Chromium: `tests/people/stories.mjs`. On PostgreSQL the pages are those of one server and
//! pipelines talk to another.

use crate::support::{browser, db::TestDb, process::ServerProcess};

async fn stories(db: &TestDb, pages: &mut ServerProcess, api: &str) {
    let (url, token) = (pages.url.clone(), pages.token.clone());
    let env = [
        ("PAGES", url.as_str()),
        ("API", api),
        ("TOKEN", &token),
        ("WAYBILL", env!("CARGO_BIN_EXE_waybill")),
    ];
    let said = browser::run("stories", &env, async |wish| match wish {
        "stop" => pages.kill9(),
        "start" => pages.start_again(db, &[]).await,
        other => panic!("nobody knows how to {other}"),
    });
    let said = said.await;
    println!("{said}");
    assert!(said.contains("from the click to the end of the deployment"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_one_server_on_sqlite() {
    let db = TestDb::sqlite().await;
    let mut server = ServerProcess::start(&db).await;
    let url = server.url.clone();
    stories(&db, &mut server, &url).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_servers_on_postgres() {
    let db = TestDb::postgres().await;
    let (mut pages, api) = tokio::join!(ServerProcess::start(&db), ServerProcess::start(&db));
    stories(&db, &mut pages, &api.url).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_pictures_of_the_readme_show_pages_as_they_are_built() {
    let db = TestDb::sqlite().await;
    let server = ServerProcess::start(&db).await;
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/docs");
    let env = [("SERVER", server.url.as_str()), ("TOKEN", &server.token), ("FOLDER", folder)];
    browser::run("pictures", &env, async |wish| panic!("nobody can {wish}")).await;
}
