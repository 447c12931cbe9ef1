#!/usr/bin/env bash
# Programs under the recorder on a real GPU: the same results as without it, checkpoints of all kinds on the way, and nothing left
# behind. Needs a driver; PyTorch for its part, which is left out without it. Ends with "N passed, N failed".
#
#   scripts/gpu/check.sh       in a clone that is built, or in an unpacked bundle (scripts/gpu/bundle.sh)
set -u
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
node=$root/node
[[ -x $node ]] || node=node
gcr() { "$node" "$root/bin/gcr-templates.js" "$@"; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
passed=0 failed=0
expect() { # NAME COMMAND…
  local name=$1
  shift
  if "$@" >"$work/log" 2>&1; then passed=$((passed + 1)) && echo "ok      $name"; else
    failed=$((failed + 1)) && echo "FAILED  $name" && tail -n 5 "$work/log"
  fi
}
pid_of() { for _ in $(seq 100); do
  local pid
  pid=$(gcr ps --json | sed -n 's/.*"pid": *\([0-9]*\).*/\1/p' | head -n 1)
  [[ -n $pid ]] && echo "$pid" && return
  sleep 0.2
done; }
same() { cmp "$1" "$2"; }
off_device() { ! nvidia-smi --query-compute-apps=pid --format=csv,noheader | grep -qx "$1"; }

# Without and with the recorder; then with checkpoints while it runs, by a command that takes its time.
compare() { # NAME QUICK… -- SLOW…
  local name=$1 quick=() slow=()
  shift
  while [[ $1 != -- ]]; do quick+=("$1") && shift; done
  shift
  slow=("$@")
  timeout 120 "${quick[@]}" >"$work/plain" 2>"$work/plain.err"
  expect "$name: runs recorded" gcr run --store "$work/none" -- "${quick[@]}"
  timeout 120 "$node" "$root/bin/gcr-templates.js" run --store "$work/none" -- "${quick[@]}" >"$work/recorded" 2>"$work/recorded.err"
  expect "$name: the same result recorded" same "$work/plain" "$work/recorded"
  grep -h seconds "$work/plain.err" "$work/recorded.err" | paste -sd ' '
  local store=$work/store-$name
  timeout 120 "${slow[@]}" >"$work/plain"
  timeout 240 "$node" "$root/bin/gcr-templates.js" run --store "$store" -- "${slow[@]}" >"$work/recorded" 2>"$work/recorded.err" &
  local run=$! pid
  pid=$(pid_of)
  sleep 8
  expect "$name: full checkpoint" gcr checkpoint --pid "$pid" --full
  expect "$name: increment, all memory compared" gcr checkpoint --pid "$pid" --incremental --verify
  cat "$work/log"
  expect "$name: another increment" gcr checkpoint --pid "$pid" --incremental
  cat "$work/log"
  expect "$name: suspend" gcr suspend --pid "$pid"
  expect "$name: nothing of it on the device" off_device "$pid"
  expect "$name: resume" gcr resume --pid "$pid"
  expect "$name: checkpoint with control state" gcr checkpoint --pid "$pid" --control
  cat "$work/log"
  expect "$name: suspend, keeping the context" gcr suspend --pid "$pid" --keep-context
  expect "$name: resume" gcr resume --pid "$pid"
  wait "$run"
  expect "$name: the same result after all that" same "$work/plain" "$work/recorded"
  expect "$name: every checkpoint can be restored" gcr verify "$store" --read-data
}

for app in streams graphs pools pointers threads variables training; do
  program=$root/build/native/apps/$app
  compare "$app" "$program" --steps 50 -- "$program" --steps 120 --sleep 100
done
if python3 -c 'import torch; torch.zeros(1).cuda()' 2>/dev/null; then
  compare pytorch python3 "$root/scripts/gpu/train.py" 300 -- python3 "$root/scripts/gpu/train.py" 400 0.05
else echo "no PyTorch with a GPU: its part is left out"; fi
echo "$passed passed, $failed failed"
((failed == 0))
