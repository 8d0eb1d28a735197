//! Lists: one shape of page for all of them, and the answer that carries it.

use std::borrow::Cow;

use poem::{Request, http::Uri};
use poem_openapi::{
    ApiResponse,
    registry::{MetaSchema, MetaSchemaRef, Registry},
    types::{ToJSON, Type},
};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    api::{
        reply::Written,
        types::Nullable,
        view::bad_query,
        who::{self, Who},
    },
    domain::{
        fault::Malformed,
        page::{self, PageRequest},
    },
    http::problem::Problem,
    usecase::context::Ctx,
};

/// What a list holds.
pub trait Listed: ToJSON + Serialize {
    /// How the document calls a page of it.
    const PAGE: Words;
}

/// What the document says of a page.
pub struct Words {
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub is: &'static str,
    /// What its items are, and in which order.
    pub items: &'static str,
}

/// A page of a list.
#[derive(Serialize)]
pub struct Page<T> {
    items: Vec<T>,
    next_cursor: Option<String>,
}

impl<T: Listed> Type for Page<T> {
    const IS_REQUIRED: bool = true;
    type RawValueType = Self;
    type RawElementValueType = Self;

    fn name() -> Cow<'static, str> {
        T::PAGE.name.into()
    }

    fn schema_ref() -> MetaSchemaRef {
        MetaSchemaRef::Reference(T::PAGE.name.to_owned())
    }

    fn register(registry: &mut Registry) {
        let Words { name, is, items } = T::PAGE;
        let described = |schema: MetaSchemaRef, text| {
            schema.merge(MetaSchema { description: Some(text), ..MetaSchema::ANY })
        };
        let next = "Where the next page goes on; null on the last.";
        registry.create_schema::<Self, _>(name.to_owned(), |registry| {
            T::register(registry);
            MetaSchema {
                title: Some(name.to_owned()),
                description: Some(is),
                required: vec!["items", "next_cursor"],
                properties: vec![
                    ("items", described(Vec::<T>::schema_ref(), items)),
                    ("next_cursor", described(Nullable::<String>::schema_ref(), next)),
                ],
                ..MetaSchema::new("object")
            }
        });
    }

    fn as_raw_value(&self) -> Option<&Self> {
        Some(self)
    }

    fn raw_element_iter<'a>(&'a self) -> Box<dyn Iterator<Item = &'a Self> + 'a> {
        Box::new(std::iter::once(self))
    }
}

impl<T: Listed> ToJSON for Page<T> {
    fn to_json(&self) -> Option<Value> {
        Some(json!({ "items": self.items.to_json(), "next_cursor": self.next_cursor }))
    }
}

/// The answer to a list.
#[derive(ApiResponse)]
pub enum List<P: ToJSON> {
    /// A page.
    #[oai(status = 200)]
    Page(
        Written<P>,
        /// Where the next page is.
        #[oai(header = "Link")]
        Option<String>,
    ),
}

impl<T: Listed> List<Page<T>> {
    /// The page that this request asked for.
    pub fn of<U>(page: page::Page<U>, request: &Request, view: impl FnMut(U) -> T) -> Result<Self, Problem> {
        Self::holding(page.items.into_iter().map(view).collect(), page.next, request)
    }

    /// The same, with the names of people.
    pub async fn named<U>(
        ctx: &Ctx,
        page: page::Page<U>,
        request: &Request,
        view: impl FnMut(U) -> T,
    ) -> Result<Self, Problem>
    where
        T: Who,
    {
        let items = page.items.into_iter().map(view).collect();
        Self::holding(who::named(ctx, items).await?, page.next, request)
    }

    fn holding(items: Vec<T>, next_cursor: Option<String>, request: &Request) -> Result<Self, Problem> {
        let page = Page { items, next_cursor };
        Self::new(&page, page.next_cursor.as_deref(), request)
    }
}

impl<P: ToJSON + Serialize> List<P> {
    /// A page that holds more than its items. It is written as it is: the framework would make a tree of it first.
    pub fn new(page: &P, next: Option<&str>, request: &Request) -> Result<Self, Problem> {
        let body = serde_json::to_vec(page).map_err(|_unwritable| Problem::internal())?;
        debug_assert_eq!(serde_json::from_slice(&body).ok(), page.to_json(), "the document says otherwise");
        let next = next.map(|next| next_link(request.original_uri(), next));
        Ok(Self::Page(body.into(), next))
    }
}

/// The `Link` header of a page (RFC 8288): the same request with the cursor of the next one.
pub(super) fn next_link(uri: &Uri, cursor: &str) -> String {
    let query = uri.query().unwrap_or_default();
    let kept = url::form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name != "cursor");
    let mut next = url::form_urlencoded::Serializer::new(String::new());
    let next = next.extend_pairs(kept).append_pair("cursor", cursor).finish();
    format!("<{}?{next}>; rel=\"next\"", uri.path())
}

/// Reads the parameters of a page.
pub fn page_request<K: serde::de::DeserializeOwned>(
    limit: Option<u64>,
    cursor: Option<&str>,
) -> Result<PageRequest<K>, Problem> {
    page::request(limit, cursor).map_err(|Malformed { code, detail }| {
        let name = if code == "invalid-cursor" { "cursor" } else { "limit" };
        bad_query(name, code, &detail)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_the_same_request_with_another_cursor() {
        for (uri, next) in [
            ("/api/v1/services", "/api/v1/services?cursor=abc"),
            ("/api/v1/services?limit=2&cursor=x", "/api/v1/services?limit=2&cursor=abc"),
            ("/s?since=2026-01-01T00:00:00%2B01:00", "/s?since=2026-01-01T00%3A00%3A00%2B01%3A00&cursor=abc"),
        ] {
            assert_eq!(next_link(&uri.parse().unwrap(), "abc"), format!("<{next}>; rel=\"next\""));
        }
    }
}
