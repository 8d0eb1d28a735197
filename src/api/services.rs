//! `/services`: what is deployed on its own.

use poem::Request;
use poem_openapi::{
    Object, OpenApi,
    param::{Header, Path, Query},
    payload::Json,
    types::MaybeUndefined,
};
use serde::Serialize;

use crate::{
    api::{
        Tags,
        auth::Auth,
        etag,
        page::{List, Listed, Page, Words, page_request},
        reply::{Changed, Made, Reply, made},
        types::{Nullable, Text, Time, owned},
        view::{LabelsView, edited, refuse},
    },
    domain::{
        fault::Faults,
        form::{Long, Short, WebUrl},
        idempotency::Answer,
        service::{Service, ServiceDescription},
        text::Name,
    },
    http::problem::Problem,
    usecase::{
        error::Error,
        services::{self, Edit},
    },
};

/// The operations.
#[derive(Debug)]
pub struct ServicesApi;

/// A service.
#[derive(Clone, Debug, Object, Serialize)]
#[oai(rename = "Service")]
pub struct ServiceView {
    /// Its name; never changes and is never reused.
    #[oai(validator(max_length = 63))]
    pub name: String,
    /// Its name for people.
    pub display_name: Nullable<String>,
    /// What it is.
    pub description: Nullable<String>,
    /// Where its source lives.
    pub repository_url: Nullable<String>,
    /// Who looks after it.
    pub owner: Nullable<String>,
    /// Anything else, by name.
    pub labels: LabelsView,
    /// Whether it is archived: its history stays, nothing new is deployed.
    pub archived: bool,
    /// When it was registered.
    pub created_at: Time,
    /// When it was last edited.
    pub updated_at: Time,
}

impl From<Service> for ServiceView {
    fn from(service: Service) -> Self {
        let ServiceDescription { display_name, description, repository_url, owner, labels } =
            service.description;
        Self {
            name: service.name.to_string(),
            display_name: display_name.into(),
            description: description.into(),
            repository_url: repository_url.into(),
            owner: owner.into(),
            labels,
            archived: service.archived_at.is_some(),
            created_at: Time(service.created_at),
            updated_at: Time(service.updated_at),
        }
    }
}

/// A service to register.
#[derive(Clone, Debug, Object)]
#[oai(deny_unknown_fields, example)]
pub struct CreateService {
    /// Its name: a DNS-1123 label.
    pub name: Text<Name>,
    /// Its name for people, at most 200 characters.
    #[oai(skip_serializing_if_is_none)]
    pub display_name: Option<Text<Short>>,
    /// What it is, at most 2000 characters.
    #[oai(skip_serializing_if_is_none)]
    pub description: Option<Text<Long>>,
    /// Where its source lives: an http or https URL.
    #[oai(skip_serializing_if_is_none)]
    pub repository_url: Option<Text<WebUrl>>,
    /// Who looks after it, at most 200 characters.
    #[oai(skip_serializing_if_is_none)]
    pub owner: Option<Text<Short>>,
    /// Anything else, by name.
    #[oai(default)]
    pub labels: LabelsView,
}

impl poem_openapi::types::Example for CreateService {
    fn example() -> Self {
        Self {
            name: "shop".into(),
            display_name: Some("Web shop".into()),
            description: None,
            repository_url: Some("https://gitlab.example.com/acme/shop".into()),
            owner: Some("team-shop".into()),
            labels: LabelsView::from([("language".to_owned(), "rust".to_owned())]),
        }
    }
}

/// What to change of a service; absent members stay, null empties them.
#[derive(Clone, Debug, Object)]
#[oai(deny_unknown_fields, example)]
pub struct UpdateService {
    /// Its name for people.
    #[oai(skip_serializing_if_is_none)]
    pub display_name: MaybeUndefined<Text<Short>>,
    /// What it is.
    #[oai(skip_serializing_if_is_none)]
    pub description: MaybeUndefined<Text<Long>>,
    /// Where its source lives.
    #[oai(skip_serializing_if_is_none)]
    pub repository_url: MaybeUndefined<Text<WebUrl>>,
    /// Who looks after it.
    #[oai(skip_serializing_if_is_none)]
    pub owner: MaybeUndefined<Text<Short>>,
    /// All its labels.
    #[oai(skip_serializing_if_is_none)]
    pub labels: Option<LabelsView>,
    /// True archives it, false revives it.
    #[oai(skip_serializing_if_is_none)]
    pub archived: Option<bool>,
}

impl poem_openapi::types::Example for UpdateService {
    fn example() -> Self {
        Self {
            display_name: MaybeUndefined::Undefined,
            description: MaybeUndefined::Undefined,
            repository_url: MaybeUndefined::Undefined,
            owner: MaybeUndefined::Value("team-checkout".into()),
            labels: None,
            archived: None,
        }
    }
}

impl Listed for ServiceView {
    const PAGE: Words =
        Words { name: "ServicePage", is: "A page of services.", items: "The services, by name." };
}

/// The field after the change.
pub(super) fn changed<K>(field: MaybeUndefined<Text<K>>, before: Option<String>) -> Option<String> {
    edited(field, |value| value.0, before)
}

fn render(new: &Service) -> Answer {
    made(format!("/api/v1/services/{}", new.name), new.revision, &ServiceView::from(new.clone()))
}

#[OpenApi(tag = "Tags::Registry")]
impl ServicesApi {
    /// Register a service
    ///
    /// A deployment registers an unknown service by itself, unless the server is told not to.
    #[oai(path = "/services", method = "post", operation_id = "create_service")]
    async fn create_service(
        &self,
        auth: Auth,
        body: Json<CreateService>,
    ) -> Result<Reply<ServiceView, Made>, Problem> {
        let given = body.0.clone();
        let description = ServiceDescription {
            display_name: owned(given.display_name.as_ref()),
            description: owned(given.description.as_ref()),
            repository_url: owned(given.repository_url.as_ref()),
            owner: owned(given.owner.as_ref()),
            labels: given.labels,
        };
        let mut faults = Faults::default();
        let name = faults.take("/name", Name::of_service(&given.name));
        description.validate(auth.labels_max(), &mut faults);
        let name = faults.finish(name).map_err(refuse)?;
        auth.once(&body.0, |ctx| async move { services::create(&ctx, &name, &description, &render).await })
            .await
    }

    /// List services
    #[oai(path = "/services", method = "get", operation_id = "list_services")]
    async fn list_services(
        &self,
        auth: Auth,
        request: &Request,
        /// True lists the archived ones instead.
        archived: Query<Option<bool>>,
        /// At most this many, from 1 to 200.
        limit: Query<Option<u64>>,
        /// The `next_cursor` of the page before.
        cursor: Query<Option<String>>,
    ) -> Result<List<Page<ServiceView>>, Problem> {
        let asked = page_request(limit.0, cursor.0.as_deref())?;
        let archived = archived.0.unwrap_or(false);
        let page = services::list(&auth.ctx(), archived, &asked).await?;
        List::of(page, request, Into::into)
    }

    /// Read a service
    #[oai(path = "/services/:service", method = "get", operation_id = "get_service")]
    async fn get_service(
        &self,
        auth: Auth,
        /// Its name.
        service: Path<String>,
    ) -> Result<Reply<ServiceView, Changed>, Problem> {
        let service = services::get(&auth.ctx(), &service.0).await?;
        Ok(Reply::at(service.revision, &service.into()))
    }

    /// Edit, archive or revive a service
    #[oai(path = "/services/:service", method = "patch", operation_id = "update_service")]
    async fn update_service(
        &self,
        auth: Auth,
        /// Its name.
        service: Path<String>,
        /// The ETag of the revision that is meant, or several; without it, the last edit wins.
        #[oai(name = "If-Match")]
        if_match: Header<Option<String>>,
        body: Json<UpdateService>,
    ) -> Result<Reply<ServiceView, Changed>, Problem> {
        let expected = etag::if_match(if_match.0.as_deref());
        let labels_max = auth.labels_max();
        let given = body.0;
        let change = move |before: &Service| {
            let before = before.description.clone();
            let given = given.clone();
            let after = ServiceDescription {
                display_name: changed(given.display_name, before.display_name),
                description: changed(given.description, before.description),
                repository_url: changed(given.repository_url, before.repository_url),
                owner: changed(given.owner, before.owner),
                labels: given.labels.unwrap_or(before.labels),
            };
            let mut faults = Faults::default();
            after.validate(labels_max, &mut faults);
            let description =
                faults.finish(Some(after)).map_err(|faults| Error::Invalid(faults.into_vec()))?;
            Ok(Edit { description: Some(description), archived: given.archived })
        };
        let service = services::update(&auth.ctx(), &service.0, &expected, &change).await?;
        Ok(Reply::at(service.revision, &service.into()))
    }

    /// Archive a service
    ///
    /// Its history stays and its name is not free again. Refused while a deployment of it runs.
    #[oai(path = "/services/:service", method = "delete", operation_id = "archive_service")]
    async fn archive_service(
        &self,
        auth: Auth,
        /// Its name.
        service: Path<String>,
        /// The ETag of the revision that is meant.
        #[oai(name = "If-Match")]
        if_match: Header<Option<String>>,
    ) -> Result<Reply<ServiceView, Changed>, Problem> {
        let expected = etag::if_match(if_match.0.as_deref());
        let change = |_: &Service| Ok(Edit { description: None, archived: Some(true) });
        let service = services::update(&auth.ctx(), &service.0, &expected, &change).await?;
        Ok(Reply::at(service.revision, &service.into()))
    }
}
