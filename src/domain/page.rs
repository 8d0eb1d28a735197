//! Keyset pages: how many rows, after which one.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use uuid::Uuid;

use crate::domain::fault::Malformed;

/// How many rows a page has when nobody says.
pub const LIMIT_DEFAULT: u64 = 50;
/// The most rows a page has.
pub const LIMIT_MAX: u64 = 200;

/// A page that is asked for.
#[derive(Clone, Debug)]
pub struct PageRequest<K> {
    /// The most rows.
    pub limit: u64,
    /// The key of the last row already seen.
    pub after: Option<K>,
}

/// A page.
#[derive(Clone, Debug)]
pub struct Page<T> {
    /// Its rows.
    pub items: Vec<T>,
    /// Where the next one goes on; none on the last.
    pub next: Option<String>,
}

/// A key of lists that go from the newest to the oldest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeKey {
    /// The row's time.
    pub at: DateTime<Utc>,
    /// The row's id, for rows of the same time.
    pub id: Uuid,
}

/// A key of the list of releases, which goes from the newest to the oldest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderKey {
    /// The release's moment in the order.
    pub at: DateTime<Utc>,
    /// Its number, for releases of the same moment.
    pub number: i64,
}

/// Reads a page's limit and cursor.
pub fn request<K: DeserializeOwned>(
    limit: Option<u64>,
    cursor: Option<&str>,
) -> Result<PageRequest<K>, Malformed> {
    let limit = limit.unwrap_or(LIMIT_DEFAULT);
    if !(1..=LIMIT_MAX).contains(&limit) {
        return Err(Malformed::new("out-of-range", format!("limit must be from 1 to {LIMIT_MAX}")));
    }
    let after = cursor.map(decode).transpose()?;
    Ok(PageRequest { limit, after })
}

/// A cursor as the API hands it out: opaque, and only good for the list it came from.
pub fn encode(key: &impl Serialize) -> String {
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(key).unwrap_or_default())
}

fn decode<K: DeserializeOwned>(cursor: &str) -> Result<K, Malformed> {
    let bad = || {
        let detail = "cursor must be the `next_cursor` of this list's last page; leave it out to start again";
        Malformed::new("invalid-cursor", detail)
    };
    let bytes = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| bad())?;
    // A cursor of ours never holds a NUL, which PostgreSQL has no text for.
    if bytes.windows(6).any(|part| part == b"\\u0000") {
        return Err(bad());
    }
    let key: serde_json::Value = serde_json::from_slice(&bytes).map_err(|_| bad())?;
    // Nor a time before the year 0, which PostgreSQL does not take in this form.
    let signed =
        |at: &serde_json::Value| !at.as_str().is_some_and(|at| at.starts_with(|c: char| c.is_ascii_digit()));
    if key.get("at").is_some_and(signed) {
        return Err(bad());
    }
    serde_json::from_value(key).map_err(|_| bad())
}

/// Makes a page of rows that were read with one more than the limit.
pub fn page<T, K: Serialize>(mut rows: Vec<T>, limit: u64, key: impl Fn(&T) -> K) -> Page<T> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = rows.len() > limit;
    rows.truncate(limit);
    let next = rows.last().filter(|_| more).map(|last| encode(&key(last)));
    Page { items: rows, next }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_end_where_the_rows_end() {
        let first = page(vec![1, 2, 3], 2, |n| *n);
        assert_eq!(first.items, [1, 2]);
        let next: PageRequest<i32> = request(Some(2), first.next.as_deref()).unwrap();
        assert_eq!(next.after, Some(2));
        assert!(page(vec![3], 2, |n| *n).next.is_none());
        assert!(page(vec![3, 4], 2, |n| *n).next.is_none(), "a full last page has no next one");
    }

    #[test]
    fn bad_limits_and_cursors_are_refused() {
        for limit in [0, 201] {
            assert_eq!(request::<i32>(Some(limit), None).unwrap_err().code, "out-of-range");
        }
        for cursor in ["", "%", "e30", "AAAA"] {
            assert_eq!(
                request::<TimeKey>(None, Some(cursor)).unwrap_err().code,
                "invalid-cursor",
                "{cursor}"
            );
        }
        assert!(request::<String>(None, Some(&encode(&"shop"))).is_ok());
        assert!(request::<String>(None, Some(&encode(&"shop\0"))).is_err());
    }
}
