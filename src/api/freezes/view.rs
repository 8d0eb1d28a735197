//! Freeze windows as they are asked for and seen.

use poem_openapi::{
    Object,
    types::{Example, MaybeUndefined},
};
use serde::Serialize;
use uuid::Uuid;

use crate::{
    api::{
        page::{Listed, Words},
        types::{Many, Nullable, Text, Time, owned},
        view::ActorView,
        who::{See, Who},
    },
    domain::{
        form::{Cron, TellingLong, TellingShort, Zone},
        freeze::draft::Draft,
        places::PLACES_MAX,
        text::Name,
        vocabulary::Tier,
    },
    usecase::freezes::{Calendar, Seen},
};

/// A freeze window.
#[derive(Clone, Debug, Object, Serialize)]
#[oai(rename = "FreezeWindow")]
pub struct FreezeWindowView {
    /// Identity.
    pub id: Uuid,
    /// Its name.
    pub name: String,
    /// The environments in which it counts; null where it counts by tier.
    pub environments: Nullable<Vec<String>>,
    /// The tiers in which it counts; null where it counts by name.
    pub tiers: Nullable<Vec<Tier>>,
    /// The only services that it counts for; null where it counts for all.
    pub services: Nullable<Vec<String>>,
    /// Why it is there.
    pub reason: String,
    /// When it begins; null for a recurring one.
    pub starts_at: Nullable<Time>,
    /// When it ends; null for a recurring one.
    pub ends_at: Nullable<Time>,
    /// When it begins again and again, as a cron expression; null for one that holds once.
    pub start_cron: Nullable<String>,
    /// When it ends again and again, as a cron expression; null for one that holds once.
    pub end_cron: Nullable<String>,
    /// Whose clocks those are read on; null for one that holds once.
    pub timezone: Nullable<String>,
    /// Whether it holds at this moment.
    pub active: bool,
    /// When it ends, where it holds; another window may hold then.
    pub opens_at: Nullable<Time>,
    /// When it begins the next time; null when it does not.
    pub next_starts_at: Nullable<Time>,
    /// Who declared it.
    pub actor: ActorView,
    /// When it was declared.
    pub created_at: Time,
    /// When it was last edited.
    pub updated_at: Time,
}

impl From<Seen> for FreezeWindowView {
    fn from(Seen { freeze, standing }: Seen) -> Self {
        let draft = Draft::from(&freeze.definition);
        Self {
            id: freeze.id,
            name: draft.name,
            environments: draft.environments.into(),
            tiers: draft.tiers.into(),
            services: draft.services.into(),
            reason: draft.reason,
            starts_at: draft.starts_at.map(Time).into(),
            ends_at: draft.ends_at.map(Time).into(),
            start_cron: draft.start_cron.into(),
            end_cron: draft.end_cron.into(),
            timezone: draft.timezone.into(),
            active: standing.active,
            opens_at: standing.opens_at.map(Time).into(),
            next_starts_at: standing.next_starts_at.map(Time).into(),
            actor: freeze.actor.into(),
            created_at: Time(freeze.created_at),
            updated_at: Time(freeze.updated_at),
        }
    }
}

impl Who for FreezeWindowView {
    fn who(&mut self, see: &mut See<'_>) {
        self.actor.who(see);
    }
}

/// A freeze window to declare: with `environments` or `tiers`, and with `starts_at` and `ends_at` or with `start_cron`,
/// `end_cron` and `timezone`.
#[derive(Clone, Debug, Object)]
#[oai(deny_unknown_fields, example)]
pub struct CreateFreezeWindow {
    /// Its name, at most 200 characters.
    pub name: Text<TellingShort>,
    /// Why it is there, at most 2000 characters; whoever is held up reads it.
    pub reason: Text<TellingLong>,
    /// The environments in which it counts, at most 100; they must be registered.
    #[oai(skip_serializing_if_is_none)]
    pub environments: Option<Many<Text<Name>, 1, PLACES_MAX>>,
    /// The tiers in which it counts: every environment of them, those registered later too.
    #[oai(skip_serializing_if_is_none)]
    pub tiers: Option<Many<Tier, 1, { usize::MAX }>>,
    /// The only services that it counts for, at most 100; they must be registered. It counts for all when absent.
    #[oai(skip_serializing_if_is_none)]
    pub services: Option<Many<Text<Name>, 1, PLACES_MAX>>,
    /// When it begins, once; may be past.
    #[oai(skip_serializing_if_is_none)]
    pub starts_at: Option<Time>,
    /// When it ends, once; must lie ahead.
    #[oai(skip_serializing_if_is_none)]
    pub ends_at: Option<Time>,
    /// When it begins, again and again: a cron expression of five fields (minute, hour, day of the month, month, day of
    /// the week).
    #[oai(skip_serializing_if_is_none)]
    pub start_cron: Option<Text<Cron>>,
    /// When it ends, again and again: a cron expression of five fields.
    #[oai(skip_serializing_if_is_none)]
    pub end_cron: Option<Text<Cron>>,
    /// Whose clocks those are read on: a name of the IANA time zone database, such as Europe/Berlin.
    #[oai(skip_serializing_if_is_none)]
    pub timezone: Option<Text<Zone>>,
}

impl Example for CreateFreezeWindow {
    fn example() -> Self {
        Self {
            name: "Weekend".into(),
            reason: "Nobody is here to repair what breaks".into(),
            environments: None,
            tiers: Some(Many(vec![Tier::Production])),
            services: None,
            starts_at: None,
            ends_at: None,
            start_cron: Some("0 18 * * FRI".into()),
            end_cron: Some("0 8 * * MON".into()),
            timezone: Some("Europe/Berlin".into()),
        }
    }
}

impl CreateFreezeWindow {
    /// The window that is asked for.
    pub fn draft(&self) -> Draft {
        Draft {
            name: self.name.0.clone(),
            reason: self.reason.0.clone(),
            environments: self.environments.clone().map(names),
            tiers: self.tiers.clone().map(|tiers| tiers.0),
            services: self.services.clone().map(names),
            starts_at: self.starts_at.map(|time| time.0),
            ends_at: self.ends_at.map(|time| time.0),
            start_cron: owned(self.start_cron.as_ref()),
            end_cron: owned(self.end_cron.as_ref()),
            timezone: owned(self.timezone.as_ref()),
        }
    }
}

/// The names that were given.
pub(super) fn names<const MAX: usize>(given: Many<Text<Name>, 1, MAX>) -> Vec<String> {
    given.0.into_iter().map(|name| name.0).collect()
}

/// What to change of a freeze window; absent members stay.
#[derive(Clone, Debug, Object)]
#[oai(deny_unknown_fields, example)]
pub struct UpdateFreezeWindow {
    /// Its name.
    #[oai(skip_serializing_if_is_none)]
    pub name: Option<Text<TellingShort>>,
    /// Why it is there.
    #[oai(skip_serializing_if_is_none)]
    pub reason: Option<Text<TellingLong>>,
    /// The environments in which it counts; null where tiers take their place.
    #[oai(skip_serializing_if_is_none)]
    pub environments: MaybeUndefined<Many<Text<Name>, 1, PLACES_MAX>>,
    /// The tiers in which it counts; null where environments take their place.
    #[oai(skip_serializing_if_is_none)]
    pub tiers: MaybeUndefined<Many<Tier, 1, { usize::MAX }>>,
    /// The only services that it counts for; null where it is to count for all.
    #[oai(skip_serializing_if_is_none)]
    pub services: MaybeUndefined<Many<Text<Name>, 1, PLACES_MAX>>,
    /// When it begins, once; null where it becomes a recurring one.
    #[oai(skip_serializing_if_is_none)]
    pub starts_at: MaybeUndefined<Time>,
    /// When it ends, once; null where it becomes a recurring one.
    #[oai(skip_serializing_if_is_none)]
    pub ends_at: MaybeUndefined<Time>,
    /// When it begins, again and again; null where it is to hold once.
    #[oai(skip_serializing_if_is_none)]
    pub start_cron: MaybeUndefined<Text<Cron>>,
    /// When it ends, again and again; null where it is to hold once.
    #[oai(skip_serializing_if_is_none)]
    pub end_cron: MaybeUndefined<Text<Cron>>,
    /// Whose clocks those are read on; null where it is to hold once.
    #[oai(skip_serializing_if_is_none)]
    pub timezone: MaybeUndefined<Text<Zone>>,
}

impl Example for UpdateFreezeWindow {
    fn example() -> Self {
        Self {
            name: None,
            reason: Some("The team is at a conference".into()),
            environments: MaybeUndefined::Undefined,
            tiers: MaybeUndefined::Undefined,
            services: MaybeUndefined::Undefined,
            starts_at: MaybeUndefined::Undefined,
            ends_at: MaybeUndefined::Undefined,
            start_cron: MaybeUndefined::Undefined,
            end_cron: MaybeUndefined::Undefined,
            timezone: MaybeUndefined::Undefined,
        }
    }
}

impl Listed for FreezeWindowView {
    const PAGE: Words = Words {
        name: "FreezeWindowPage",
        is: "A page of freeze windows.",
        items: "The windows, newest first.",
    };
}

/// A window of a calendar.
#[derive(Clone, Debug, Object)]
pub struct CalendarWindow {
    /// Identity.
    pub id: Uuid,
    /// Its name.
    pub name: String,
    /// Why it is there.
    pub reason: String,
    /// The only services that it counts for; null where it counts for all.
    pub services: Nullable<Vec<String>>,
}

/// A stretch of time in which an environment is frozen.
#[derive(Clone, Debug, Object)]
pub struct CalendarItem {
    /// The environment.
    pub environment: String,
    /// When it begins.
    pub starts_at: Time,
    /// When it ends.
    pub ends_at: Time,
    /// The windows that hold at some time of it.
    pub windows: Vec<CalendarWindow>,
}

/// When environments are frozen.
#[derive(Clone, Debug, Object)]
pub struct FreezeCalendar {
    /// From this time on.
    pub from: Time,
    /// Up to this time.
    pub to: Time,
    /// The stretches, by environment in the order of promotion, then by time.
    pub items: Vec<CalendarItem>,
}

impl From<Calendar> for FreezeCalendar {
    fn from(Calendar { within, windows, environments }: Calendar) -> Self {
        let window = |place: &usize| {
            windows.get(*place).map(|freeze| CalendarWindow {
                id: freeze.id,
                name: freeze.definition.name.clone(),
                reason: freeze.definition.reason.clone(),
                services: Nullable(
                    freeze.definition.services.clone().map(|names| names.into_iter().collect()),
                ),
            })
        };
        let mut items = Vec::new();
        for (environment, intervals) in environments {
            items.extend(intervals.into_iter().map(|interval| CalendarItem {
                environment: environment.name.to_string(),
                starts_at: Time(interval.span.starts_at),
                ends_at: Time(interval.span.ends_at),
                windows: interval.windows.iter().filter_map(window).collect(),
            }));
        }
        Self { from: Time(within.starts_at), to: Time(within.ends_at), items }
    }
}
