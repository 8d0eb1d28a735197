//! The matrix of what runs where: the part of it that somebody is shown, and how far each target of that is behind.
//!
//! It is read and kept for everybody, so that [`Part::of`] alone keeps from a reader what they are narrowed away from.

use chrono::{DateTime, Utc};

use crate::domain::{
    scope::Narrowing,
    service::Labels,
    target::behind,
    vocabulary::{Only, Tier},
};

/// An environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    pub name: String,
    pub tier: Tier,
    pub rank: i64,
    /// Registered by a deployment and edited by nobody since.
    pub unconfirmed: bool,
    /// Whether it is locked down today.
    pub locked_down: bool,
    pub created_at: DateTime<Utc>,
}

/// A service, with what rows are chosen by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    pub name: String,
    pub owner: Option<String>,
    pub labels: Labels,
    pub created_at: DateTime<Utc>,
}

/// A service and its targets, each with something to show of it.
#[derive(Clone, Debug)]
pub struct Row<T> {
    pub service: Described,
    /// Those that something occupies, by their environments' names.
    pub cells: Vec<Cell<T>>,
}

/// A target that something occupies.
#[derive(Clone, Debug)]
pub struct Cell<T> {
    pub environment: String,
    /// Where its current release is in the order of the service's releases.
    pub place: Option<i64>,
    /// Whether a deployment is under way there.
    pub moves: bool,
    pub shown: T,
}

/// A label that a service must bear, with any value or with this one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Label {
    pub name: String,
    pub value: Option<String>,
}

impl Label {
    /// Reads `name` or `name=value`.
    pub fn parse(text: &str) -> Self {
        let (name, value) = text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value)));
        Self { name: name.to_owned(), value: value.map(ToOwned::to_owned) }
    }

    fn is_on(&self, labels: &Labels) -> bool {
        labels.get(&self.name).is_some_and(|has| self.value.as_ref().is_none_or(|value| value == has))
    }
}

/// What a matrix is confined to; everything where nothing is named.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Filter {
    pub service: Option<String>,
    /// A part of the names of services.
    pub part: Option<String>,
    pub environment: Option<String>,
    pub owner: Option<String>,
    pub label: Option<Label>,
    pub tier: Option<Tier>,
    /// Which services, by what is in the environments that are shown.
    pub only: Option<Only>,
}

impl Filter {
    /// Whether the service is shown.
    pub fn takes(&self, service: &Described) -> bool {
        let is = |wanted: &Option<String>, has: Option<&str>| {
            wanted.as_deref().is_none_or(|wanted| has == Some(wanted))
        };
        is(&self.service, Some(&service.name))
            && self.part.as_ref().is_none_or(|part| service.name.contains(part))
            && is(&self.owner, service.owner.as_deref())
            && self.label.as_ref().is_none_or(|label| label.is_on(&service.labels))
    }

    /// Whether a service is shown that has this in the environments that are shown.
    fn takes_cells<'a, T: 'a>(&self, mut cells: impl Iterator<Item = &'a Cell<T>>) -> bool {
        match self.only {
            None => true,
            Some(Only::Moves) => cells.any(|cell| cell.moves),
            Some(Only::Differs) => {
                let mut places = cells.filter_map(|cell| cell.place);
                let first = places.next();
                places.any(|place| Some(place) != first)
            }
        }
    }

    /// Whether the environment is shown.
    pub fn shows(&self, column: &Column) -> bool {
        self.environment.as_ref().is_none_or(|name| *name == column.name)
            && self.tier.is_none_or(|tier| tier == column.tier)
    }
}

/// How production is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Production {
    /// Nothing happens there.
    #[default]
    Calm,
    /// Something is on its way there.
    Moving,
    /// It is locked down.
    Locked,
}

/// How all is that somebody may see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct State {
    pub production: Production,
    /// How many deployments are under way.
    pub moving: usize,
}

impl State {
    /// How all is that a reader may see.
    pub fn of<'a, T: 'a>(
        columns: &[Column],
        rows: impl Iterator<Item = &'a Row<T>>,
        within: &Narrowing,
    ) -> Self {
        let rows = rows.filter(|row| within.allows_service(&row.service.name));
        let cells = rows.flat_map(|row| &row.cells).filter(|cell| cell.moves);
        let find = |cell: &Cell<T>| columns.iter().find(|column| column.name == cell.environment);
        let moving: Vec<_> =
            cells.filter_map(find).filter(|column| within.allows_environment(&column.name)).collect();
        let is_production = |column: &Column| column.tier == Tier::Production;
        let locked = |column: &Column| {
            is_production(column) && column.locked_down && within.allows_environment(&column.name)
        };
        let production = if columns.iter().any(locked) {
            Production::Locked
        } else if moving.iter().any(|column| is_production(column)) {
            Production::Moving
        } else {
            Production::Calm
        };
        Self { production, moving: moving.len() }
    }
}

/// The part of a matrix that is shown.
#[derive(Clone, Debug)]
pub struct Part<'a, T> {
    /// The environments that the reader may see, by which they are told how far a target is behind.
    seen: Vec<&'a Column>,
    /// The environments that are shown, in the order of promotion.
    pub columns: Vec<&'a Column>,
    /// The services that are shown, by name.
    pub rows: Vec<&'a Row<T>>,
    /// Whether there are more rows than the limit.
    more: bool,
}

/// A target of a part.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a, T> {
    pub environment: &'a str,
    /// What there is to show; nothing where nothing occupies it.
    pub shown: Option<&'a T>,
    /// How far it is behind.
    pub behind: Option<i64>,
}

impl<'a, T> Part<'a, T> {
    /// The part that a reader asks for: of `rows`, which come in order, the first ones up to a limit.
    pub fn of(
        columns: &'a [Column],
        rows: impl Iterator<Item = &'a Row<T>>,
        within: &Narrowing,
        filter: &Filter,
        limit: Option<usize>,
    ) -> Self {
        let seen: Vec<_> = columns.iter().filter(|column| within.allows_environment(&column.name)).collect();
        let columns: Vec<_> = seen.iter().copied().filter(|column| filter.shows(column)).collect();
        let is_shown = |cell: &&Cell<T>| columns.iter().any(|column| column.name == cell.environment);
        let allowed = |row: &&Row<T>| {
            within.allows_service(&row.service.name)
                && filter.takes(&row.service)
                && filter.takes_cells(row.cells.iter().filter(is_shown))
        };
        let mut rows = rows.filter(allowed);
        let shown = rows.by_ref().take(limit.unwrap_or(usize::MAX)).collect();
        let more = rows.next().is_some();
        Self { seen, columns, rows: shown, more }
    }

    /// The service behind which the next part goes on.
    pub fn next(&self) -> Option<&str> {
        self.rows.last().filter(|_| self.more).map(|last| last.service.name.as_str())
    }

    /// The targets of one of its rows, one for each column.
    pub fn targets(&self, row: &'a Row<T>) -> impl Iterator<Item = Target<'a, T>> {
        let find = |name: &str| {
            let place = row.cells.binary_search_by(|cell| cell.environment.as_str().cmp(name)).ok()?;
            row.cells.get(place)
        };
        let places: Vec<(i64, i64)> =
            self.seen.iter().filter_map(|column| Some((column.rank, find(&column.name)?.place?))).collect();
        self.columns.iter().map(move |column| {
            let cell = find(&column.name);
            let place = cell.and_then(|cell| cell.place);
            Target {
                environment: &column.name,
                shown: cell.map(|cell| &cell.shown),
                behind: place.and_then(|place| behind(column.rank, place, places.iter().copied())),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str, rank: i64, tier: Tier) -> Column {
        let created_at = DateTime::UNIX_EPOCH;
        Column { name: name.to_owned(), tier, rank, unconfirmed: false, locked_down: false, created_at }
    }

    fn row(name: &str, owner: Option<&str>, cells: &[(&str, i64)]) -> Row<()> {
        let labels = Labels::from([("team".to_owned(), name.to_owned())]);
        let owner = owner.map(ToOwned::to_owned);
        let created_at = DateTime::UNIX_EPOCH;
        let service = Described { name: name.to_owned(), owner, labels, created_at };
        let cell = |(name, place): &(&str, i64)| Cell {
            environment: (*name).to_owned(),
            place: Some(*place),
            moves: *place == 4,
            shown: (),
        };
        Row { service, cells: cells.iter().map(cell).collect() }
    }

    fn columns() -> [Column; 3] {
        [
            column("dev", 1, Tier::Development),
            column("staging", 2, Tier::Staging),
            column("prod", 3, Tier::Production),
        ]
    }

    fn rows() -> [Row<()>; 3] {
        [
            row("pay", None, &[("dev", 3)]),
            row("shop", Some("ann"), &[("dev", 5), ("prod", 1), ("staging", 4)]),
            row("till", Some("ann"), &[]),
        ]
    }

    fn names(part: &Part<'_, ()>) -> (Vec<String>, Vec<String>, bool) {
        let columns = part.columns.iter().map(|column| column.name.clone()).collect();
        (columns, part.rows.iter().map(|row| row.service.name.clone()).collect(), part.more)
    }

    fn behinds(part: &Part<'_, ()>) -> Vec<Option<i64>> {
        part.rows.iter().flat_map(|row| part.targets(row)).map(|target| target.behind).collect()
    }

    #[test]
    fn a_filter_hides_columns_and_rows_but_not_how_far_a_target_is_behind() {
        let (columns, rows) = (columns(), rows());
        let all = Narrowing::default();
        let part = |filter: Filter| Part::of(&columns, rows.iter(), &all, &filter, None);
        let text = |text: &str| Some(text.to_owned());
        let prod = part(Filter { environment: text("prod"), service: text("shop"), ..Filter::default() });
        assert_eq!(names(&prod), (vec!["prod".into()], vec!["shop".into()], false));
        assert_eq!(behinds(&prod), [Some(4)]);
        let ann = part(Filter { owner: text("ann"), tier: Some(Tier::Staging), ..Filter::default() });
        assert_eq!(names(&ann), (vec!["staging".into()], vec!["shop".into(), "till".into()], false));
        for (label, count) in [("team", 3), ("team=pay", 1), ("team=", 0), ("tea", 0)] {
            let label = Some(Label::parse(label));
            assert_eq!(part(Filter { label, ..Filter::default() }).rows.len(), count);
        }
    }

    #[test]
    fn what_differs_and_what_moves_is_told_by_the_environments_that_are_shown() {
        let (columns, rows) = (
            columns(),
            [row("even", None, &[("dev", 3), ("prod", 3)]), rows()[0].clone(), rows()[1].clone()],
        );
        let shown = |only, tier| {
            let filter = Filter { only: Some(only), tier, ..Filter::default() };
            names(&Part::of(&columns, rows.iter(), &Narrowing::default(), &filter, None)).1
        };
        assert_eq!(shown(Only::Differs, None), ["shop"]);
        assert_eq!(shown(Only::Differs, Some(Tier::Production)), [""; 0]);
        assert_eq!(shown(Only::Moves, None), ["shop"]);
        assert_eq!(shown(Only::Moves, Some(Tier::Production)), [""; 0]);
    }

    #[test]
    fn production_is_told_by_all_that_may_be_seen() {
        let state = |columns: &[Column], rows: &[Row<()>], environments: &[&str]| {
            let environments = environments.iter().map(|name| (*name).to_owned()).collect();
            let within = Narrowing { services: None, environments: Some(environments) };
            State::of(columns, rows.iter(), &within)
        };
        let all = ["dev", "staging", "prod"];
        let calm = State { production: Production::Calm, moving: 1 };
        assert_eq!(state(&columns(), &rows(), &all), calm);
        assert_eq!(state(&columns(), &rows(), &["dev"]), State::default());
        let moving = [row("till", None, &[("prod", 4)])];
        assert_eq!(state(&columns(), &moving, &all).production, Production::Moving);
        let mut locked = columns();
        locked[2].locked_down = true;
        assert_eq!(state(&locked, &moving, &all).production, Production::Locked);
        assert_eq!(state(&locked, &moving, &["dev"]), State::default());
    }

    #[test]
    fn a_narrowing_hides_also_what_a_target_is_behind() {
        let (columns, rows) = (columns(), rows());
        let name = |name: &str| Some([name.to_owned()].into());
        let within = Narrowing { services: name("shop"), environments: name("prod") };
        let part = Part::of(&columns, rows.iter(), &within, &Filter::default(), None);
        assert_eq!(names(&part), (vec!["prod".into()], vec!["shop".into()], false));
        assert_eq!(behinds(&part), [None]);
    }

    #[test]
    fn there_are_more_rows_only_where_more_are_shown() {
        let (columns, rows) = (columns(), rows());
        let owned = Filter { owner: Some("ann".to_owned()), ..Filter::default() };
        for (limit, shown, more) in [(1, 1, true), (2, 2, false), (3, 2, false)] {
            let part = Part::of(&columns, rows.iter(), &Narrowing::default(), &owned, Some(limit));
            assert_eq!((part.rows.len(), part.more), (shown, more), "{limit}");
        }
    }
}
