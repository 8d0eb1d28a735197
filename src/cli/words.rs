//! The domain's words on the command line.

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};

use crate::domain::{fault::Malformed, vocabulary::Word};

/// Reads one of these words; the help, and what is said of any other, list them all.
pub fn one_of<W: Word>(words: &[W]) -> impl TypedValueParser<Value = W> + use<W> {
    let listed = words.iter().map(|word| {
        let (text, meaning) = word.explained();
        PossibleValue::new(text).help(meaning.trim().trim_end_matches('.'))
    });
    PossibleValuesParser::new(listed.collect::<Vec<_>>())
        .try_map(|text| text.parse().map_err(|malformed: Malformed| malformed.detail))
}
