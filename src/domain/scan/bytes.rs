//! The bytes of a report: how its text is encoded, and what it is where it is no JSON.

use std::borrow::Cow;

use serde::de::IgnoredAny;

use crate::domain::scan::{Unreadable, unread::REMEDY};

/// So much of what is no JSON is looked at.
const LOOK: usize = 65_536;

/// A report as UTF-8, without a byte order mark: what `>` of `PowerShell` writes is UTF-16.
pub(super) fn utf8(report: &[u8]) -> Result<Cow<'_, [u8]>, Unreadable> {
    match report {
        [0xef, 0xbb, 0xbf, rest @ ..] => Ok(Cow::Borrowed(rest)),
        [0xff, 0xfe, rest @ ..] => utf16(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => utf16(rest, u16::from_be_bytes),
        [b'{' | b'[', 0, ..] => utf16(report, u16::from_le_bytes),
        [0, b'{' | b'[', ..] => utf16(report, u16::from_be_bytes),
        _ => Ok(Cow::Borrowed(report)),
    }
}

fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Result<Cow<'_, [u8]>, Unreadable> {
    let (pairs, rest) = bytes.as_chunks::<2>();
    let text: Result<String, _> = char::decode_utf16(pairs.iter().copied().map(unit)).collect();
    match text {
        Ok(text) if rest.is_empty() => Ok(Cow::Owned(text.into_bytes())),
        Ok(_) | Err(_) => Err(Unreadable::NotJson("it is UTF-16 with a broken character in it".to_owned())),
    }
}

/// Why a report that is no JSON is none, and what to do; `fault` is what the parser says.
pub(super) fn why_no_json(report: &[u8], fault: &serde_json::Error) -> String {
    let text = report.trim_ascii();
    let look = text.get(..LOOK).unwrap_or(text);
    if text.is_empty() {
        return "it is empty: the tool has written nothing, perhaps because it failed".to_owned();
    }
    if let Some(packed) = packed(report) {
        return format!("it is compressed ({packed}); unpack it first");
    }
    if let Some(what) = what(&String::from_utf8_lossy(look)) {
        return format!("it is {what}, and no JSON; {REMEDY}");
    }
    if !text.starts_with(b"{") && !text.starts_with(b"[") {
        let has_json = look.split(|byte| *byte == b'\n').any(|line| line.starts_with(b"{"));
        let log = "it begins with text that is no JSON, such as the tool's log; send what the tool writes to its standard output \
                   alone, without `2>&1`";
        return if has_json { log.to_owned() } else { format!("it is no JSON ({fault}); {REMEDY}") };
    }
    let mut documents = serde_json::Deserializer::from_slice(text).into_iter::<IgnoredAny>();
    if documents.next().is_some_and(|first| first.is_ok()) {
        return "it is several JSON documents, one after the other; send each report by itself".to_owned();
    }
    if fault.is_eof() {
        return format!("it is cut off ({fault}); was all of it written?");
    }
    format!("it is no JSON ({fault})")
}

fn packed(report: &[u8]) -> Option<&'static str> {
    const PACKED: [(&[u8], &str); 5] = [
        (b"\x1f\x8b", "gzip"),
        (b"\x28\xb5\x2f\xfd", "zstd"),
        (b"PK\x03\x04", "zip"),
        (b"BZh", "bzip2"),
        (b"\xfd7zXZ", "xz"),
    ];
    PACKED.iter().find(|(magic, _)| report.starts_with(magic)).map(|(_, name)| *name)
}

/// What a text is that is known and is no JSON.
fn what(text: &str) -> Option<&'static str> {
    let lower = text.get(..4096).unwrap_or(text).to_ascii_lowercase();
    let first = lower.lines().next().unwrap_or_default();
    Some(if lower.starts_with("<!doctype html") || lower.starts_with("<html") {
        "a page of HTML, as a proxy or a sign-in page answers it, or a template writes it"
    } else if lower.starts_with('<') && lower.contains("cyclonedx.org/schema/bom") {
        "a CycloneDX document in XML"
    } else if lower.starts_with('<') && lower.contains("<testsuite") {
        "a JUnit report"
    } else if lower.starts_with('<') {
        "XML"
    } else if first.starts_with("spdxversion:") {
        "an SPDX document"
    } else if first.starts_with("version https://git-lfs") {
        "a pointer of Git LFS in place of the file (`git lfs pull` fetches that)"
    } else if first.contains("installed") && first.contains("vulnerability") && first.contains("severity") {
        "the table that Grype writes without `--output json`"
    } else if text.contains("┌─") || text.contains("(UNKNOWN: ") || text.contains("Report Summary") {
        "the table that Trivy writes without `--format json`"
    } else if first.starts_with("---") || first.starts_with("apiversion:") {
        "YAML"
    } else {
        return None;
    })
}
