//! As much of Prometheus' query language as it takes to say which metrics and labels a query names.

use std::collections::BTreeSet;

/// What a query names.
#[derive(Debug, Default)]
pub struct Query {
    /// Each metric that it selects, with the labels that it matches.
    pub selectors: Vec<Selector>,
    /// Each list of labels by which it aggregates or joins.
    pub groupings: Vec<Grouping>,
}

/// A metric and the labels that are matched.
#[derive(Debug)]
pub struct Selector {
    pub metric: String,
    pub labels: BTreeSet<String>,
    position: usize,
}

/// `by (…)`, `on (…)` and their like.
#[derive(Debug)]
pub struct Grouping {
    pub word: String,
    pub labels: BTreeSet<String>,
    /// What is aggregated, as places in [`Query::selectors`]; none for a join.
    pub inside: Vec<usize>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Word(String),
    Text,
    /// A number, a duration, or a variable of the dashboard in place of one.
    Number,
    Sign(char),
}

const GROUPING: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];
const OPERATORS: [&str; 8] = ["and", "or", "unless", "bool", "offset", "atan2", "inf", "nan"];

/// Reads a query. Panics at what it does not know, which must not be taken for nothing.
pub fn read(text: &str) -> Query {
    let tokens = tokens(text);
    let mut query = Query::default();
    let mut position = 0;
    while position < tokens.len() {
        let next = tokens.get(position + 1);
        match &tokens[position] {
            Token::Word(word) if GROUPING.contains(&word.as_str()) && next == Some(&Token::Sign('(')) => {
                let end = closing(&tokens, position + 1);
                let labels = words(&tokens[position + 2..end]);
                query.groupings.push(Grouping { word: word.clone(), labels, inside: vec![end + 1] });
                position = end;
            }
            Token::Word(word) if is_metric(word, next) => {
                let start = position;
                let mut labels = BTreeSet::new();
                if next == Some(&Token::Sign('{')) {
                    position = closing(&tokens, position + 1);
                    labels = words(&tokens[start + 2..position]);
                }
                query.selectors.push(Selector { metric: word.clone(), labels, position: start });
            }
            Token::Sign('{') => panic!("a selector without a name in {text}"),
            Token::Sign('[') => position = closing(&tokens, position),
            Token::Word(_) | Token::Text | Token::Number | Token::Sign(_) => {}
        }
        position += 1;
    }
    for grouping in &mut query.groupings {
        let open = grouping.inside.remove(0);
        if tokens.get(open) == Some(&Token::Sign('(')) && ["by", "without"].contains(&grouping.word.as_str())
        {
            let range = open..closing(&tokens, open);
            let within = |selector: &Selector| range.contains(&selector.position);
            grouping.inside =
                (0..query.selectors.len()).filter(|&place| within(&query.selectors[place])).collect();
        }
    }
    query
}

/// A word is an operator, a function (before its arguments, or before `by`), or a metric.
fn is_metric(word: &str, next: Option<&Token>) -> bool {
    let is_call = match next {
        Some(Token::Sign('(')) => true,
        Some(Token::Word(next)) => ["by", "without"].contains(&next.as_str()),
        _ => false,
    };
    !is_call && !OPERATORS.contains(&word)
}

fn words(tokens: &[Token]) -> BTreeSet<String> {
    let word = |token: &Token| if let Token::Word(word) = token { Some(word.clone()) } else { None };
    tokens.iter().filter_map(word).collect()
}

/// Where what opens at `open` is closed.
fn closing(tokens: &[Token], open: usize) -> usize {
    let mut depth = 0;
    for (position, token) in tokens.iter().enumerate().skip(open) {
        match token {
            Token::Sign('(' | '[' | '{') => depth += 1,
            Token::Sign(')' | ']' | '}') => depth -= 1,
            Token::Word(_) | Token::Text | Token::Number | Token::Sign(_) => {}
        }
        if depth == 0 {
            return position;
        }
    }
    panic!("something is not closed");
}

fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = text.chars().peekable();
    while let Some(first) = rest.next() {
        let mut take = |wanted: fn(char) -> bool| {
            let mut taken = String::from(first);
            while let Some(next) = rest.next_if(|&next| wanted(next)) {
                taken.push(next);
            }
            taken
        };
        match first {
            _ if first.is_whitespace() => {}
            'a'..='z' | 'A'..='Z' | '_' | ':' => {
                tokens.push(Token::Word(take(|next| next.is_ascii_alphanumeric() || "_:".contains(next))));
            }
            '0'..='9' | '$' => {
                take(|next| next.is_ascii_alphanumeric() || "_.".contains(next));
                tokens.push(Token::Number);
            }
            '"' | '\'' | '`' => {
                while let Some(next) = rest.next() {
                    if next == '\\' && first != '`' {
                        rest.next();
                    } else if next == first {
                        break;
                    }
                }
                tokens.push(Token::Text);
            }
            _ => {
                assert!("(){}[],+-*/%^=!<>~@".contains(first), "{first} is unknown in {text}");
                tokens.push(Token::Sign(first));
            }
        }
    }
    tokens
}

#[test]
fn a_query_is_read_as_prometheus_does() {
    let text = r#"sum by (a, le) (rate(m:x_total{l=~"}(by", n!='it\'s'}[$__rate_interval])) > bool 1.5e3
        and on (b) (count without (c) (up) or time() - other offset 5m) unless ignoring () ALERTS{k="v"} == 0"#;
    let query = read(text);
    let selected = |selector: &Selector| {
        format!("{} {}", selector.metric, selector.labels.iter().cloned().collect::<Vec<_>>().join(","))
    };
    let selected: Vec<_> = query.selectors.iter().map(selected).collect();
    assert_eq!(selected, ["m:x_total l,n", "up ", "other ", "ALERTS k"]);
    let groupings: Vec<_> = query.groupings.iter().map(|grouping| &*grouping.word).collect();
    assert_eq!(groupings, ["by", "on", "without", "ignoring"]);
    assert_eq!(query.groupings[0].labels, BTreeSet::from(["a".to_owned(), "le".to_owned()]));
    assert_eq!(query.groupings[0].inside, [0]);
    assert_eq!(query.groupings[1].inside, [0usize; 0]);
    assert_eq!(query.groupings[2].inside, [1]);
}
