//! Results that could not be put on record when they were due: kept in files, which `waybill deploy report` sends later. A
//! file holds no secret, and the idempotency key under which it was tried before, so that it counts once however often it
//! is sent.

use std::{
    env, fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::body::{EndBody, FinishBody, RecordBody};
use crate::{
    cli::{
        client::{call::Call, error::Error},
        input,
    },
    clock,
    domain::vocabulary::Outcome,
};

/// The most bytes of a file that are looked at; a body with a thousand commits has less.
const LENGTH_MAX: u64 = 1024 * 1024;

/// How a deployment came out, ready to be sent.
#[derive(Debug, Serialize, Deserialize)]
pub struct Report {
    idempotency_key: Uuid,
    #[serde(flatten)]
    result: Told,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Told {
    /// How a deployment ended that Waybill knows.
    Finish { deployment: String, status: Outcome, message: Option<String> },
    /// A deployment that went on without the gate: the body that puts it on record.
    Record(Value),
}

impl Report {
    pub fn finish(deployment: &str, status: Outcome, message: Option<String>) -> Self {
        Self::of(Told::Finish { deployment: deployment.to_owned(), status, message })
    }

    pub fn record(body: &RecordBody<'_>) -> Result<Self, Error> {
        Ok(Self::of(Told::Record(serde_json::to_value(body)?)))
    }

    /// The same with this end, where it is of a deployment that only its file tells of. It is another report, since what it
    /// was may be on record.
    pub fn ended(self, end: &EndBody) -> Result<Option<Self>, Error> {
        let Told::Record(mut body) = self.result else { return Ok(None) };
        if let (Some(members), Value::Object(end)) = (body.as_object_mut(), serde_json::to_value(end)?) {
            members.extend(end);
        }
        Ok(Some(Self::of(Told::Record(body))))
    }

    fn of(result: Told) -> Self {
        Self { idempotency_key: clock::new_id(), result }
    }

    /// Whether it is about a deployment that may have ended otherwise in the meantime.
    pub fn may_be_late(&self) -> bool {
        matches!(self.result, Told::Finish { .. })
    }

    pub fn call(&self) -> Result<Call, Error> {
        let call = match &self.result {
            Told::Finish { deployment, status, message } => {
                let body = FinishBody { status: *status, message: message.as_deref() };
                Call::post(&["deployments", deployment, "finish"], &body)?
            }
            Told::Record(body) => Call::post(&["deployments", "record"], body)?,
        };
        Ok(Call { key: Some(self.idempotency_key), ..call })
    }

    /// Reads a file that was kept, or the standard input where it is named `-`.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let mut text = Vec::new();
        let read = input::open(path).and_then(|file| file.take(LENGTH_MAX).read_to_end(&mut text));
        read.map_err(|error| Error::Usage(format!("cannot read {}: {error}", path.display())))?;
        serde_json::from_slice(&text).map_err(|error| {
            Error::Usage(format!(
                "{} is not a report that `waybill deploy` has left: {error}",
                path.display()
            ))
        })
    }

    pub fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// Where a report is kept: in the current folder, which a pipeline can keep as an artefact, else in that for temporary files.
#[derive(Debug)]
pub struct ReportFile {
    name: String,
    path: Option<PathBuf>,
}

impl ReportFile {
    /// A name that nobody else has; nothing is written yet.
    pub fn new() -> Self {
        Self { name: format!("waybill-report-{}.json", clock::new_id()), path: None }
    }

    /// The file that a report was read from.
    pub fn at(path: &Path) -> Self {
        Self { name: path.display().to_string(), path: Some(path.to_owned()) }
    }

    /// Writes the report, in the place of what it held before.
    pub fn write(&mut self, report: &Report) -> io::Result<&Path> {
        let here = env::current_dir().unwrap_or_default();
        let (path, other) = (here.join(&self.name), env::temp_dir().join(&self.name));
        let written = write(&path, report).map(|()| path);
        let path = written.or_else(|error| write(&other, report).map(|()| other).map_err(|_same| error))?;
        Ok(self.path.insert(path))
    }

    /// What it held is on record.
    pub fn remove(self) {
        if let Some(path) = self.path {
            fs::remove_file(path).ok();
        }
    }
}

/// Whole or not at all.
fn write(path: &Path, report: &Report) -> io::Result<()> {
    let new = path.with_extension("new");
    fs::write(&new, format!("{}\n", report.text()))?;
    fs::rename(&new, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_kept_is_sent_as_it_was_under_the_same_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report.json");
        let report = Report::finish("01a1", Outcome::Failed, Some("the command ended".into()));
        write(&path, &report).unwrap();
        let (first, again) = (report.call().unwrap(), Report::read(&path).unwrap().call().unwrap());
        assert_eq!((first.key, &first.path, &first.body), (again.key, &again.path, &again.body));
        assert_eq!(again.path, ["deployments", "01a1", "finish"]);
    }

    #[test]
    fn what_is_no_report_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("other.json");
        fs::write(&path, r#"{"idempotency_key": "01a1fcc8-d70b-76fa-a210-d5bb2b1459fe"}"#).unwrap();
        for path in [path.as_path(), Path::new("/nonexistent/report.json")] {
            let error = Report::read(path).unwrap_err();
            assert!(
                matches!(error, Error::Usage(_)) && error.to_string().contains(path.to_str().unwrap()),
                "{error}"
            );
        }
    }
}
