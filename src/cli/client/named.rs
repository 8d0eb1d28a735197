//! What has an id and a name as well: either is taken for it.

use serde_json::Value;
use uuid::Uuid;

use super::{
    call::Call,
    error::Error,
    session::{ALL, Session},
};
use crate::domain::nearest::nearest;

/// The id of what is meant: what was given, where it is one, else that of the only item of a list that has it as its
/// `name`. Where several have, which of them is meant has to be said.
pub async fn id_of(
    session: &Session,
    what: &str,
    list: &Call,
    name: &str,
    given: &str,
) -> Result<String, Error> {
    if given.parse::<Uuid>().is_ok() {
        return Ok(given.to_owned());
    }
    let items = session.pages(list, ALL).await?.items;
    only(what, &items, name, given)
}

fn only(what: &str, items: &[Value], name: &str, given: &str) -> Result<String, Error> {
    let text =
        |item: &'_ Value, member: &str| item.get(member).and_then(Value::as_str).map(ToOwned::to_owned);
    let bear_it = items.iter().filter(|item| item.get(name).is_some_and(|own| own == given));
    let ids: Vec<_> = bear_it.filter_map(|item| text(item, "id")).collect();
    match ids.as_slice() {
        [id] => Ok(id.clone()),
        [] => {
            let meant = nearest(given, items.iter().filter_map(|item| text(item, name)));
            let offer = meant.map(|meant| format!("; did you mean {meant}?")).unwrap_or_default();
            Err(Error::Failed(format!("there is no {what} {given}{offer}")))
        }
        several => Err(Error::Usage(format!(
            "{} {what}s are called {given}; say which of them by its id: {}",
            several.len(),
            several.join(", ")
        ))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_name_is_taken_where_it_names_one() {
        let items = [("1", "weekend"), ("2", "closing"), ("3", "closing")]
            .map(|(id, name)| json!({"id": id, "name": name}));
        let found = |given| only("freeze window", &items, "name", given).map_err(|error| error.to_string());
        assert_eq!(found("weekend"), Ok("1".to_owned()));
        let nearly = found("weekends").unwrap_err();
        assert_eq!(nearly, "there is no freeze window weekends; did you mean weekend?");
        let twice = found("closing").unwrap_err();
        assert!(
            twice.starts_with("2 freeze windows are called closing") && twice.ends_with("2, 3"),
            "{twice}"
        );
    }
}
