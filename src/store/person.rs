//! The names that subjects go by, as they were last seen.

use chrono::{DateTime, Utc};
use sea_orm::sea_query::OnConflict;

use crate::{
    domain::{page::PageRequest, people::Named},
    store::{
        entity::person::{ActiveModel, Column, Entity, Model},
        prelude::*,
    },
};

/// Keeps the name that a subject was seen with.
pub async fn seen(
    conn: &impl ConnectionTrait,
    subject: &str,
    name: &str,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let person =
        ActiveModel { subject: Set(subject.to_owned()), name: Set(name.to_owned()), seen_at: Set(now) };
    let again = OnConflict::column(Column::Subject).update_columns([Column::Name, Column::SeenAt]).to_owned();
    Entity::insert(person).on_conflict(again).exec_without_returning(conn).await?;
    Ok(())
}

/// Lists those whose name is known, by subject.
pub async fn list(conn: &impl ConnectionTrait, page: &PageRequest<String>) -> Result<Vec<Named>, StoreError> {
    let rows = Entity::find().by_name(Column::Subject, page).all(conn).await?;
    let named = |Model { subject, name, seen_at }| Named { subject, name, seen_at };
    Ok(rows.into_iter().map(named).collect())
}

/// Some of the subjects that go by this name, which is nobody's alone.
pub async fn called(conn: &impl ConnectionTrait, name: &str, limit: u64) -> Result<Vec<String>, StoreError> {
    let query = Entity::find().select_only().column(Column::Subject).filter(Column::Name.eq(name));
    Ok(query.order_by_asc(Column::Subject).limit(limit).into_tuple().all(conn).await?)
}

/// How many names are asked for at once: databases take so many parameters and no more.
const AT_ONCE: usize = 500;

/// The names of these subjects, as far as they are known.
pub async fn names(
    conn: &impl ConnectionTrait,
    subjects: &[String],
) -> Result<Vec<(String, String)>, StoreError> {
    let mut names = Vec::new();
    for subjects in subjects.chunks(AT_ONCE) {
        let query = Entity::find().select_only().columns([Column::Subject, Column::Name]);
        let query = query.filter(Column::Subject.is_in(subjects));
        names.extend(query.into_tuple::<(String, String)>().all(conn).await?);
    }
    Ok(names)
}
