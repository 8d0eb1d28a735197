//! What was made of a kept answer on its way out, kept beside it: compressing it anew each time would be most of its work.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::OnceCell;

/// The compressed forms of one answer, each made when it is first asked for; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Packed(Arc<[OnceCell<Bytes>; Packed::CODINGS]>);

impl Packed {
    /// How many forms there are.
    pub const CODINGS: usize = 3;

    /// How many bytes the forms have that were made so far.
    pub fn bytes(&self) -> usize {
        self.0.iter().filter_map(OnceCell::get).map(Bytes::len).sum()
    }

    /// One of the forms, which those who ask for it first wait for together.
    pub async fn get<E, F>(&self, coding: usize, make: impl FnOnce() -> F) -> Result<Bytes, E>
    where
        F: Future<Output = Result<Bytes, E>>,
    {
        match self.0.get(coding) {
            Some(form) => form.get_or_try_init(make).await.cloned(),
            None => make().await,
        }
    }
}
