#!/usr/bin/env bash
# Everything that must hold: format, lints, licences and advisories, all tests. Installs what is missing
# as root, or says what to install. Needs no running service: the tests start their own and stop them.
#   tests/run.sh [filter]     only tests whose name contains the filter, without format and lints
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
cd "$root"
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$root/target}"
export BUSBAR_PLUGINS_TARGET_DIR="${BUSBAR_PLUGINS_TARGET_DIR:-$root/plugins/target}"
tools="${BUSBAR_TOOLS_DIR:-$CARGO_TARGET_DIR/tools}"
deny_version=0.20.2
tarpaulin_version=0.37.5
filter="${1:-}"
begun=$SECONDS

step() { printf '\n== [%4d s] %s\n' "$((SECONDS - begun))" "$1"; }

step "what the tests need"
deploy/common/prepare.sh tests

step "servers and libraries of others that the tests talk to (the first time a minute)"
peers="$tools/peers"
tests/fixtures/peers/install.sh "$peers"
export BUSBAR_PEERS="$peers"

step "a root of Debian 13, with RabbitMQ 4 and PostgreSQL 17 (the first time three minutes)"
trixie="$tools/trixie"
tests/trixie.sh "$trixie" || trixie=

if [ -z "$filter" ]; then
  step "format"
  cargo fmt --all --check
  (cd plugins && cargo fmt --all --check)
fi

step "build (the first time about ten minutes)"
cargo build --locked --workspace --all-targets
busbar="$CARGO_TARGET_DIR/debug/busbar"
if [ -z "$filter" ]; then
  step "the hub as users get it, which all that follows is run with (the first time another ten minutes)"
  cargo build --locked --release --package busbar-server --bin busbar
  busbar="$CARGO_TARGET_DIR/release/busbar"
  export BUSBAR_TEST_BINARY="$busbar"
fi

step "adapters (the first time about two minutes)"
"$busbar" adapter build --all
"$busbar" adapter build hostile --plugins tests/fixtures/hostile

if [ -z "$filter" ]; then
  step "lints (the first time about five minutes)"
  cargo clippy --locked --workspace --all-targets -- -D warnings
  cargo clippy --locked --package busbar-core --features simulation --all-targets -- -D warnings
  (cd plugins && CARGO_TARGET_DIR="$BUSBAR_PLUGINS_TARGET_DIR" cargo clippy --locked --workspace --all-targets -- -D warnings)

  step "licences, sources, advisories"
  if ! "$tools/bin/cargo-deny" --version 2>/dev/null | grep -q " $deny_version$"; then
    CARGO_PROFILE_RELEASE_OPT_LEVEL=0 CARGO_PROFILE_RELEASE_LTO=off CARGO_TARGET_DIR="$tools/target" \
      cargo install --quiet cargo-deny --version "$deny_version" --locked --root "$tools"
    rm -rf "$tools/target"
  fi
  for manifest in Cargo.toml plugins/Cargo.toml; do
    "$tools/bin/cargo-deny" --manifest-path "$manifest" --config deny.toml --log-level error check bans licenses sources
    # The database of advisories comes over the network; without it this is not checked, and says so.
    if ! timeout 120 "$tools/bin/cargo-deny" --manifest-path "$manifest" --config deny.toml --log-level error check advisories >"$tools/advisories.log" 2>&1; then
      if grep -q 'failed to fetch advisory database' "$tools/advisories.log"; then
        echo "NOT CHECKED: advisories for $manifest, the database cannot be fetched from here"
      else
        cat "$tools/advisories.log"
        exit 1
      fi
    fi
  done

  step "adapters' own tests"
  (cd plugins && CARGO_TARGET_DIR="$BUSBAR_PLUGINS_TARGET_DIR" cargo test --locked --workspace)
  step "adapters' cases, through the real components"
  "$busbar" adapter test
  step "adapters, fed with damaged inputs: 10,000 each (more by hand: busbar adapter fuzz --seconds 60)"
  "$busbar" adapter fuzz --inputs 10000 --seed "$(date +%j)" --out "$CARGO_TARGET_DIR/fuzz"
fi

# By itself, so that nothing else is built with its broken rules.
simulation() {
  cargo test --locked --release --package busbar-core --features simulation --test simulation -- "$@"
}

# Of what decides about deliveries: fewer lines than 95 of a hundred are a failure. Broken rules are lines as well, and run as such.
coverage() {
  if ! "$tools/bin/cargo-tarpaulin" --version 2>/dev/null | grep -q " $tarpaulin_version$"; then
    CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_LTO=off CARGO_TARGET_DIR="$tools/target" \
      cargo install --quiet cargo-tarpaulin --version "$tarpaulin_version" --locked --root "$tools"
    rm -rf "$tools/target"
  fi
  BUSBAR_SIM_SEEDS=2000 "$tools/bin/cargo-tarpaulin" tarpaulin --engine llvm --timeout 900 --locked --skip-clean --target-dir "$CARGO_TARGET_DIR/coverage" \
    --package busbar-core --features simulation --test simulation --fail-under 95 --out Stdout \
    --include-files 'host/core/src/commit*' 'host/core/src/commit/*' 'host/core/src/engine*' 'host/core/src/engine/*' \
    'host/core/src/record.rs' 'host/core/src/lanes.rs'
}

if [ -n "$filter" ]; then
  step "tests"
  cargo test --locked --workspace -- "$filter"
  simulation "$filter"
else
  step "tests"
  cargo test --locked --workspace -- --skip faults:: --skip hostile::neighbours --skip judges::
  if [ -n "$trixie" ]; then
    # What the servers' versions can change: both contracts, what is said in headers, limits, alarms and policies, a client of AMQP 1.0.
    step "the same on RabbitMQ 4 and PostgreSQL 17: contracts, flows over the broker"
    BUSBAR_TESTS_ROOT="$trixie" cargo test --locked --workspace --test it -- contracts::transport contracts::store::in_postgres \
      flows::alarm flows::amqp flows::aside flows::attributes flows::limits flows::policies judges::one
  fi
  step "judges: libraries of others write what is read here, and read what is written here"
  cargo test --locked --workspace --test it -- judges:: --nocapture
  step "simulation: every promise over 100,000 seeds, and every broken rule noticed"
  simulation --nocapture
  step "how much of the rules that is, line by line (the first time five minutes)"
  coverage
  # One after another: they measure, and use the whole machine.
  step "neighbours of hostile adapters, and faults on real servers"
  cargo test --locked --workspace --test it -- hostile::neighbours faults:: --nocapture --test-threads=1
  if [ -n "$trixie" ]; then
    step "20,000 payments through RabbitMQ 4 and PostgreSQL 17"
    BUSBAR_TESTS_ROOT="$trixie" cargo test --locked --workspace --test it -- faults::payments::two_hubs --nocapture --test-threads=1
  fi
fi

printf '\ntests/run.sh: all passed in %d s\n' "$((SECONDS - begun))"
