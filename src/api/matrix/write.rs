//! The matrix as it is written: the targets once, when they are read, and the answers of those texts. It is the largest answer
//! there is, and most of it is the same each time.

use std::io::{self, Write as _};

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{MatrixEnvironment, OccupantView};
use crate::{
    api::types::{Nullable, Time},
    domain::{
        matrix::{Part, Target},
        target::Occupied,
    },
    pieces::{PieceWriter, Pieces},
    usecase::matrix::{Shown, Writer},
};

/// How the API writes a matrix.
pub const WRITER: Writer = Writer { target, sheet };

/// A `MatrixTarget` up to how far it is behind.
#[derive(Serialize)]
struct Occupants<'a> {
    environment: &'a str,
    current: Nullable<OccupantView>,
    running: Nullable<OccupantView>,
}

impl Occupants<'_> {
    fn write(&self) -> serde_json::Result<String> {
        let mut text = serde_json::to_string(self)?;
        // The brace at the end: another member follows.
        text.pop();
        Ok(text)
    }
}

fn target(occupied: Occupied) -> serde_json::Result<String> {
    let (current, running) = (occupied.current.map(Into::into), occupied.running.map(Into::into));
    let occupants = Occupants {
        environment: &occupied.environment,
        current: Nullable(current),
        running: Nullable(running),
    };
    occupants.write()
}

/// A `MatrixView`, member by member.
fn sheet(part: &Part<'_, Shown>, at: DateTime<Utc>, next: Option<&str>) -> io::Result<Pieces> {
    let environments: Vec<_> = part.columns.iter().map(|column| MatrixEnvironment::from(*column)).collect();
    let vacant = part.columns.iter().map(|column| {
        let none = Occupants { environment: &column.name, current: Nullable(None), running: Nullable(None) };
        none.write()
    });
    let vacant: Vec<_> = vacant.collect::<Result<_, _>>()?;
    let mut body = PieceWriter::default();
    body.write_all(b"{\"as_of\":")?;
    serde_json::to_writer(&mut body, &Time(at))?;
    body.write_all(b",\"environments\":")?;
    serde_json::to_writer(&mut body, &environments)?;
    body.write_all(b",\"services\":[")?;
    for (index, row) in part.rows.iter().enumerate() {
        body.write_all(if index == 0 { b"{\"name\":".as_slice() } else { b",{\"name\":" })?;
        serde_json::to_writer(&mut body, &row.service.name)?;
        body.write_all(b",\"targets\":[")?;
        for (index, (Target { shown, behind, .. }, vacant)) in part.targets(row).zip(&vacant).enumerate() {
            body.write_all(if index == 0 { b"".as_slice() } else { b"," })?;
            body.write_all(shown.map_or(vacant.as_bytes(), |shown| shown.text.as_bytes()))?;
            body.write_all(b",\"behind\":")?;
            match behind {
                Some(behind) => write!(body, "{behind}}}")?,
                None => body.write_all(b"null}")?,
            }
        }
        body.write_all(b"]}")?;
    }
    body.write_all(b"],\"next_cursor\":")?;
    serde_json::to_writer(&mut body, &next)?;
    body.write_all(b"}")?;
    Ok(body.finish())
}
