//! Which revision of a thing an edit is meant for.

/// The revisions that an edit accepts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expected {
    /// Whatever there is.
    Any,
    /// One of these; with none, no edit is made at all.
    OneOf(Vec<i64>),
}

impl Expected {
    /// Whether what has this revision may be edited.
    pub fn admits(&self, current: i64) -> bool {
        match self {
            Self::Any => true,
            Self::OneOf(revisions) => revisions.contains(&current),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edit_is_for_any_revision_or_for_those_it_names() {
        assert!(Expected::Any.admits(7));
        assert!(Expected::OneOf(vec![3, 7]).admits(7));
        assert!(!Expected::OneOf(vec![3, 7]).admits(8));
        assert!(!Expected::OneOf(Vec::new()).admits(1));
    }
}
