//! Backup and restore of a ledger in a SQLite file, while a server writes to it and after it was killed.

use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf};

use crate::support::ledger::{Ledger, Outcome};

fn confirmed(ledger: &Ledger, more: &[&str]) -> Outcome {
    ledger.restore(&[&["--confirm", "waybill.db"], more].concat())
}

/// The files that a restore has kept: the old ledger.
fn kept(ledger: &Ledger) -> Vec<PathBuf> {
    let directory = ledger.file().parent().unwrap().to_owned();
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.to_str().unwrap().contains("before-")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_is_backed_up_while_a_server_writes_and_restored_when_it_has_stopped() {
    let ledger = Ledger::sqlite().await;
    let mut server = ledger.serve().await;
    ledger.fill(&server, 0..3).await;
    let before = ledger.verified();
    ledger.backup(&[]).ok();
    ledger.fill(&server, 3..5).await;
    let latest = ledger.verified();
    ledger.restore(&[]).refused(2, "say --confirm waybill.db");
    confirmed(&ledger, &[]).refused(1, "is in use by the process");
    ledger.restore(&["--dry-run"]).ok();
    // What it had not yet moved out of the write-ahead log must neither be lost nor slip into the restored ledger.
    server.kill9();
    assert!(ledger.file().with_extension("db-wal").exists());
    fs::set_permissions(ledger.file(), fs::Permissions::from_mode(0o640)).unwrap();
    confirmed(&ledger, &[]).ok();
    assert!(!ledger.file().with_extension("db-wal").exists());
    assert_eq!(fs::metadata(ledger.file()).unwrap().permissions().mode() & 0o777, 0o640);
    assert_eq!(ledger.verified(), before);
    let old = format!("sqlite://{}", kept(&ledger)[0].display());
    assert_eq!(ledger.waybill(&old, &["audit", "verify"]).ok(), latest);
    let server = ledger.serve().await;
    ledger.fill(&server, 5..7).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_or_lost_file_is_replaced_and_a_damaged_backup_is_not_taken() {
    let ledger = Ledger::sqlite().await;
    let mut server = ledger.serve().await;
    ledger.fill(&server, 0..3).await;
    let before = ledger.verified();
    ledger.backup(&[]).ok();
    server.kill9();
    fs::write(ledger.file(), "not a database").unwrap();
    ledger.backup(&[]).refused(1, "cannot be read");
    let said = confirmed(&ledger, &[]).ok();
    assert!(said.contains("is kept as it is"), "{said}");
    assert_eq!(ledger.verified(), before);
    fs::remove_file(ledger.file()).unwrap();
    confirmed(&ledger, &[]).ok();
    assert_eq!(ledger.verified(), before);
    let copy = ledger.backups.join(ledger.names().remove(0)).join("ledger.db");
    let mut bytes = fs::read(&copy).unwrap();
    bytes[5000] ^= 1;
    fs::write(copy, bytes).unwrap();
    confirmed(&ledger, &[]).refused(1, "is damaged: take another one");
    assert_eq!(ledger.verified(), before);
    ledger.sql("", "DELETE FROM event").await;
    ledger.backup(&[]).refused(1, "does not verify");
}
