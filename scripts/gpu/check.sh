#!/usr/bin/env bash
# The cases of the simulated device on a real GPU: programs under the recorder give the same results as without it, checkpoints of all kinds on the
# way, and nothing left behind. Needs a driver; PyTorch for its part, which is left out without it. Ends with "N passed, N failed".
#
#   scripts/gpu/check.sh [PART…]      in a clone that is built, or in an unpacked bundle (scripts/gpu/bundle.sh)
#
#   pytorch     decoding, training, graphs, torch.compile, Triton kernels, expandable segments, cudaMallocAsync, streams
#   samples     the sample programs (fixtures/apps), all operations while they run
#   runtime     a program on the CUDA runtime, linked statically and shared
#   chains      long chains of checkpoints and ways back, at random moments, of every sample program (test/runtime/chains.test.ts)
#   takeover    programs whose supervisor was killed, running and suspended, get another one (test/runtime/takeover.test.ts)
#   scenarios   programs that use one part of the driver's interface each and check themselves (native/simdriver/test), alone and recorded
#   increments  more than a thousand increments, each compared with a copy of the memory that the program made, and rollbacks
#   failures    what goes wrong in the middle (scripts/gpu/failures.mjs)
#   device      what needs all of the device for itself: a full device, the driver's own checkpoint
#
# What of the simulated device's cases is not here: `gone_handles` and `simulated_only` (a real driver follows handles that are gone, and reads images
# that are cut short beyond their end), `endless` and `until_gone` (a kernel that never ends is among the failures; a device does not end),
# `checkpoint` recorded (memory that is shared with a supervisor cannot be taken off the device by others); the control sockets'
# manners, the fuzzing of protocols and stand-ins for documented libraries (test/runtime), which no driver has a part in; cuBLAS itself is in every
# PyTorch program. Durable checkpoints: bench/gpu/main.mjs --only durable.
set -u
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
parts=("$@")
((${#parts[@]})) || parts=(pytorch samples runtime chains takeover scenarios increments failures device)
if ! nvidia-smi >/dev/null 2>&1; then echo "no GPU here (nvidia-smi does not answer): nothing is checked" && exit 69; fi
node=$root/node
[[ -x $node ]] || node=node
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
apps=$root/build/native/apps
scenarios=$root/build/native/simdriver_scenarios
[[ -x $scenarios ]] || scenarios=$root/build/native/simdriver/test/simdriver_scenarios
export GCR_TEST_KERNELS=$root/fixtures/apps/kernels

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
ends() { # STATUS COMMAND…
  local wanted=$1 status=0
  shift
  "$@" || status=$?
  ((status == wanted)) || { echo "ended with $status, not $wanted" && return 1; }
}
until_true() { # COMMAND…, at most 30 s
  for _ in $(seq 150); do "$@" >/dev/null 2>&1 && return; sleep 0.2; done
  echo "not within 30 s: $*" && return 1
}
pid_of() { for _ in $(seq 150); do
  local pid
  pid=$(gcr ps --json | sed -n 's/.*"pid": *\([0-9]*\).*/\1/p' | head -n 1)
  [[ -n $pid ]] && echo "$pid" && return
  sleep 0.2
done; }
status_of() { gcr status --pid "$1" --json | sed -n "s/.*\"$2\": *\"*\\([^\",]*\\).*/\\1/p" | head -n 1; } # PID MEMBER
off_device() { ! nvidia-smi --query-compute-apps=pid --format=csv,noheader | grep -qx "$1"; }
gone() { ! kill -0 "$1" 2>/dev/null; }

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
scenario() { # NAME [alone]
  begin "scenario-$1"
  expect "alone" timeout -s KILL 30 "$scenarios" "$1"
  [[ ${2:-} == alone ]] ||
    expect "recorded" timeout -s KILL 30 "$node" "$root/bin/gcr-templates.js" run --store "$own/store" -- "$scenarios" "$1"
}
# Every way to the driver's functions leads where it leads alone.
lookups() {
  begin lookups
  "$apps/lookups" >"$own/plain" 2>"$own/plain.err"
  gcr run --store "$own/store" -- "$apps/lookups" >"$own/recorded" 2>"$own/recorded.err"
  expect "they are many" test "$(wc -l <"$own/plain")" -gt 100
  expect "the same answers" same "$own/plain" "$own/recorded"
}
# Host code that follows a device pointer.
host_access() {
  begin scenario-host_access
  expect "alone, by a signal" ends 139 timeout -s KILL 20 "$scenarios" host_access
  expect "recorded, the same" ends 139 gcr run --store "$own/store" -- "$scenarios" host_access
}
# Memory of a program that was killed, and what its supervisor had of it, is free again.
killed() {
  begin scenario-hold_memory
  gcr run --store "$own/store" -- "$scenarios" hold_memory >"$own/out" 2>"$own/err" &
  local run=$! pid supervisor
  expect "holds memory" until_true grep -q holding "$own/out"
  pid=$(pid_of)
  supervisor=$(status_of "$pid" supervisor)
  expect "checkpoint" gcr checkpoint --pid "$pid"
  kill -9 "$pid"
  expect "its end by a signal is told" ends 137 wait "$run"
  expect "nothing of it on the device" off_device "$pid"
  expect "nothing of its supervisor" off_device "$supervisor"
}

# Checkpoints, restores and suspensions at random, against what memory is.
chain() { # SAMPLE
  begin "chain-$1"
  expect "memory is what checkpoints hold" timeout -s KILL 110 "$node" "$root/scripts/runtime-chains.mjs" --device auto --samples "$1" --seeds 1 --increments 15
  note "$(tail -n 1 "$own/log" | cut -c 1-300)"
}

# The supervisor is killed; another one takes the program to the end that nothing disturbs.
takeover() { # SAMPLE suspended|running
  begin "takeover-$1-$2"
  local command=("$apps/$1" --steps 80 --sleep 100) pid supervisor first
  timeout -s KILL 60 "${command[@]}" >"$own/plain" 2>"$own/plain.err" &
  local plain=$!
  "$node" "$root/bin/gcr-templates.js" run --store "$own/store" -- "${command[@]}" >"$own/recorded" 2>"$own/recorded.err" &
  first=$!
  pid=$(pid_of)
  sleep 1
  expect "checkpoint" gcr checkpoint --pid "$pid"
  supervisor=$(status_of "$pid" supervisor)
  if [[ $2 == suspended ]]; then expect "suspend" gcr suspend --pid "$pid"; fi
  kill -9 "$supervisor"
  wait "$first" 2>/dev/null
  if [[ $2 == suspended ]]; then expect "resumed by another supervisor" gcr resume --pid "$pid"; else
    expect "adopted by another supervisor" gcr adopt --pid "$pid" --background
    expect "full checkpoint" gcr checkpoint --pid "$pid"
  fi
  expect "increment, all memory compared" gcr checkpoint --pid "$pid" --incremental --verify
  expect "another supervisor it is" test "$(status_of "$pid" supervisor)" != "$supervisor"
  expect "comes to its end" until_true gone "$pid"
  wait "$plain"
  expect "the same result after all that" same "$own/plain" "$own/recorded"
  expect "every checkpoint can be restored" gcr verify "$own/store" --read-data
}

sample() { compare "$1" 2 "$apps/$1" --steps 50 -- "$apps/$1" --steps 120 --sleep 100; }
runtime() { compare "runtime-$1" 3 "$apps/runtime-$1" --steps 50 -- "$apps/runtime-$1" --steps 120 --sleep 100; }
pytorch() { # NAME MODE [ENVIRONMENT]
  local python=(env ${3:-GCR_NOTHING=} python3 "$root/bench/gpu/llama.py" --small)
  compare "pytorch-$1" 12 "${python[@]}" "$2" 5 -- "${python[@]}" --sleep 0.1 "$2" 250
}

jobs_at_once=$(($(nproc) * 3 / 4 > 0 ? $(nproc) * 3 / 4 : 1))
start() { # CASE…
  while (($(jobs -rp | wc -l) >= jobs_at_once)); do wait -n; done
  { "$@" && cat "$own/report"; } &
}
alone() { wait && "$@" && cat "$own/report"; }
increments() {
  begin increments
  expect "no byte differs" timeout -s KILL 120 "$node" "$root/bench/gpu/main.mjs" --only correctness --limit 100 --judge --output "$own"
  note "$(cat "$own/table.md")"
}
failures() { # its lines are like ours
  begin failures
  timeout -s KILL 120 "$node" "$root/scripts/gpu/failures.mjs" >"$own/report" 2>&1
  grep -q ' passed, ' "$own/report" || echo "FAILED  failures: did not come to its end" >>"$own/report"
}
for part in "${parts[@]}"; do
  case $part in
    pytorch) if python3 -c 'import torch; torch.zeros(1).cuda()' 2>/dev/null; then
      for one in compiled decode replay streams products train last triton; do start pytorch "$one" "$one"; done
      start pytorch expandable train PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True
      start pytorch async train PYTORCH_CUDA_ALLOC_CONF=backend:cudaMallocAsync
    else echo "no PyTorch with a GPU: its part is left out"; fi ;;
    samples) for one in streams graphs pools pointers threads variables devices training leaks holder features; do start sample "$one"; done ;;
    runtime) for one in static shared; do
      if [[ -x $apps/runtime-$one ]]; then start runtime "$one"; else echo "no runtime-$one (fixtures/apps/runtime/build.sh makes it): left out"; fi
    done ;;
    chains) for one in streams graphs pools variables pointers threads forks leaks training random features crashes; do start chain "$one"; done ;;
    takeover)
      for one in graphs variables threads training; do start takeover "$one" suspended; done
      for one in streams pools pointers training; do start takeover "$one" running; done ;;
    scenarios)
      for one in vector_add parameters copies variables modules cooperative streams events captured_graphs built_graphs virtual_memory shared_memory ipc \
        fault trap unmapped_after_free without_context lock_timeout; do start scenario "$one"; done
      start scenario broken_captures
      start lookups
      start host_access
      start killed ;;
    increments) alone increments ;;
    failures) alone failures ;;
    device)
      alone scenario memory_limit
      alone scenario checkpoint alone ;;
    *) echo "no part $part" >&2 && exit 64 ;;
  esac
done
wait
passed=$(cat "$work"/*/report | grep -c '^ok')
failed=$(cat "$work"/*/report | grep -c '^FAILED')
echo "$passed passed, $failed failed"
((failed == 0))
