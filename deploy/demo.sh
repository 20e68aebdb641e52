#!/usr/bin/env bash
# Builds busbar and its adapters and plays the demo, or the story of an example deployment:
#   deploy/demo.sh                    further arguments go to busbar-demo, e.g. --stay
#   deploy/demo.sh grid-company
#   deploy/demo.sh energy-retailer
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
cd "$root"
target="${CARGO_TARGET_DIR:-$root/target}"
started=$SECONDS
deployment=demo
play=()
case "${1:-}" in
  grid-company | energy-retailer)
    deployment="$1"
    play=(story "$1")
    shift
    ;;
esac

step() {
  printf '\n== %s\n' "$1"
}

if ! command -v cargo >/dev/null && [[ -x "$HOME/.cargo/bin/cargo" ]]; then
  PATH="$HOME/.cargo/bin:$PATH"
fi
if ! command -v cargo >/dev/null; then
  echo "deploy/demo.sh: cargo is not installed. Install a Rust toolchain (https://rustup.rs):" >&2
  echo "  curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh" >&2
  exit 2
fi

step "1/4 The adapters' compile target (the first time up to a minute, later nothing)"
deploy/common/prepare.sh

step "2/4 The hub and the demo (the first time about six minutes on two cores, later seconds)"
cargo build --locked --bin busbar --bin busbar-demo

step "3/4 The deployment's adapters (the first time half a minute, later seconds)"
"$target/debug/busbar" adapter build --for "deploy/$deployment"

built=$((SECONDS - started))
step "4/4 The demo (a few seconds)"
code=0
"$target/debug/busbar-demo" --busbar "$target/debug/busbar" --deployment "deploy/$deployment" "$@" ${play[@]+"${play[@]}"} || code=$?

result="failed with exit code $code"
if ((code == 0)); then
  result="passed"
fi
printf '\ndeploy/demo.sh: the demo %s; prepared and built in %d s, played in %d s.\n' \
  "$result" "$built" "$((SECONDS - started - built))"
exit "$code"
