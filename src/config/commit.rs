//! The commit that this was built from.

use std::{env, sync::LazyLock};

const VARIABLE: &str = "WAYBILL_COMMIT";

static COMMIT: LazyLock<String> = LazyLock::new(|| chosen(option_env!("WAYBILL_COMMIT"), read()));

/// What the build was told, or else what `WAYBILL_COMMIT` says now: a build that is to be the same bit by bit whatever
/// the commit leaves it to the environment of its image.
pub fn commit() -> &'static str {
    &COMMIT
}

#[expect(clippy::disallowed_methods, reason = "the configuration reads the environment")]
fn read() -> Option<String> {
    env::var(VARIABLE).ok()
}

fn chosen(built: Option<&str>, told: Option<String>) -> String {
    let built = built.filter(|commit| !commit.is_empty()).map(str::to_owned);
    built.or(told.filter(|commit| !commit.is_empty())).unwrap_or_else(|| "unknown".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_build_knows_better_than_the_environment() {
        let told = |text: &str| Some(text.to_owned());
        assert_eq!(chosen(Some("built"), told("told")), "built");
        assert_eq!(chosen(None, told("told")), "told");
        assert_eq!(chosen(Some(""), told("told")), "told");
        assert_eq!(chosen(None, told("")), "unknown");
        assert_eq!(chosen(None, None), "unknown");
    }
}
