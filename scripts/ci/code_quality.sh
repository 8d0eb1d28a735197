#!/usr/bin/env bash
# Turns `cargo clippy --message-format=json` on standard input into GitLab's code quality report.
set -euo pipefail

jq --slurp '
  def severity: {error: "major", warning: "minor"}[.] // "info";
  [.[]
   | select(.reason == "compiler-message").message
   | select(.spans | any(.is_primary))
   | (.spans | map(select(.is_primary)) | first) as $span
   | {description: .message,
      check_name: (.code.code // "rustc"),
      severity: (.level | severity),
      location: {path: $span.file_name, lines: {begin: $span.line_start}}}]
  | unique
  # The same fault on another line is the same fault; a second one in the same file is told apart by its number.
  | group_by([.check_name, .location.path, .description])
  | map(to_entries[] | .value + {fingerprint: ([.value.check_name, .value.location.path, .value.description, .key]
                                               | map(tostring) | join("|") | @base64)})'
