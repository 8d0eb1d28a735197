//! What a file of statements is written with: SeaORM's traits and types, and what the store adds to them.

pub(super) use sea_orm::{
    ActiveValue::{Set, Unchanged},
    ColumnTrait, Condition, ConnectionTrait, DatabaseBackend, DbErr, EntityTrait, FromQueryResult,
    IntoActiveModel, PaginatorTrait as _, QueryFilter as _, QueryOrder as _, QueryResult, QuerySelect as _,
    QueryTrait as _, RelationTrait, Select, SelectExt as _, Value,
    sea_query::Expr,
};

pub(super) use crate::store::{
    error::{StoreError, corrupt},
    query::Query as _,
};
