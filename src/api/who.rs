//! The names of people, put beside the subjects of what is about to be answered.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    api::{types::Nullable, view::ActorView},
    http::problem::Problem,
    usecase::{context::Ctx, people},
};

/// Takes a subject, with the place where its name goes.
pub type See<'a> = dyn FnMut(&str, &mut Option<String>) + 'a;

/// What names subjects.
pub trait Who {
    /// Shows each of its subjects.
    fn who(&mut self, see: &mut See<'_>);
}

impl Who for ActorView {
    fn who(&mut self, see: &mut See<'_>) {
        see(&self.subject, &mut self.name);
    }
}

impl<T: Who> Who for Vec<T> {
    fn who(&mut self, see: &mut See<'_>) {
        for item in self {
            item.who(see);
        }
    }
}

impl<T: Who> Who for Nullable<T> {
    fn who(&mut self, see: &mut See<'_>) {
        if let Some(item) = &mut self.0 {
            item.who(see);
        }
    }
}

/// Shows subjects whose names have no place beside them, and puts the names among these.
pub fn aside<'a>(
    subjects: impl IntoIterator<Item = &'a String>,
    names: &mut BTreeMap<String, String>,
    see: &mut See<'_>,
) {
    for subject in subjects {
        let mut name = None;
        see(subject, &mut name);
        names.extend(name.map(|name| (subject.clone(), name)));
    }
}

/// The same with the names of its subjects, by one look into the database for all of them.
pub async fn named<T: Who>(ctx: &Ctx, mut answer: T) -> Result<T, Problem> {
    let mut subjects = BTreeSet::new();
    answer.who(&mut |subject, _| {
        subjects.insert(subject.to_owned());
    });
    let names = people::names(ctx, subjects).await?;
    answer.who(&mut |subject, name| *name = names.of(subject).map(str::to_owned));
    Ok(answer)
}
