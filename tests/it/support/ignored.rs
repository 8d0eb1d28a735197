//! What git ignores: files that somebody's use of the work tree leaves in it, such as a database, and that are no sources.

use std::path::{Component, Path};

const PATTERNS: &str = include_str!("../../../.gitignore");

/// The patterns of `.gitignore`.
pub fn patterns() -> impl Iterator<Item = &'static str> {
    PATTERNS.lines().filter(|line| !line.is_empty() && !line.starts_with('#'))
}

/// Whether git ignores a path, relative to the root of the repository. Read from `.gitignore`, because a source archive
/// comes without git.
pub fn is_ignored(path: &Path) -> bool {
    patterns().any(|pattern| match pattern.strip_prefix('/') {
        Some(anchored) => {
            let depth = anchored.split('/').count();
            let start: Vec<_> = path.components().take(depth).filter_map(text).collect();
            fits(anchored, &start.join("/"))
        }
        None => path.components().filter_map(text).any(|name| fits(pattern, name)),
    })
}

fn text(component: Component<'_>) -> Option<&str> {
    component.as_os_str().to_str()
}

/// Understands at most one `*`, and refuses what it would misread.
fn fits(pattern: &str, name: &str) -> bool {
    assert!(!pattern.contains(['!', '?', '[', '\\']) && !pattern.ends_with('/'), "teach me {pattern}");
    match pattern.split_once('*') {
        None => name == pattern,
        Some((start, end)) => {
            assert!(!end.contains('*'), "teach me {pattern}");
            name.strip_prefix(start).is_some_and(|rest| rest.ends_with(end))
        }
    }
}

#[test]
fn ignored_files_are_told_from_sources() {
    for path in [
        "waybill.db",
        "examples/a/waybill.db-wal",
        "admin.token",
        "target/debug/waybill",
        "kustomize/overlays/dev/secret.env",
        "kustomize/overlays/.rendered-dev/all.yaml",
        "result-1",
    ] {
        assert!(is_ignored(Path::new(path)), "{path}");
    }
    for path in ["src/main.rs", "tests/target/a.rs", ".env.example", "docs/result.md", "scripts/test"] {
        assert!(!is_ignored(Path::new(path)), "{path}");
    }
}
