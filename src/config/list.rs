//! Lists of sections, such as `[[auth.issuer]]`: kept as a section of sections that are numbered from 0, so that each layer
//! reaches each leaf: `auth.issuer.0.url` is `WAYBILL__AUTH__ISSUER__0__URL`.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What stands for any number in the key of a list's leaf.
pub(super) const ANY: &str = "*";

/// The key with [`ANY`] in place of each number.
pub(super) fn pattern(key: &str) -> String {
    let part = |part: &str| if number(part).is_some() { ANY.to_owned() } else { part.to_owned() };
    key.split('.').map(part).collect::<Vec<_>>().join(".")
}

/// The number that a part of a key is.
pub(super) fn number(part: &str) -> Option<usize> {
    part.parse().ok().filter(|number: &usize| number.to_string() == part)
}

pub(super) fn serialize<T: Serialize, S: Serializer>(list: &[T], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(list.iter().enumerate().map(|(index, item)| (index.to_string(), item)))
}

pub(super) fn deserialize<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    let items: BTreeMap<String, T> = BTreeMap::deserialize(deserializer)?;
    let mut items: Vec<_> = items.into_iter().collect();
    // As numbers: as texts, 10 comes before 2.
    items.sort_by_key(|(index, _)| number(index));
    Ok(items.into_iter().map(|(_, item)| item).collect())
}
