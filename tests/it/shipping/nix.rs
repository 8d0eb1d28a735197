//! What the Nix build sees: `nix/source.nix` lists it, and a file that the code needs must be on its lists. Cargo sees
//! the whole work tree, so nothing else would notice before the next Nix build fails.

use std::{
    fs,
    path::{Component, Path, PathBuf},
};

use crate::support::ignored::{is_ignored, patterns};

const LISTS: &str = include_str!("../../../nix/source.nix");
const INCLUDES: [&str; 4] = ["include_str!(", "include_bytes!(", "include!(", "#[path ="];

/// The paths of one list, relative to the root of the repository.
fn listed(name: &str) -> Vec<PathBuf> {
    let (_, list) = LISTS.split_once(&format!("\n  {name} = [\n")).unwrap();
    let (list, _) = list.split_once("];").unwrap();
    list.lines().filter_map(|line| line.trim().strip_prefix("../")).map(PathBuf::from).collect()
}

/// Every path that a source needs and that is not on the list: what it includes, and what it names, be it to open it or
/// to run it. `file` and the paths are relative to the root of the repository.
fn missing(file: &Path, source: &str, listed: &[PathBuf], is_there: impl Fn(&Path) -> bool) -> Vec<PathBuf> {
    let mut needed: Vec<_> =
        included(source).map(|path| normal(&file.parent().unwrap().join(path))).collect();
    needed.extend(named(source).map(normal).filter(|path| is_there(path)));
    needed.retain(|path| !listed.iter().any(|entry| path.starts_with(entry)));
    needed
}

/// The texts in `include_str!("…")` and its kind.
fn included(source: &str) -> impl Iterator<Item = &str> {
    INCLUDES.iter().flat_map(move |include| {
        source
            .split(include)
            .skip(1)
            .filter_map(|rest| rest.trim_start().strip_prefix('"')?.split('"').next())
    })
}

/// The texts that may name a file. One word alone means that only where it is joined to a path, and in a source that
/// looks for the repository itself.
fn named(source: &str) -> impl Iterator<Item = &Path> {
    let looks_around = source.contains("CARGO_MANIFEST_DIR");
    source.lines().flat_map(move |line| {
        let texts: Vec<&str> = line.split('"').collect();
        let joined = |at: usize| at > 0 && texts[at - 1].ends_with("join(");
        let may_be = |at: &usize| texts[*at].contains(['/', '.']) || looks_around || joined(*at);
        let paths: Vec<_> = (0..texts.len()).filter(may_be).map(|at| Path::new(texts[at])).collect();
        paths.into_iter().filter(|path| matches!(path.components().next(), Some(Component::Normal(_))))
    })
}

/// Without `..`.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in path.components() {
        if component == Component::ParentDir {
            assert!(normal.pop(), "{} leaves the repository", path.display());
        } else {
            normal.push(component);
        }
    }
    normal
}

/// A file that a build may need. `waybill serve` leaves its database and its token in the directory it runs in, under
/// names that the sources mention.
fn is_source(root: &Path, path: &Path) -> bool {
    root.join(path).exists() && !is_ignored(path)
}

fn check(directories: &[&str], lists: &[&str]) -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let listed: Vec<_> = lists.iter().flat_map(|name| listed(name)).collect();
    assert!(!listed.is_empty());
    let mut sources = directories.iter().map(|directory| root.join(directory)).collect::<Vec<_>>();
    let mut found = Vec::new();
    while let Some(path) = sources.pop() {
        if path.is_dir() {
            sources.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let source = fs::read_to_string(&path).unwrap();
            let file = path.strip_prefix(root).unwrap();
            let missing = missing(file, &source, &listed, |path| is_source(root, path));
            found.extend(missing.iter().map(|path| format!("{}: {}", file.display(), path.display())));
        }
    }
    found
}

#[test]
fn the_nix_build_sees_every_file_that_the_code_needs() {
    let mut found = check(&["src", "migration/src"], &["package"]);
    found.extend(check(&["tests", "benches", "examples"], &["package", "checks"]));
    assert!(found.is_empty(), "not in nix/source.nix:\n{}", found.join("\n"));
}

#[test]
fn the_image_is_built_of_what_nix_builds_of() {
    let allowed = include_str!("../../../.dockerignore").lines().filter_map(|line| line.strip_prefix('!'));
    let allowed: Vec<_> = allowed.map(PathBuf::from).collect();
    for path in listed("package") {
        assert!(allowed.contains(&path), ".dockerignore leaves out {}", path.display());
    }
}

#[test]
fn what_a_server_leaves_in_its_directory_is_no_source() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["admin.token", "waybill.db", "waybill.db-wal", "waybill.db-shm", "more.rs"] {
        fs::write(folder.path().join(name), "").unwrap();
    }
    let source =
        r#"root.join("admin.token"); root.join("waybill.db"); root.join("more.rs"); root.join("none.rs")"#;
    let found = missing(Path::new("tests/it/a.rs"), source, &[], |path| is_source(folder.path(), path));
    assert_eq!(found, [Path::new("more.rs")]);
}

/// Outside a git repository Nix copies what lies below the listed paths, ignored or not.
#[test]
fn the_nix_build_leaves_out_what_git_ignores() {
    for pattern in patterns().filter(|pattern| !pattern.starts_with('/')) {
        let named = match pattern.strip_prefix("*.") {
            Some(extension) => format!("file.hasExt \"{extension}\""),
            None => format!("file.name == \"{pattern}\""),
        };
        assert!(LISTS.contains(&named), "nix/source.nix lacks {named}");
    }
}

#[test]
fn what_the_lists_lack_is_found() {
    let listed = [PathBuf::from("src"), PathBuf::from("tests/data/a.json")];
    let is_there =
        |path: &Path| ["manual", "manual/ci.md", "scripts/a"].iter().any(|name| path == Path::new(name));
    for (source, missed) in [
        (r#"include_str!("b.json")"#, Some("tests/it/b.json")),
        ("include_str!(\n    \"b.json\"\n)", Some("tests/it/b.json")),
        (r#"include_bytes!("../b.png")"#, Some("tests/b.png")),
        (r#"#[path = "../more.rs"]"#, Some("tests/more.rs")),
        (r#"Command::new(root().join("scripts/a"))"#, Some("scripts/a")),
        (r#"fs::read(root.join("manual"))"#, Some("manual")),
        (r#"root.join("manual/../manual/ci.md")"#, Some("manual/ci.md")),
        (r#"env!("CARGO_MANIFEST_DIR"); let names = ["manual"];"#, Some("manual")),
        (r#"include_str!("../data/a.json")"#, None),
        (r#"include_str!("../../src/lib.rs")"#, None),
        (r#"get("/manual").is("manual")"#, None),
        (r#"root.join("scripts/b")"#, None),
    ] {
        let found = missing(Path::new("tests/it/a.rs"), source, &listed, is_there);
        assert_eq!(found, missed.map(PathBuf::from).into_iter().collect::<Vec<_>>(), "{source}");
    }
}
