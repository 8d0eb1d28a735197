//! What columns of text hold: words and texts of the domain as themselves, and JSON as what it says. A row that holds
//! anything else fails to decode, as a time that is none does.

use std::sync::Arc;

use sea_orm::{
    ColIdx, DbErr, QueryResult, RuntimeErr, TryFromU64, TryGetError, TryGetable, Value,
    sea_query::{ArrayType, ColumnType, Nullable, ValueType, ValueTypeErr},
    sqlx::{self, error::BoxDynError},
};
use serde::{Serialize, de::DeserializeOwned};

use crate::domain::{
    fault::Malformed,
    text::{CommitSha, Image, Name, Version},
    vocabulary::{Kind, Outcome, PackageClass, ScanFormat, Severity, Status, Strategy, Tier, Voice},
};

/// What a column keeps as JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Json<T>(pub T);

/// How a type is kept as text.
trait Text: Sized {
    fn write(&self) -> String;
    fn read(text: String) -> Result<Self, BoxDynError>;
}

impl<T: Serialize + DeserializeOwned> Text for Json<T> {
    fn write(&self) -> String {
        serde_json::to_string(&self.0).unwrap_or_default()
    }

    fn read(text: String) -> Result<Self, BoxDynError> {
        Ok(Self(serde_json::from_str(&text)?))
    }
}

macro_rules! columns {
    ($([$($generics:tt)*] $type:ty),+ $(,)?) => {$(
        impl<$($generics)*> From<$type> for Value {
            fn from(value: $type) -> Self {
                Self::from(value.write())
            }
        }

        impl<$($generics)*> TryGetable for $type {
            fn try_get_by<I: ColIdx>(row: &QueryResult, index: I) -> Result<Self, TryGetError> {
                let undecodable = |source| sqlx::Error::ColumnDecode { index: format!("{index:?}"), source };
                Self::read(String::try_get_by(row, index)?).map_err(|source| {
                    DbErr::Query(RuntimeErr::SqlxError(Arc::new(undecodable(source)))).into()
                })
            }
        }

        impl<$($generics)*> ValueType for $type {
            fn try_from(value: Value) -> Result<Self, ValueTypeErr> {
                Self::read(<String as ValueType>::try_from(value)?).map_err(|_| ValueTypeErr)
            }

            fn type_name() -> String {
                stringify!($type).to_owned()
            }

            fn array_type() -> ArrayType {
                ArrayType::String
            }

            fn column_type() -> ColumnType {
                ColumnType::Text
            }
        }

        impl<$($generics)*> Nullable for $type {
            fn null() -> Value {
                Value::String(None)
            }
        }
    )+};
}

macro_rules! texts {
    ($($text:ty),+; $read:expr) => {
        $(impl Text for $text {
            fn write(&self) -> String {
                self.as_str().to_owned()
            }

            fn read(text: String) -> Result<Self, BoxDynError> {
                $read(text)
            }
        })+

        columns!($([] $text),+);
    };
}

columns!([T: Serialize + DeserializeOwned] Json<T>);
texts!(CommitSha, Image, Name, Version; |text| Ok(Self::trusted(text)));
texts!(Kind, Outcome, PackageClass, ScanFormat, Severity, Status, Strategy, Tier, Voice;
    |text: String| text.parse().map_err(|fault: Malformed| fault.detail.into()));

/// A part of a scan has its class in its key, which no database makes up.
impl TryFromU64 for PackageClass {
    fn try_from_u64(_: u64) -> Result<Self, DbErr> {
        Err(DbErr::ConvertFromU64("PackageClass"))
    }
}
