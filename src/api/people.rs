//! `/people`: the names that subjects go by.

use poem::Request;
use poem_openapi::{Object, OpenApi, param::Query};
use serde::Serialize;

use crate::{
    api::{
        Tags,
        auth::Auth,
        page::{List, Listed, Page, Words, page_request},
        types::Time,
    },
    domain::people::Named,
    http::problem::Problem,
    usecase::people,
};

/// The operations.
#[derive(Debug)]
pub struct PeopleApi;

/// A person who has signed in at an issuer.
#[derive(Clone, Debug, Serialize, Object)]
#[oai(rename = "Person")]
pub struct PersonView {
    /// Whom the ledger names; it never changes.
    pub subject: String,
    /// What they are called, as the issuer last said.
    pub name: String,
    /// When it said so.
    pub seen_at: Time,
}

impl From<Named> for PersonView {
    fn from(Named { subject, name, seen_at }: Named) -> Self {
        Self { subject, name, seen_at: Time(seen_at) }
    }
}

impl Listed for PersonView {
    const PAGE: Words =
        Words { name: "PersonPage", is: "A page of people.", items: "The people, by their subjects." };
}

#[OpenApi(tag = "Tags::Tokens")]
impl PeopleApi {
    /// List people
    ///
    /// Those who have signed in at an issuer, with the names that go with the subjects of the ledger, as they were last seen.
    #[oai(path = "/people", method = "get", operation_id = "list_people")]
    async fn list_people(
        &self,
        auth: Auth,
        request: &Request,
        /// At most this many, from 1 to 200.
        limit: Query<Option<u64>>,
        /// The `next_cursor` of the page before.
        cursor: Query<Option<String>>,
    ) -> Result<List<Page<PersonView>>, Problem> {
        let asked = page_request(limit.0, cursor.0.as_deref())?;
        let page = people::list(&auth.ctx(), &asked).await?;
        List::of(page, request, Into::into)
    }
}
