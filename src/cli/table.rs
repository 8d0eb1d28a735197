//! Tables without lines. In a terminal no word is broken, and so no id: cells wrap between words, and the columns for which
//! there is no room, which are the least important, stand below their row.

use std::iter;

use comfy_table::{ColumnConstraint, Table, Width, presets};

use super::output::HEADER;
use crate::visible;

/// What is between two columns.
const GAP: u16 = 2;
/// How far what stands below a row is moved in.
const INDENT: &str = "  ";
/// Stands between what is not to be parted, until it is printed.
const NO_BREAK: &str = "\u{a0}";

/// A table, its header in bold; as wide as it likes where there is no `width`.
pub fn table(header: &[impl AsRef<str>], rows: &[impl AsRef<[String]>], width: Option<u16>) -> String {
    // Spelled out here and not when the table is written, because what is spelled out takes more room.
    let spelled = |cell: &str| with_times_whole(&visible::styled(cell));
    let header: Vec<_> = header.iter().map(|cell| spelled(cell.as_ref())).collect();
    let rows: Vec<Vec<_>> =
        rows.iter().map(|row| row.as_ref().iter().map(|cell| spelled(cell)).collect()).collect();
    let widest = |shape: fn(&str) -> String| {
        let all = iter::once(&header).chain(&rows);
        let mut table = Table::new();
        table.add_rows(all.map(|row| row.iter().map(|cell| shape(cell)).collect::<Vec<_>>()));
        table.column_max_content_widths()
    };
    let whole = widest(str::to_owned);
    let widths = match width {
        Some(width) => fit(&widest(one_word_a_line), &whole, width),
        None => whole,
    };
    let mut lines: Vec<_> =
        side_by_side(&header, &widths).into_iter().map(|line| format!("{HEADER}{line}{HEADER:#}")).collect();
    for row in &rows {
        lines.extend(side_by_side(row, &widths));
        let others = header.iter().zip(row).skip(widths.len()).filter(|(_, cell)| !cell.is_empty());
        let others: Vec<_> = others.map(|(name, cell)| format!("{name} {cell}")).collect();
        let room = usize::from(width.unwrap_or(u16::MAX)).saturating_sub(INDENT.len());
        lines.extend(packed(&others, room).into_iter().map(|line| format!("{INDENT}{line}")));
    }
    lines.join("\n").replace(NO_BREAK, " ")
}

/// A date and the time that follows it are one word.
fn with_times_whole(cell: &str) -> String {
    let is_date = |word: &str| word.len() == 10 && word.as_bytes().get(4) == Some(&b'-');
    let mut whole = String::with_capacity(cell.len());
    for word in cell.split_inclusive(' ') {
        match word.strip_suffix(' ').filter(|date| is_date(date)) {
            Some(date) => whole.extend([date, NO_BREAK]),
            None => whole.push_str(word),
        }
    }
    whole
}

/// The text in lines that are no longer than this, broken between words only.
pub fn wrapped(text: &str, room: usize) -> Vec<String> {
    joined(text.split_ascii_whitespace(), " ", room)
}

fn one_word_a_line(cell: &str) -> String {
    cell.replace(' ', "\n")
}

/// How wide each column is, of as many as there is room for without breaking a word; at least one. The room that is left
/// makes those whole that lack least.
fn fit(least: &[u16], whole: &[u16], width: u16) -> Vec<u16> {
    let mut used = 0_u16;
    let fitting = least.iter().take_while(|column| {
        used = used.saturating_add(column.saturating_add(GAP));
        used.saturating_sub(GAP) <= width
    });
    let shown = fitting.count().max(1);
    let mut widths: Vec<_> =
        least.iter().zip(whole).take(shown).map(|(least, whole)| (*least, *whole)).collect();
    let taken = widths.iter().fold(0_u16, |sum, (least, _)| sum.saturating_add(least.saturating_add(GAP)));
    let mut spare = width.saturating_sub(taken.saturating_sub(GAP));
    let mut by_lack: Vec<_> = widths.iter_mut().collect();
    by_lack.sort_by_key(|(has, whole)| whole.saturating_sub(*has));
    for (has, whole) in by_lack {
        let more = whole.saturating_sub(*has).min(spare);
        *has += more;
        spare -= more;
    }
    widths.into_iter().map(|(has, _)| has).collect()
}

/// The lines of one row.
fn side_by_side(cells: &[String], widths: &[u16]) -> Vec<String> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).add_row(cells.iter().take(widths.len()));
    for (column, width) in table.column_iter_mut().zip(widths) {
        let width = Width::Fixed(width.saturating_add(GAP));
        column.set_padding((0, GAP)).set_constraint(ColumnConstraint::Absolute(width));
    }
    table.trim_fmt().lines().map(str::to_owned).collect()
}

/// What is said one after the other, in lines; what is too long for one is broken between its words.
fn packed(parts: &[String], room: usize) -> Vec<String> {
    let short = parts.iter().flat_map(|part| wrapped(part, room)).collect::<Vec<_>>();
    joined(short.iter().map(String::as_str), INDENT, room)
}

fn joined<'a>(parts: impl Iterator<Item = &'a str>, gap: &str, room: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for part in parts {
        match lines.last_mut() {
            Some(line) if length(line) + length(gap) + length(part) <= room => {
                line.push_str(gap);
                line.push_str(part);
            }
            _ => lines.push(part.to_owned()),
        }
    }
    lines
}

fn length(text: &str) -> usize {
    text.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "01a1fdfc-4841-7356-b84e-af9f242da8e2";

    fn shown(width: Option<u16>) -> Vec<String> {
        let header = ["AT (UTC)", "SERVICE", "ENVIRONMENT", "VERSION", "FAILED", "ACTOR", "ID"];
        let row =
            ["2026-11-21 06:26:25", "shop", "production", "1.4.2+8f3c0ab1d2e4", "freeze, approval", "", ID];
        let text = table(&header, &[row.map(str::to_owned)], width);
        anstream::adapter::strip_str(&text).to_string().lines().map(str::to_owned).collect()
    }

    #[test]
    fn tables_have_no_trailing_space() {
        let header = ["A", "LONG"];
        let text = table(&header, &[["x", "one two three four"].map(str::to_owned)], None);
        assert_eq!(anstream::adapter::strip_str(&text).to_string(), "A  LONG\nx  one two three four");
        assert_eq!(shown(None).len(), 2);
    }

    #[test]
    fn no_word_and_no_id_is_broken_at_any_width_that_it_fits() {
        let whole = shown(None).join("\n");
        let words: Vec<_> = whole.split_whitespace().collect();
        for width in [40, 60, 80, 100, 130] {
            let lines = shown(Some(width));
            assert!(lines.iter().all(|line| length(line) <= usize::from(width)), "{width}: {lines:#?}");
            let text = lines.join("\n");
            let left: Vec<_> = text.split_whitespace().collect();
            assert!(words.iter().all(|word| left.contains(word) || *word == "ACTOR"), "{width}: {text}");
        }
    }

    #[test]
    fn what_has_no_room_stands_below_its_row_and_the_most_important_first() {
        let lines = shown(Some(80));
        assert!(lines[0].starts_with("AT (UTC)") && lines[0].contains("VERSION"), "{lines:#?}");
        assert_eq!(lines.last().map(String::as_str), Some(format!("  ID {ID}").as_str()), "{lines:#?}");
        assert!(lines[1].starts_with("2026-11-21 06:26:25  shop"), "a time is one word: {lines:#?}");
    }

    #[test]
    fn a_word_that_is_wider_than_the_terminal_is_left_to_it() {
        assert_eq!(shown(Some(10))[1].trim(), "2026-11-21 06:26:25");
        assert!(shown(Some(10)).contains(&format!("  {ID}")));
    }
}
