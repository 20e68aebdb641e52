#!/usr/bin/env bash
# Makes a root of the next Debian, with its RabbitMQ and PostgreSQL, for the tests to start servers out of (`BUSBAR_TESTS_ROOT`).
# The first time it takes three minutes and 600 MB. Where it cannot be had (not root, no network) it says NOT CHECKED and ends with 1.
#   tests/trixie.sh FOLDER
set -uo pipefail

root="$1"
log="$root.log"
# Where this machine has its own packages from; where that cannot be told, debootstrap knows a mirror.
mirror="$(apt-get indextargets --format '$(SITE)' 2>/dev/null | grep '/debian/\?$' | head -n 1)"
[ -e "$root/usr/lib/rabbitmq/bin/rabbitmq-server" ] && exit 0

give_up() {
  echo "NOT CHECKED: no root of Debian 13 here ($1), so RabbitMQ 4 and PostgreSQL 17 are left out"
  exit 1
}

[ "$(id -u)" = 0 ] || give_up "it takes root to make and to enter one"
unshare --mount true 2>/dev/null || give_up "no mount namespaces"
mkdir -p "$(dirname "$root")"
command -v debootstrap >/dev/null || apt-get install -y --no-install-recommends debootstrap >"$log" 2>&1 || give_up "no debootstrap; see $log"
rm -rf "$root.new"
if ! debootstrap --variant=minbase --include=rabbitmq-server,postgresql-17 trixie "$root.new" ${mirror:+"$mirror"} >"$log" 2>&1; then
  rm -rf "$root.new"
  give_up "debootstrap failed; see $log"
fi
rm -rf "$root.new"/var/cache/apt/archives/*.deb "$root.new"/usr/share/{doc,locale,man}
mv "$root.new" "$root"
