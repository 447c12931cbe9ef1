#!/usr/bin/env bash
# The cases of the simulated device on a real GPU: programs under the recorder give the same results as without it, checkpoints of all kinds on the
# way, and nothing left behind. Needs a driver; PyTorch for its part, which is left out without it. Ends with "N passed, N failed".
#
#   scripts/gpu/check.sh [PART…]      in a clone that is built, or in an unpacked bundle (scripts/gpu/bundle.sh)
#
#   scenarios   programs that use one part of the driver's interface each and check themselves (native/simdriver/test)
#   samples     the sample programs (fixtures/apps), all operations while they run
#   runtime     a program on the CUDA runtime, linked statically and shared
#   pytorch     decoding, training, graphs, torch.compile, expandable segments, cudaMallocAsync, streams
#   increments  more than a thousand increments, each compared with a copy of the memory that the program made, and rollbacks
set -u
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
parts=("$@")
((${#parts[@]})) || parts=(scenarios samples runtime pytorch increments)
if ! nvidia-smi >/dev/null 2>&1; then echo "no GPU here (nvidia-smi does not answer): nothing is checked" && exit 69; fi
node=$root/node
[[ -x $node ]] || node=node
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
apps=$root/build/native/apps

# Each case runs beside others, with sockets, store and report of its own in $own. Its report is printed when it is done.
begin() {
  own=$work/$1 && mkdir -m 700 "$own" && export XDG_RUNTIME_DIR=$own && name=$1 && : >"$own/report"
}
gcr() { timeout -s KILL 110 "$node" "$root/bin/gcr-templates.js" "$@"; }
expect() { # WHAT COMMAND…
  local what=$1
  shift
  if "$@" >"$own/log" 2>&1; then echo "ok      $name: $what" >>"$own/report"; else
    { echo "FAILED  $name: $what" && tail -n 5 "$own/log" | cut -c 1-300; } >>"$own/report"
  fi
}
note() { echo "        $name: $*" >>"$own/report"; }
same() { cmp "$1" "$2"; }
pid_of() { for _ in $(seq 150); do
  local pid
  pid=$(gcr ps --json | sed -n 's/.*"pid": *\([0-9]*\).*/\1/p' | head -n 1)
  [[ -n $pid ]] && echo "$pid" && return
  sleep 0.2
done; }
off_device() { ! nvidia-smi --query-compute-apps=pid --format=csv,noheader | grep -qx "$1"; }

# Without and with the recorder; then with operations while it runs, by a command that takes its time.
compare() { # NAME SECONDS-UNTIL-IT-WORKS QUICK… -- SLOW…
  begin "$1"
  local wait=$2 quick=() slow=()
  shift 2
  while [[ $1 != -- ]]; do quick+=("$1") && shift; done
  shift
  slow=("$@")
  timeout -s KILL 110 "${quick[@]}" >"$own/plain" 2>"$own/plain.err" &
  gcr run --store "$own/none" -- "${quick[@]}" >"$own/recorded" 2>"$own/recorded.err"
  local status=$?
  wait
  expect "ends as it should" test "$status" -eq 0
  ((status == 0)) || note "$(tail -n 3 "$own/recorded.err" | cut -c 1-300)"
  expect "the same result recorded" same "$own/plain" "$own/recorded"
  timeout -s KILL 110 "${slow[@]}" >"$own/plain" 2>"$own/plain.err" &
  local plain=$! store=$own/store pid run
  gcr run --store "$store" -- "${slow[@]}" >"$own/recorded" 2>"$own/recorded.err" &
  run=$!
  pid=$(pid_of)
  sleep "$wait"
  expect "full checkpoint" gcr checkpoint --pid "$pid" --full
  expect "increment, all memory compared" gcr checkpoint --pid "$pid" --incremental --verify
  note "$(cut -c 1-200 "$own/log" | paste -sd ' ')"
  expect "another increment" gcr checkpoint --pid "$pid" --incremental
  expect "suspend" gcr suspend --pid "$pid"
  expect "nothing of it on the device" off_device "$pid"
  expect "resume" gcr resume --pid "$pid"
  expect "checkpoint with control state" gcr checkpoint --pid "$pid" --control
  expect "suspend to memory, keeping the context" gcr suspend --pid "$pid" --to memory --keep-context
  expect "resume" gcr resume --pid "$pid"
  expect "recording all the while" sh -c "'$node' '$root/bin/gcr-templates.js' status --pid $pid --json | grep -q '\"recordingStopped\": *null'"
  wait "$run" "$plain"
  expect "the same result after all that" same "$own/plain" "$own/recorded"
  expect "every checkpoint can be restored" gcr verify "$store" --read-data
}

# One that checks itself: alone, then recorded.
scenario() { # NAME
  begin "scenario-$1"
  local program=$root/build/native/simdriver_scenarios
  [[ -x $program ]] || program=$root/build/native-tests/simdriver/test/simdriver_scenarios
  export GCR_TEST_KERNELS=$root/fixtures/apps/kernels
  expect "alone" timeout -s KILL 20 "$program" "$1"
  expect "recorded" timeout -s KILL 20 "$node" "$root/bin/gcr-templates.js" run --store "$own/store" -- "$program" "$1"
}

sample() { compare "$1" 2 "$apps/$1" --steps 50 -- "$apps/$1" --steps 120 --sleep 100; }
runtime() { compare "runtime-$1" 3 "$apps/runtime-$1" --steps 50 -- "$apps/runtime-$1" --steps 120 --sleep 100; }
pytorch() { # NAME MODE [ENVIRONMENT]
  local python=(env ${3:-GCR_NOTHING=} python3 "$root/bench/gpu/llama.py" --small)
  compare "pytorch-$1" 12 "${python[@]}" "$2" 5 -- "${python[@]}" --sleep 0.1 "$2" 250
}

jobs_at_once=$(($(nproc) / 2 > 0 ? $(nproc) / 2 : 1))
start() { # CASE…
  while (($(jobs -rp | wc -l) >= jobs_at_once)); do wait -n; done
  { "$@" && cat "$own/report"; } &
}
for part in "${parts[@]}"; do
  case $part in
    # Those that ask for nothing that only the simulated device answers in that way.
    scenarios) for one in vector_add parameters copies variables built_graphs shared_memory lock_timeout; do start scenario "$one"; done ;;
    samples) for one in streams graphs pools pointers threads variables devices training leaks holder; do start sample "$one"; done ;;
    runtime) for one in static shared; do
      if [[ -x $apps/runtime-$one ]]; then start runtime "$one"; else echo "no runtime-$one (fixtures/apps/runtime/build.sh makes it): left out"; fi
    done ;;
    pytorch) if python3 -c 'import torch; torch.zeros(1).cuda()' 2>/dev/null; then
      for one in decode replay compiled streams train last; do start pytorch "$one" "$one"; done
      start pytorch expandable train PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True
      start pytorch async train PYTORCH_CUDA_ALLOC_CONF=backend:cudaMallocAsync
    else echo "no PyTorch with a GPU: its part is left out"; fi ;;
    increments) wait
      begin increments
      expect "no byte differs" timeout -s KILL 120 "$node" "$root/bench/gpu/main.mjs" --only correctness --limit 100 --judge --output "$own"
      note "$(cat "$own/table.md")"
      cat "$own/report" ;;
    *) echo "no part $part" >&2 && exit 64 ;;
  esac
done
wait
passed=$(cat "$work"/*/report | grep -c '^ok')
failed=$(cat "$work"/*/report | grep -c '^FAILED')
echo "$passed passed, $failed failed"
((failed == 0))
