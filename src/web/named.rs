//! The names of people, beside the subjects that a page shows.

use crate::{
    http::problem::Problem,
    usecase::{context::Ctx, people},
};

/// What shows who did something.
pub trait Peopled {
    /// Their subjects, where it shows them.
    fn people(&mut self) -> Vec<&mut String>;
}

/// A page with the names that its people were last seen with.
pub async fn named<P: Peopled>(ctx: &Ctx, mut page: P) -> Result<P, Problem> {
    let names =
        people::names(ctx, page.people().into_iter().map(|subject| subject.clone()).collect()).await?;
    for subject in page.people() {
        *subject = names.shown(subject);
    }
    Ok(page)
}
