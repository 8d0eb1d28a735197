//! Backup and restore on PostgreSQL, by the very scripts that the jobs in Kubernetes run, for real: what was backed up
//! comes back whole, and nothing else is ever taken for a backup or replaces a ledger.

use std::{fs, path::Path, process::Stdio};

use crate::support::{
    eventually,
    ledger::{Ledger, Outcome, outcome},
    postgres::Server,
};

/// Ends a ledger's life, as a disaster does.
async fn destroy(ledger: &Ledger) {
    ledger.sql("postgres", &format!("DROP DATABASE {} WITH (FORCE)", ledger.name)).await;
}

fn confirmed(ledger: &Ledger, more: &[&str]) -> Outcome {
    ledger.restore(&[&["--confirm", &ledger.name], more].concat())
}

/// The head as `audit verify --head` takes it.
fn head(facts: &str) -> &str {
    facts.lines().find_map(|line| line.strip_prefix("head ")).unwrap()
}

/// Copies a backup to another name, as if it had been made then.
fn age(ledger: &Ledger, name: &str, stamp: &str) {
    let (from, to) = (ledger.backups.join(name), ledger.backups.join(format!("waybill-{stamp}")));
    fs::create_dir(&to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

fn flip_a_byte(file: &Path) {
    let mut bytes = fs::read(file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(file, bytes).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_destroyed_ledger_comes_back_with_its_chain() {
    let ledger = Ledger::postgres().await;
    let mut server = ledger.serve().await;
    ledger.fill(&server, 0..5).await;
    let before = ledger.verified();
    let said = ledger.backup(&[]).ok();
    assert!(said.contains("was made"), "{said}");
    // What comes after the backup is lost, and nothing else.
    ledger.fill(&server, 5..7).await;
    assert_ne!(ledger.verified(), before);
    server.terminate().await;
    destroy(&ledger).await;
    confirmed(&ledger, &[]).ok();
    assert_eq!(ledger.verified(), before);
    let facts = ledger.facts();
    assert!(facts.contains("\nrows deployment 5\n"), "{facts}");
    ledger.waybill(&ledger.url("app"), &["audit", "verify", "--head", head(&facts)]).ok();
    // The roles have the rights that they had: the server serves, and is not the owner.
    let server = ledger.serve().await;
    ledger.fill(&server, 7..9).await;
    let down = ledger.waybill(&ledger.url("app"), &["migrate", "down", "--yes"]);
    down.refused(1, "permission denied");
    ledger.waybill(&ledger.url("owner"), &["migrate", "up"]).ok();
    ledger.backup(&[]).ok();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ledger_is_replaced_only_when_a_person_confirms_it_and_nobody_uses_it() {
    let ledger = Ledger::postgres().await;
    let mut server = ledger.serve().await;
    ledger.fill(&server, 0..2).await;
    let before = ledger.verified();
    ledger.backup(&[]).ok();
    ledger.fill(&server, 2..4).await;
    let latest = ledger.verified();
    ledger.restore(&[]).refused(2, "'' was confirmed");
    ledger.restore(&["--confirm", "another"]).refused(2, "'another' was confirmed");
    confirmed(&ledger, &[]).refused(1, "is in use: waybill from");
    ledger.restore(&["--dry-run"]).ok();
    assert_eq!(ledger.verified(), latest);
    // Sessions can be ended instead, even while the server does all to come back.
    confirmed(&ledger, &["--terminate"]).ok();
    assert_eq!(ledger.verified(), before);
    eventually("recovery of the server", async || {
        let ready = server.client().get(server.at("/readyz")).send().await.unwrap();
        ready.status().is_success().then_some(())
    })
    .await;
    server.terminate().await;
    // In two steps, as in the Job, where another image verifies in between.
    confirmed(&ledger, &["--stage"]).ok();
    let staged = ledger.url_of(&format!("{}_restored", ledger.name), "app");
    assert_eq!(ledger.waybill(&staged, &["audit", "verify"]).ok(), before);
    confirmed(&ledger, &["--stage"]).ok();
    confirmed(&ledger, &["--swap"]).ok();
    confirmed(&ledger, &["--swap"]).refused(1, "--stage makes it");
    assert_eq!(ledger.verified(), before);
    // What somebody else made under that name is not ours to drop.
    ledger.sql("postgres", &format!("CREATE DATABASE {}_restored", ledger.name)).await;
    confirmed(&ledger, &[]).refused(1, "that this script did not make");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_backup_is_refused_and_half_a_backup_is_none() {
    let ledger = Ledger::postgres().await;
    drop(ledger.serve().await);
    ledger.restore(&["--dry-run"]).refused(1, "there is no postgres backup");
    ledger.backup(&[]).ok();
    let good = ledger.names().remove(0);
    // A run that was killed in the middle, and a directory that lacks its checksums.
    let half = ledger.backups.join(".partial-abcdef");
    fs::create_dir(&half).unwrap();
    fs::write(half.join("ledger.dump"), "PGDMP").unwrap();
    age(&ledger, &good, "29991231T000000Z");
    fs::remove_file(ledger.backups.join("waybill-29991231T000000Z/SHA256SUMS")).unwrap();
    assert_eq!(ledger.names(), [good.as_str()]);
    ledger.restore(&["--dry-run"]).ok();
    fs::remove_dir_all(ledger.backups.join("waybill-29991231T000000Z")).unwrap();
    ledger.backup(&[]).ok();
    assert!(!half.exists());
    let newest = ledger.names().remove(0);
    for file in ["ledger.dump", "facts"] {
        flip_a_byte(&ledger.backups.join(&newest).join(file));
        confirmed(&ledger, &[]).refused(1, "is damaged: take another one");
        flip_a_byte(&ledger.backups.join(&newest).join(file));
    }
    // Checksums that fit facts that do not fit the dump.
    let facts = ledger.backups.join(&newest).join("facts");
    fs::write(&facts, fs::read_to_string(&facts).unwrap().replace("rows token 1", "rows token 2")).unwrap();
    let sums = format!("cd {} && sha256sum ledger.dump facts >SHA256SUMS", facts.parent().unwrap().display());
    outcome({
        let mut command = std::process::Command::new("sh");
        command.args(["-c", &sums]);
        command
    })
    .ok();
    let before = ledger.verified();
    confirmed(&ledger, &[]).refused(1, "is not what was backed up");
    assert_eq!(ledger.verified(), before);
    confirmed(&ledger, &["--swap"]).refused(1, "there is no database");
    confirmed(&ledger, &[&good]).ok();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_backups_go_only_after_a_good_one_that_continues_them() {
    let ledger = Ledger::postgres().await;
    let server = ledger.serve().await;
    ledger.fill(&server, 0..1).await;
    ledger.backup(&[]).ok();
    let first = ledger.names().remove(0);
    for day in 1..=5 {
        age(&ledger, &first, &format!("2020010{day}T000000Z"));
    }
    ledger.backup(&["--dry-run", "--keep-min", "3"]).ok();
    assert_eq!(ledger.names().len(), 6);
    // Nothing is deleted when no backup was made, or it did not get where it should.
    let nowhere = ledger.url("backup").replace("backup:backup@", "backup:wrong@");
    let mut failing = ledger.backup_command(&["--keep-min", "3"]);
    failing.env("DATABASE_URL", nowhere);
    outcome(failing).refused(1, "password authentication failed");
    let mut failing = ledger.backup_command(&["--keep-min", "3"]);
    failing.env("BACKUP_UPLOAD", "test -f \"$BACKUP_DIR/$BACKUP_NAME/ledger.dump\" && false");
    outcome(failing).refused(3, "BACKUP_UPLOAD failed");
    assert_eq!(ledger.names().len(), 7);
    let said = ledger.backup(&["--keep-min", "4"]).ok();
    assert!(said.contains("waybill-20200101T000000Z was deleted"), "{said}");
    let names = ledger.names();
    assert_eq!(names.len(), 4, "the new one, two of today and the newest of the old: {names:?}");
    assert_eq!(names[3], "waybill-20200105T000000Z");
    assert_eq!(ledger.backup(&["--keep-min", "0"]).code, 2);
    // A ledger whose history is another keeps every copy of the true one.
    ledger.sql(&ledger.name, "UPDATE event SET hash = reverse(hash)").await;
    ledger.backup(&["--keep-min", "1"]).refused(4, "no longer holds event");
    assert_eq!(ledger.names().len(), 5);
    ledger.sql(&ledger.name, "TRUNCATE token").await;
    ledger.backup(&["--keep-min", "1"]).refused(1, "the ledger is empty");
    ledger.sql(&ledger.name, "DROP TABLE chain_head").await;
    ledger.backup(&["--keep-min", "1"]).refused(1, "cannot be read");
    assert_eq!(ledger.names().len(), 5);
    let left = fs::read_dir(&ledger.backups).unwrap();
    assert_eq!(left.count(), 6, "five backups and the lock");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_backup_runs_at_a_time() {
    let ledger = Ledger::postgres().await;
    drop(ledger.serve().await);
    let mut slow = ledger.backup_command(&[]);
    slow.env(
        "BACKUP_UPLOAD",
        ": >\"$BACKUP_DIR/../uploads\"; until [ -e \"$BACKUP_DIR/../go\" ]; do sleep 0.05; done",
    );
    let mut slow = slow.stdout(Stdio::null()).spawn().unwrap();
    let beside = |name: &str| ledger.backups.parent().unwrap().join(name);
    eventually("the upload", async || beside("uploads").exists().then_some(())).await;
    ledger.backup(&[]).refused(75, "another backup");
    fs::write(beside("go"), "").unwrap();
    assert!(slow.wait().unwrap().success());
    ledger.backup(&[]).ok();
    assert_eq!(ledger.names().len(), 2);
}

/// What the weekly drill does: the backup alone, on a server that knows nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_is_all_that_a_new_server_needs() {
    let ledger = Ledger::postgres().await;
    let server = ledger.serve().await;
    ledger.fill(&server, 0..3).await;
    let before = ledger.verified();
    ledger.backup(&[]).ok();
    let scratch = tokio::task::spawn_blocking(Server::start).await.unwrap().unwrap();
    let mut url = scratch.url.clone();
    url.set_path(&ledger.name);
    let restore = |more: &[&str]| {
        let arguments = [&["--confirm", ledger.name.as_str(), "latest"], more].concat();
        let mut command = ledger.restore_command(&arguments);
        command.env("DATABASE_URL", url.as_str());
        outcome(command)
    };
    restore(&[]).refused(1, "the server lacks roles that the backup names");
    restore(&["--create-roles"]).ok();
    assert_eq!(ledger.waybill(url.as_str(), &["audit", "verify"]).ok(), before);
    assert_eq!(ledger.verified(), before);
}

/// The Job in Kubernetes is tried again after any code but 2 and 4; psql's own code for this is 2.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_away_is_no_wrong_use() {
    let ledger = Ledger::postgres().await;
    let _server = ledger.serve().await;
    let away = |mut command: std::process::Command| {
        command.env("DATABASE_URL", "postgres://waybill@127.0.0.1:1/waybill");
        outcome(command)
    };
    for before_the_first in [true, false] {
        away(ledger.backup_command(&[])).refused(1, "the database waybill cannot be");
        away(ledger.backup_command(&["--dry-run"])).refused(1, "the database waybill cannot be");
        away(ledger.restore_command(&["--confirm", "waybill"])).refused(1, "cannot be reached");
        if before_the_first {
            ledger.backup(&[]).ok();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_use_is_told_before_anything_is_done() {
    let ledger = Ledger::postgres().await;
    let help = ledger.backup(&["--help"]).ok() + &ledger.restore(&["--help"]).ok();
    assert!(help.contains("usage: backup.sh") && help.contains("usage: restore.sh"));
    ledger.backup(&["--keep-days", "soon"]).refused(2, "must be a number");
    ledger.backup(&["--keep-days"]).refused(2, "needs a value");
    ledger.backup(&["everything"]).refused(2, "is not an option");
    ledger.backup(&["--dir", "/nonexistent"]).refused(1, "make it first");
    ledger.restore(&["--stage", "--swap"]).refused(2, "exclude each other");
    ledger.restore(&["one", "two"]).refused(2, "two backups are named");
    confirmed(&ledger, &["../somewhere"]).refused(1, "is no backup");
    for url in
        ["mysql://db/waybill", "postgres://db/waybill?sslnegotiation=direct", "postgres://%zz@db/waybill"]
    {
        let mut command = ledger.backup_command(&[]);
        command.env("DATABASE_URL", url);
        assert_eq!(outcome(command).code, 2, "{url}");
    }
}
