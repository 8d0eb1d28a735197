//! The binary as its operators meet it: it starts, it stops when told, and a crash loses nothing.

use crate::{db_test, support::process::ServerProcess};

db_test!(
    async fn a_server_stops_cleanly_when_asked(db: TestDb) {
        let mut server = ServerProcess::start(&db).await;
        let status = server.terminate().await;
        assert!(status.success(), "{status}\n{}", server.stderr());
    }
);

db_test!(
    async fn a_server_starts_again_after_a_crash(db: TestDb) {
        let mut server = ServerProcess::start(&db).await;
        server.kill9();
        let server = ServerProcess::start(&db).await;
        let answer = server.client().get(server.at("/api/v1/services")).send().await.unwrap();
        assert!(answer.status().is_success(), "{answer:?}");
    }
);
