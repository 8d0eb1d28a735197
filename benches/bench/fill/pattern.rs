//! Texts with places that are filled anew for each row.

/// A text in pieces: of each what comes before a place, and which value the place takes.
#[derive(Clone, Debug)]
pub struct Pattern {
    pieces: Vec<(String, usize)>,
    rest: String,
}

impl Pattern {
    /// Makes places of every word in the text; one that is empty is not looked for.
    pub fn of(text: &str, words: &[&str]) -> Self {
        let (mut pieces, mut rest) = (Vec::new(), text);
        let first = |text: &str| {
            let words = words.iter().enumerate().filter(|(_, word)| !word.is_empty());
            words.filter_map(|(place, word)| Some((text.find(word)?, place))).min()
        };
        while let Some((at, place)) = first(rest) {
            let (before, after) = rest.split_at(at);
            pieces.push((before.to_owned(), place));
            rest = words.get(place).and_then(|word| after.strip_prefix(word)).unwrap_or_default();
        }
        Self { pieces, rest: rest.to_owned() }
    }

    /// The text with these values in place of the words.
    pub fn fill(&self, values: &[&str]) -> String {
        let mut text = String::with_capacity(self.rest.len() * 2);
        for (before, place) in &self.pieces {
            text.push_str(before);
            text.push_str(values.get(*place).copied().unwrap_or_default());
        }
        text.push_str(&self.rest);
        text
    }
}
