//! What every part of the running server shares.

pub mod feed;
mod freeze_memo;
mod head_watch;
mod kept_matrix;
pub mod shares;

use std::sync::Arc;

pub use self::{feed::Feed, freeze_memo::FreezeMemo, head_watch::HeadWatch, kept_matrix::KeptMatrix};
use crate::{
    config::{Config, people::RoleConfig},
    domain::{address::Pages, role::Role, sign_in::site::Site},
    issuer::Issuers,
    metrics::Metrics,
    store::db::Db,
};

/// The configuration, the database, the metrics and what requests tell each other; cheap to clone.
#[derive(Clone, Debug)]
pub struct App {
    /// How this server is set up.
    pub config: Arc<Config>,
    /// Where the ledger is kept.
    pub db: Db,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Whose word is taken for who somebody is.
    pub issuers: Issuers,
    /// Where people find the server, and what they may do.
    pub people: Arc<People>,
    /// What wakes those who wait.
    pub feed: Feed,
    /// What freeze windows come to.
    pub freezes: Arc<FreezeMemo>,
    /// How far the audit log's chain was seen to reach.
    pub chain: Arc<HeadWatch>,
    /// What runs where, as it was last read.
    pub matrix: Arc<KeptMatrix>,
}

/// What the configuration says of people.
#[derive(Debug)]
pub struct People {
    /// Where browsers find the server.
    pub site: Site,
    /// Where they find the page of something.
    pub pages: Pages,
    /// What the groups may do that they come with.
    pub roles: Vec<Role>,
}

impl App {
    /// Of a server that starts.
    pub fn new(config: impl Into<Arc<Config>>, db: Db, metrics: impl Into<Arc<Metrics>>) -> Self {
        let (config, metrics) = (config.into(), metrics.into());
        let feed = Feed::new(config.limits.waits, config.limits.streams);
        let issuers = Issuers::new(&config);
        let pages = Pages::at(config.server.public_url.as_ref());
        if let Some(url) = pages.url("") {
            metrics.know_public_url(&url);
        }
        let people = Arc::new(People {
            site: Site::of(config.server.public_url.as_ref()),
            pages,
            roles: config.auth.role.iter().map(RoleConfig::role).collect(),
        });
        Self {
            people,
            config,
            db,
            issuers,
            metrics,
            feed,
            freezes: Arc::default(),
            chain: Arc::default(),
            matrix: Arc::default(),
        }
    }
}
