//! What every command goes through: asking the server, following the pages of a list, and printing the answer, as the
//! server's JSON for scripts or in words for people.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{
    call::Call,
    error::Error,
    http::Client,
    view::{ignored, page, say_page},
};
use crate::cli::{
    exit::Exit,
    output::{self, Format, warn},
};

/// More than any list of what people set up holds.
pub const ALL: u32 = 10_000;

/// The most that one page holds.
pub const PAGE: u32 = 200;

#[derive(Debug, clap::Args)]
pub struct PageArgs {
    /// How many to list at most.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: u32,
}

#[derive(Clone)]
pub struct Session {
    pub client: Client,
    pub format: Format,
}

/// A list as the server answers it: one page, or what several come to.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Page {
    pub items: Vec<Value>,
    pub next_cursor: Option<String>,
    /// What people call subjects that the items name, where these cannot say it themselves.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub names: BTreeMap<String, String>,
}

impl Page {
    pub fn read<T: DeserializeOwned>(self) -> serde_json::Result<Vec<T>> {
        self.items.into_iter().map(serde_json::from_value).collect()
    }
}

impl Session {
    /// Asks, and shows the answer.
    pub async fn tell<T, E>(&self, call: &Call, words: impl FnOnce(T) -> Result<(), E>) -> Result<Exit, Error>
    where
        T: DeserializeOwned,
        Error: From<E>,
    {
        self.show(&self.client.send(call).await?, words)
    }

    /// Shows an answer as it is, or in the words that it is for people, and where they look at it; and says what was not kept
    /// of the request.
    pub fn show<T, E>(&self, answer: &Value, words: impl FnOnce(T) -> Result<(), E>) -> Result<Exit, Error>
    where
        T: DeserializeOwned,
        Error: From<E>,
    {
        ignored(answer).iter().for_each(warn);
        match self.format {
            Format::Json => output::print_json(answer)?,
            Format::Table => {
                words(T::deserialize(answer)?)?;
                say_page(page(answer));
            }
        }
        Ok(Exit::DONE)
    }

    /// Asks for a list and shows it: all its pages as one, or a table.
    pub async fn list<T: DeserializeOwned, const N: usize>(
        &self,
        call: &Call,
        limit: u32,
        none: &str,
        header: [&str; N],
        rows: impl FnOnce(Vec<T>) -> Vec<[String; N]>,
    ) -> Result<Exit, Error> {
        let page = self.pages(call, limit).await?;
        match self.format {
            Format::Json => output::print_json(&page)?,
            Format::Table => output::list(none, header, &rows(page.read()?))?,
        }
        Ok(Exit::DONE)
    }

    /// Follows the pages until there are enough items, or no more.
    pub async fn pages(&self, call: &Call, limit: u32) -> Result<Page, Error> {
        let mut all = Page::default();
        let mut left = limit;
        loop {
            let page = self.page(call, left.min(PAGE), all.next_cursor.take()).await?;
            left = left.saturating_sub(u32::try_from(page.items.len()).unwrap_or(u32::MAX));
            let is_last = left == 0 || page.items.is_empty() || page.next_cursor.is_none();
            all.items.extend(page.items);
            all.names.extend(page.names);
            all.next_cursor = page.next_cursor;
            if is_last {
                return Ok(all);
            }
        }
    }

    /// One page of a list.
    pub async fn page(&self, call: &Call, limit: u32, cursor: Option<String>) -> Result<Page, Error> {
        let call = call.clone().query("limit", Some(limit)).query("cursor", cursor);
        Ok(serde_json::from_value(self.client.send(&call).await?)?)
    }
}
