//! Lists of what may reach further than whoever asks: that is passed over, and the list goes on until its page is full.

use uuid::Uuid;

use crate::{domain::page::PageRequest, store::error::StoreError};

/// The next ones that `may_see` lets be seen, in the order of their ids; more than the limit where there are more. `read` reads
/// a page, and one more where there are more.
pub async fn next<T, F: Future<Output = Result<Vec<T>, StoreError>>>(
    request: &PageRequest<Uuid>,
    read: impl Fn(PageRequest<Uuid>) -> F,
    id: impl Fn(&T) -> Uuid,
    may_see: impl Fn(&T) -> bool,
) -> Result<Vec<T>, StoreError> {
    let limit = usize::try_from(request.limit).unwrap_or(usize::MAX);
    let (mut seen, mut rest) = (Vec::new(), request.clone());
    loop {
        let rows = read(rest.clone()).await?;
        let more = rows.len() > limit;
        rest.after = rows.last().map(&id);
        seen.extend(rows.into_iter().filter(&may_see));
        if !more || seen.len() > limit {
            return Ok(seen);
        }
    }
}
