//! What somebody declares, and edits as a whole: freeze windows and trusts.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::domain::actor::Actor;

/// A declaration as it is on record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declared<D> {
    pub id: Uuid,
    /// What it says.
    pub definition: D,
    /// Counts the edits, from 1; the entity tag.
    pub revision: i64,
    /// Who declared it.
    pub actor: Actor,
    /// When it was declared.
    pub created_at: DateTime<Utc>,
    /// When it was last edited.
    pub updated_at: DateTime<Utc>,
}

impl<D> Declared<D> {
    /// A declaration that somebody makes now.
    pub fn new(id: Uuid, definition: D, actor: Actor, now: DateTime<Utc>) -> Self {
        Self { id, definition, revision: 1, actor, created_at: now, updated_at: now }
    }

    /// Has it say something else from now on, and gives what it said before.
    pub fn edit(&mut self, definition: D, now: DateTime<Utc>) -> D {
        self.revision += 1;
        self.updated_at = now;
        std::mem::replace(&mut self.definition, definition)
    }
}
