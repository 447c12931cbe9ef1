#!/usr/bin/env bash
# Records which bytes the planned launches change on this machine's GPU.
#
#   scripts/truth/record.sh [OUTPUT] [recorder options]     (default: fixtures/truth/h200-launches.json)
#
# Needs a driver, the fixtures and fixtures/truth/plan.jsonl; no toolkit, no Node, no network.
# RECORDER  the recorder's binary  (default: native/truth/gcr-truth, built with g++ when it is missing or does not start)
# PLAN      the launch plan        (default: fixtures/truth/plan.jsonl)
#
#   scripts/truth/record.sh --build       only builds the binary, to be carried elsewhere
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
recorder=${RECORDER:-$root/native/truth/gcr-truth}
plan=${PLAN:-$root/fixtures/truth/plan.jsonl}

build() {
  echo "record: building $(basename "$recorder")" >&2
  "${CXX:-g++}" -std=c++20 -O2 -Wall -Wextra -static-libstdc++ -static-libgcc -Wl,--gc-sections -I"$root/native" \
    "$root"/native/truth/*.cpp "$root/native/driver/driver.cpp" -ldl -o "$recorder"
}

# Without arguments the recorder tells its usage and ends with 64; anything else means that it does not run here.
starts() {
  local status=0
  "$recorder" >/dev/null 2>&1 || status=$?
  [[ $status == 64 ]]
}

if [[ ${1:-} == --build ]]; then
  build
  exit
fi
starts || build
output=$root/fixtures/truth/h200-launches.json
if (($# > 0)) && [[ $1 != --* ]]; then
  output=$1
  shift
fi
[[ -f $plan ]] || {
  echo "record: no plan $plan: make it with 'npm run build && node scripts/truth/plan.mjs'" >&2
  exit 66
}
"$recorder" "$plan" "$root" "$output" "$@"
ls -l "$output" >&2
