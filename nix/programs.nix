# Which package has the programs that scripts and tests call, beside those that every shell of Nix has (bash, coreutils, …).
# `scripts/lint-shipping programs` fails when they call one that is not here; the check `programs`, when a package lacks it.
{ pkgs }:
let
  postgresql = pkgs.postgresql_17;
in
{
  cargo = pkgs.cargo;
  chromium = pkgs.chromium;
  createdb = postgresql;
  curl = pkgs.curl;
  flock = pkgs.util-linuxMinimal;
  git = pkgs.git;
  helm = pkgs.kubernetes-helm;
  initdb = postgresql;
  jq = pkgs.jq;
  kind = pkgs.kind;
  kubectl = pkgs.kubectl;
  node = pkgs.nodejs;
  npm = pkgs.nodejs;
  npx = pkgs.nodejs;
  openssl = pkgs.openssl;
  pg_ctl = postgresql;
  pg_isready = postgresql;
  pg_restore = postgresql;
  prometheus = pkgs.prometheus;
  promtool = pkgs.lib.getOutput "cli" pkgs.prometheus;
  psql = postgresql;
  python3 = pkgs.python3;
  sqlite3 = pkgs.sqlite;
  syft = pkgs.syft;
}
