//! `/vulnerabilities`: which targets run a release that has one, the question of every incident.

use poem_openapi::{Object, OpenApi, param::Path, payload::Json};
use uuid::Uuid;

use crate::{
    api::{
        Tags,
        auth::Auth,
        types::{Nullable, Time},
        view::ActorView,
        who::{See, Who, named},
    },
    domain::{
        scan::{ExposedPackage, ExposedRelease, ExposedTarget, UnscannedTarget},
        vocabulary::{Severity, Tier},
        waiver::Waiver,
    },
    http::problem::Problem,
    usecase::scans,
};

/// The operations.
#[derive(Debug)]
pub struct VulnerabilitiesApi;

/// A package that has the vulnerability.
#[derive(Clone, Debug, Object)]
#[oai(rename = "VulnerablePackage")]
pub struct PackageView {
    /// Its name.
    pub name: String,
    /// The version that was found.
    pub installed_version: Nullable<String>,
    /// The version in which it is mended, or several.
    pub fixed_version: Nullable<String>,
}

impl From<ExposedPackage> for PackageView {
    fn from(package: ExposedPackage) -> Self {
        Self {
            name: package.name,
            installed_version: package.installed_version.into(),
            fixed_version: package.fixed_version.into(),
        }
    }
}

/// A waiver that lets a target have the vulnerability for a while.
#[derive(Clone, Debug, Object)]
pub struct TargetWaiver {
    /// The waiver.
    pub id: Uuid,
    /// The vulnerability, by the id that it names.
    pub vulnerability: String,
    /// Why it need not stand in the way.
    pub reason: String,
    /// When it ends.
    pub expires_at: Time,
    /// Who answers for it.
    pub actor: ActorView,
}

impl From<Waiver> for TargetWaiver {
    fn from(waiver: Waiver) -> Self {
        let definition = waiver.definition;
        Self {
            id: waiver.id,
            vulnerability: definition.vulnerability,
            reason: definition.reason,
            expires_at: Time(definition.expires_at),
            actor: waiver.actor.into(),
        }
    }
}

impl Who for TargetWaiver {
    fn who(&mut self, see: &mut See<'_>) {
        self.actor.who(see);
    }
}

/// A target whose release has the vulnerability.
#[derive(Clone, Debug, Object)]
#[oai(rename = "VulnerableTarget")]
pub struct TargetView {
    /// The service.
    pub service: String,
    /// The environment.
    pub environment: String,
    /// The release's version.
    pub version: String,
    /// Its image.
    pub image: Nullable<String>,
    /// The deployment that put it there, or is doing so.
    pub deployment_id: Uuid,
    /// True while it is on its way there; false once it is current.
    pub running: bool,
    /// Since when it is there, or on its way.
    pub since: Time,
    /// The worst severity that any scanner gives it.
    pub severity: Severity,
    /// The packages that have it, at most a hundred for each scanner.
    pub packages: Vec<PackageView>,
    /// The scanners whose latest scan names it.
    pub scanners: Vec<String>,
    /// The waivers that hold there now and take it out of the budget of one of these scans.
    pub waivers: Vec<TargetWaiver>,
}

impl Who for TargetView {
    fn who(&mut self, see: &mut See<'_>) {
        self.waivers.who(see);
    }
}

impl From<ExposedTarget> for TargetView {
    fn from(target: ExposedTarget) -> Self {
        Self {
            service: target.service,
            environment: target.environment,
            version: target.version,
            image: target.image.into(),
            deployment_id: target.deployment_id,
            running: target.running,
            since: Time(target.since),
            severity: target.severity,
            packages: target.packages.into_iter().map(Into::into).collect(),
            scanners: target.scanners.into_iter().collect(),
            waivers: target.waivers.into_iter().map(Into::into).collect(),
        }
    }
}

/// A release that has the vulnerability and is in no target.
#[derive(Clone, Debug, Object)]
#[oai(rename = "VulnerableRelease")]
pub struct ReleaseView {
    /// The service.
    pub service: String,
    /// The version.
    pub version: String,
    /// Its image.
    pub image: Nullable<String>,
    /// The worst severity that any scanner gives it.
    pub severity: Severity,
    /// When the release was registered.
    pub created_at: Time,
}

impl From<ExposedRelease> for ReleaseView {
    fn from(release: ExposedRelease) -> Self {
        Self {
            service: release.service,
            version: release.version,
            image: release.image.into(),
            severity: release.severity,
            created_at: Time(release.created_at),
        }
    }
}

/// A target of which nobody can tell: no scan that names vulnerabilities has looked at its current release.
#[derive(Clone, Debug, Object)]
#[oai(rename = "UnscannedTarget")]
pub struct UnscannedView {
    /// The service.
    pub service: String,
    /// The environment.
    pub environment: String,
    /// The environment's tier.
    pub tier: Tier,
    /// The release's version.
    pub version: String,
    /// Its image.
    pub image: Nullable<String>,
    /// The deployment that put it there.
    pub deployment_id: Uuid,
    /// Since when it is there.
    pub since: Time,
}

impl From<UnscannedTarget> for UnscannedView {
    fn from(target: UnscannedTarget) -> Self {
        Self {
            service: target.service,
            environment: target.environment,
            tier: target.tier,
            version: target.version,
            image: target.image.into(),
            deployment_id: target.deployment_id,
            since: Time(target.since),
        }
    }
}

/// Where a vulnerability is.
#[derive(Clone, Debug, Object)]
#[oai(rename = "Vulnerability")]
pub struct VulnerabilityView {
    /// The id that was asked for.
    pub id: String,
    /// The targets whose current release has it, or the one that is on its way there.
    pub targets: Vec<TargetView>,
    /// The releases that have it and are in no target: the newest hundred.
    pub releases: Vec<ReleaseView>,
    /// Whether there are more such releases.
    pub more_releases: bool,
    /// The targets of which nobody can tell, because no scan that names vulnerabilities has looked at their current release:
    /// the first hundred, those of production first. A plain report names none.
    pub unscanned: Vec<UnscannedView>,
    /// How many such targets there are.
    pub unscanned_count: u64,
}

#[OpenApi(tag = "Tags::Gate")]
impl VulnerabilitiesApi {
    /// Find where a vulnerability is
    ///
    /// By what counts of the scans. A vulnerability is found by every id that a report gives it: CVE and GHSA ids in any
    /// spelling, others as the scanner writes them. Whatever is found, `unscanned` names the targets of which the scans
    /// cannot tell. What cannot be an id is refused.
    #[oai(path = "/vulnerabilities/:id", method = "get", operation_id = "get_vulnerability")]
    async fn get_vulnerability(
        &self,
        auth: Auth,
        /// Its id, such as `CVE-2021-44228`.
        id: Path<String>,
    ) -> Result<Json<VulnerabilityView>, Problem> {
        let ctx = auth.ctx();
        let (id, exposure) = scans::exposure(&ctx, &id.0).await?;
        Ok(Json(VulnerabilityView {
            id,
            targets: named(&ctx, exposure.targets.into_iter().map(Into::into).collect()).await?,
            releases: exposure.releases.into_iter().map(Into::into).collect(),
            more_releases: exposure.more_releases,
            unscanned: exposure.unscanned.into_iter().map(Into::into).collect(),
            unscanned_count: exposure.unscanned_count,
        }))
    }
}
