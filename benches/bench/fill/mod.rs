//! Fills a ledger with a long history within minutes. The server itself deploys two releases to each target; every further
//! deployment repeats what the second has left behind, with names, numbers, ids and times of its own, and its events are
//! sealed with the domain's own hashes. So the rows are as the server would have written them.

mod pattern;
mod rows;
mod template;

use std::time::Instant;

use anyhow::{Context as _, ensure};
use sea_orm::{
    ActiveModelTrait as _,
    ActiveValue::{Set, Unchanged},
    ConnectionTrait as _, DatabaseConnection, EntityTrait as _, IntoActiveModel as _,
};
use waybill::{
    clock,
    domain::{chain, chain::Link, event::Event},
    store::entity::{chain_head, decision, deployment, event, release, target},
};

use self::template::{Made, Service};
use crate::{
    ledger::Ledger,
    load::{self, ENVIRONMENTS, SERVICES},
    measure::say,
};

/// How many releases the server itself deploys.
const BY_SERVER: usize = 2;
/// So many deployments are written at once.
const BATCH: usize = 2_000;

/// Fills an empty ledger with so many deployments, the same number in each target.
pub async fn fill(ledger: &Ledger, deployments: usize) -> anyhow::Result<()> {
    let releases = deployments / (SERVICES * ENVIRONMENTS);
    ensure!(
        releases > BY_SERVER,
        "a ledger is filled with more than {} deployments",
        SERVICES * ENVIRONMENTS * 2
    );
    let begin = Instant::now();
    let server = ledger.serve().await;
    load::seed(&server.client, SERVICES, ENVIRONMENTS, BY_SERVER).await?;
    // What waits for its seal is sealed then.
    server.stop().await;

    let conn = rows::connect(&ledger.url).await?;
    let mut services = template::read(&conn, BY_SERVER - 1).await?;
    let mut filler = Filler { head: head(&conn).await?, conn, batch: Batch::default() };
    for number in BY_SERVER..releases {
        for service in &mut services {
            filler.release(service, number).await?;
        }
    }
    filler.end(services).await?;
    let tidy = if ledger.is_postgres() { "VACUUM (ANALYZE)" } else { "PRAGMA wal_checkpoint(TRUNCATE)" };
    filler.conn.execute_unprepared(tidy).await?;
    filler.conn.close().await?;
    let (events, took) = (filler.head.seq, begin.elapsed().as_secs());
    say(format_args!("{deployments} deployments and {events} events were written in {took} s"))
}

/// The head of the chain.
async fn head(conn: &DatabaseConnection) -> anyhow::Result<Link> {
    let head = chain_head::Entity::find().one(conn).await?.context("no head")?;
    Ok(Link { seq: head.seq, hash: head.hash })
}

#[derive(Default)]
struct Batch {
    releases: Vec<release::ActiveModel>,
    decisions: Vec<decision::ActiveModel>,
    deployments: Vec<deployment::ActiveModel>,
    events: Vec<event::ActiveModel>,
}

struct Filler {
    conn: DatabaseConnection,
    head: Link,
    batch: Batch,
}

impl Filler {
    /// Registers a release and deploys it to every target of its service.
    async fn release(&mut self, service: &mut Service, number: usize) -> anyhow::Result<()> {
        let (release, event) = service.register(number, clock::now())?;
        self.batch.releases.push(release.into_active_model());
        self.seal(event);
        for Made { before, decision, events } in service.deploy()? {
            self.batch.decisions.push(decision.into_active_model());
            for event in events {
                self.seal(event);
            }
            if number > BY_SERVER {
                self.batch.deployments.push(before.into_active_model());
            } else {
                // The server has written that one, as current.
                let superseded = before.into_active_model().reset_all();
                deployment::Entity::update(superseded).exec_without_returning(&self.conn).await?;
            }
        }
        if self.batch.deployments.len() >= BATCH { self.write().await } else { Ok(()) }
    }

    /// Puts an event at the end of the chain.
    fn seal(&mut self, event: Event) {
        let seal = chain::seal(&event, self.head.seq + 1, &self.head.hash);
        self.head = Link { seq: seal.seq, hash: seal.hash.clone() };
        let model = event::Model {
            id: event.id,
            seq: Some(seal.seq),
            occurred_at: event.at,
            kind: event.kind,
            actor_token: event.actor.token,
            actor_subject: event.actor.subject,
            service: event.service,
            environment: event.environment,
            version: event.version,
            deployment_id: event.deployment_id,
            request_id: event.request_id,
            data: event.data,
            prev_hash: Some(seal.prev_hash),
            hash: Some(seal.hash),
        };
        self.batch.events.push(model.into_active_model());
    }

    /// Writes what has been made, in the order of the foreign keys.
    async fn write(&mut self) -> anyhow::Result<()> {
        let Batch { releases, decisions, deployments, events } = std::mem::take(&mut self.batch);
        rows::insert::<release::Entity>(&self.conn, releases).await?;
        rows::insert::<decision::Entity>(&self.conn, decisions).await?;
        rows::insert::<deployment::Entity>(&self.conn, deployments).await?;
        rows::insert::<event::Entity>(&self.conn, events).await
    }

    /// Writes the last deployments, makes them current, and moves the head of the chain.
    async fn end(&mut self, services: Vec<Service>) -> anyhow::Result<()> {
        let last: Vec<_> = services.into_iter().flat_map(Service::current).collect();
        self.batch.deployments.extend(last.iter().map(|current| current.clone().into_active_model()));
        self.write().await?;
        for current in last {
            let target = target::ActiveModel {
                service_id: Unchanged(current.service_id),
                environment_id: Unchanged(current.environment_id),
                current_deployment_id: Set(Some(current.id)),
                current_release_id: Set(Some(current.release_id)),
                current_artefact: Set(Some(current.artefact)),
                current_since: Set(current.stay_started_at),
                current_finished_at: Set(current.finished_at),
                last_started_at: Set(Some(current.started_at)),
                last_at: Set(current.finished_at),
                ..Default::default()
            };
            target::Entity::update(target).exec_without_returning(&self.conn).await?;
        }
        let head = chain_head::ActiveModel {
            id: Unchanged(1),
            seq: Set(self.head.seq),
            hash: Set(self.head.hash.clone()),
            sealed_at: Set(Some(clock::now())),
        };
        chain_head::Entity::update(head).exec_without_returning(&self.conn).await?;
        Ok(())
    }
}
