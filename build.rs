//! Tells a release that is built in a checkout which commit it is of. Elsewhere nobody knows, or `WAYBILL_COMMIT` says so:
//! Nix and Docker do not see this file, so that what they build is the same bit by bit, whatever the commit.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=WAYBILL_COMMIT");
    // A build for tests would begin anew after each commit.
    if option("PROFILE").as_deref() != Some("release") || option("WAYBILL_COMMIT").is_some() {
        return;
    }
    // The sources may also lie somewhere in the checkout of another project.
    let is_root = git(&["rev-parse", "--show-prefix"]).is_some_and(|prefix| prefix.is_empty());
    let commit = git(&["rev-parse", "--verify", "HEAD"]).filter(|_| is_root);
    let log = git(&["rev-parse", "--git-path", "logs/HEAD"]).map(PathBuf::from);
    // The log tells of every commit and checkout; without it nothing would, and an old commit is worse than none.
    if let (Some(commit), Some(log)) = (commit, log.filter(|log| Path::exists(log))) {
        println!("cargo::rerun-if-changed={}", log.display());
        println!("cargo::rustc-env=WAYBILL_COMMIT={commit}");
    }
}

#[expect(clippy::disallowed_methods, reason = "Cargo tells a build script so")]
fn option(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// What git says; nothing where it cannot be asked.
fn git(arguments: &[&str]) -> Option<String> {
    let output =
        Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim_end().to_owned())
}
