//! During a rolling update the release before runs on the new schema. So a migration only adds, and what nobody uses any
//! more is taken away by a later release, in a migration that says so in its name. This finds the usual ways to take away or
//! to demand more; it cannot prove that there is none.

use std::{fs, path::Path};

/// What a release that knows nothing of it would trip over.
const CONTRACTING: [&str; 13] = [
    "drop_table",
    "drop_column",
    "drop_index",
    "drop_foreign_key",
    "rename_table",
    "rename_column",
    "modify_column",
    "add_column",
    "drop ",
    "rename ",
    "set not null",
    "alter column",
    "delete from",
];

/// What the migration's way up takes away, unless `name` says that it does.
fn violations(name: &str, source: &str) -> Vec<&'static str> {
    if name.contains("_contract_") {
        return Vec::new();
    }
    let way_up = source.split("async fn down").next().unwrap_or_default();
    let way_up = way_up.to_lowercase();
    let adds_what_may_be_missing = |word: &str| word == "add_column" && !way_up.contains("not_null");
    CONTRACTING.into_iter().filter(|word| way_up.contains(word) && !adds_what_may_be_missing(word)).collect()
}

#[test]
fn migrations_only_add() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migration/src");
    let mut migrations = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        if name.starts_with('m') {
            migrations += 1;
            assert_eq!(violations(name, &fs::read_to_string(&path).unwrap()), [""; 0], "{name}");
        }
    }
    assert!(migrations > 0);
}

#[test]
fn what_takes_away_is_found_on_the_way_up_alone() {
    let up = "async fn up() { manager.drop_table(a) } async fn down() {}";
    let down = "async fn up() { manager.create_table(a) } async fn down() { manager.drop_table(a) }";
    assert_eq!(violations("m1_create", up), ["drop_table"]);
    assert_eq!(violations("m1_create", r#"async fn up() { run("ALTER TABLE a DROP b") }"#), ["drop "]);
    let column = "async fn up() { alter.add_column(ColumnDef::new(A).text().null()) } async fn down() {}";
    assert_eq!(violations("m1_add", column), [""; 0]);
    assert_eq!(violations("m1_add", &column.replace("null()", "not_null()")), ["add_column"]);
    assert_eq!(violations("m1_create", down), [""; 0]);
    assert_eq!(violations("m2_contract_old_names", up), [""; 0]);
}
