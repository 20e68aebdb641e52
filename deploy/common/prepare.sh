#!/usr/bin/env bash
# Makes sure that adapters can be built here: the wasm target, in the three ways of `busbar adapter build`.
#   deploy/common/prepare.sh          the wasm target
#   deploy/common/prepare.sh tests    also RabbitMQ, PostgreSQL, OpenLDAP and Samba, which the tests start for themselves,
#                                     what checks XML, makes certificates, and runs what is written in Python, JavaScript
#                                     and Java, and a browser for the console. Go 1.23 is taken where it is: Debian's may be
#                                     older, and the tests say so.
# Installs Debian packages when it is root; otherwise says exactly what to install.
set -euo pipefail

say() { printf '%s\n' "$*" >&2; }

if ! command -v cargo >/dev/null; then
  say "cargo is missing. Install Rust 1.95 or newer: https://rustup.rs, or your distribution's packages."
  exit 1
fi

target=wasm32-unknown-unknown
missing=()
command -v cc >/dev/null || missing+=(build-essential)

has_target() { [ -d "$(rustc --print sysroot)/lib/rustlib/$target/lib" ]; }
has_debian() { [ -x /usr/bin/cargo ] && [ -d "$(/usr/bin/rustc --print sysroot 2>/dev/null)/lib/rustlib/src/rust/library/std" ]; }

if has_target; then
  say "wasm target: there"
elif command -v rustup >/dev/null && rustup target add "$target" >/dev/null 2>&1 && has_target; then
  say "wasm target: added with rustup"
elif has_debian; then
  say "wasm target: built by Debian's rustc-web"
else
  missing+=(rustc-web cargo-web rust-web-src)
fi

if [ "${1:-}" = tests ]; then
  [ -x /usr/lib/rabbitmq/bin/rabbitmq-server ] || missing+=(rabbitmq-server)
  ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || missing+=(postgresql)
  command -v xmllint >/dev/null || missing+=(libxml2-utils)
  command -v openssl >/dev/null || missing+=(openssl)
  command -v curl >/dev/null || missing+=(curl)
  python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
  { command -v node && command -v npm; } >/dev/null || missing+=(nodejs npm)
  { [ -x /usr/sbin/slapd ] && command -v ldapsearch; } >/dev/null || missing+=(slapd ldap-utils)
  { command -v samba && command -v ldbsearch && [ -d /usr/share/samba/setup ] && ls /usr/lib/*/samba/vfs/acl_xattr.so; } >/dev/null 2>&1 ||
    missing+=(samba-ad-dc samba-ad-provision ldb-tools)
  { command -v javac && command -v mvn; } >/dev/null || missing+=(default-jdk-headless maven)
  command -v chromium >/dev/null || missing+=(chromium fonts-dejavu-core)
fi

[ ${#missing[@]} -eq 0 ] && exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
  say "missing: ${missing[*]}"
  say "install them as root, then run this again:  apt-get install --no-install-recommends ${missing[*]}"
  exit 1
fi
say "installing ${missing[*]} (a minute or two)"
export DEBIAN_FRONTEND=noninteractive
# Packaged services must not start by themselves: whoever needs one starts its own.
log=$(mktemp)
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod +x "$policy"
  trap 'rm -f "$policy"' EXIT
fi
if ! { apt-get update && apt-get install -y --no-install-recommends "${missing[@]}"; } >"$log" 2>&1; then
  tail -20 "$log" >&2
  say "installing failed; the whole output is in $log"
  exit 1
fi
rm -f "$log"
