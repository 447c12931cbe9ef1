#!/usr/bin/env bash
# Triton kernels and tensor maps on a GPU, recorded: verdicts by kernel, increments with all memory compared, and the results of an undisturbed run. tri.py holds
# scatter, histograms, atomics and tensor maps (of the host's and of the kernel's making); runtime-static and runtime-shared (fixtures/apps/runtime) have nvcc's.
#
#   scripts/gpu/cases/triton.sh       1 GPU, at most 58 s
source "$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/lib.sh"
begin triton 57
PYTHON=${PYTHON:-python3}
export PYTHONDONTWRITEBYTECODE=1 PYTHONWARNINGS=ignore AT_MOST=48
unset TRITON_CACHE_DIR TRITON_HOME TRITON_INTERPRET
chmod +x build/native/apps/* 2>/dev/null
[[ -n ${SIM:-} ]] || nvidia-smi --query-gpu=name,driver_version,compute_cap --format=csv,noheader | head -n 1

prepare() {
  name=$1 own=$W/$1 logs=$W/$1/logs log=$W/$1.txt
  mkdir -m 700 "$own" && mkdir "$logs" && : >"$log"
  export XDG_RUNTIME_DIR=$own XDG_CACHE_HOME=$own/cache LOGS=$logs
}
undisturbed() { # COMMAND…, into $own
  if [[ -n ${SIM:-} ]]; then XDG_RUNTIME_DIR=$own timeout -s KILL 50 "$NODE" bin/gcr-templates.js run --device sim --store "$STORES/store-$name" -- "$@" >"$own/out" 2>"$own/err" </dev/null
  else timeout -s KILL 50 "$@" >"$own/out" 2>"$own/err" </dev/null; fi
  echo "ended with $?" >"$own/end"
}
supervised() { # PID; or finds the one that there is
  local end=$(($(now) + 15000))
  until pid=${1:-$(gcr ps --json 2>/dev/null | sed -n 's/.*"pid": *\([0-9]*\).*/\1/p' | head -n 1)} && [[ -n $pid ]] && gcr status --pid "$pid" --json >"$own/status" 2>"$own/complaint"; do
    (($(now) < end)) || { echo "  FAILED  not supervised: $(head -n 2 "$own/complaint" | paste -sd' ') $(tail -n 2 "$own/err" | cut -c 1-200)"; return 1; }
    sleep 0.2
  done
}
# A full checkpoint and so many increments with all memory compared.
increments() { # COUNT
  local i answers=()
  ask full checkpoint --pid "$pid" --full || echo "  FAILED  full: $message"
  for ((i = 1; i <= $1; i++)); do
    sleep 0.4
    KERNELS=4 ask increment checkpoint --pid "$pid" --incremental --verify || echo "  FAILED  increment: $message"
    [[ ! -s $own/answer ]] || cp "$own/answer" "$own/increment-$i"
  done
  gcr status --pid "$pid" 2>&1 | grep -E 'state|stopped|launches' >>"$log"
  gcr status --pid "$pid" 2>/dev/null | sed -n 's/^stopped */  FAILED  recording stopped: /p' | cut -c 1-200
}
table() { # NAME EXPECTED; sets totals
  local text
  text=$("$NODE" "$CASES/kernels.mjs" "$1" "$own"/increment-* 2>&1)
  grep -v '^totals' <<<"$text"
  totals=$(grep '^totals' <<<"$text")
  [[ $totals == *missed=0* && $totals == *unexpected=0* && $totals != *verified=0* ]]
}
judged() { # VERDICT TEXT
  echo "== $name: $1  $2; ${totals#totals }; operations: $oks ok, $((refusals + failures)) not; $((SECONDS - since)) s"
}

triton() {
  local since=$SECONDS pid= run totals='no totals' verdict=PASS status e d a l
  prepare plain-triton
  { HOME=$own undisturbed "$PYTHON" "$CASES/tri.py" "${STEPS:-800}" 0; } &
  local plain=$!
  prepare triton
  HOME=$own GO=$own/go timeout -s KILL 55 "$NODE" bin/gcr-templates.js run "${DEVICE[@]}" --store "$STORES/store-$name" -- "$PYTHON" "$CASES/tri.py" 100000 0.02 >"$own/out" 2>"$own/err" </dev/null &
  run=$!
  if until_line "$logs/rank0" '^ready' 1 35 && supervised "$(sed -n 's/^ready //p' "$logs/rank0")"; then
    echo "ready after $((SECONDS - since)) s" >>"$log"
    increments 5
    local before
    before=$(step_of "$logs/rank0")
    until_line "$logs/rank0" '^step' $((before + 12)) 8 || echo "  FAILED  does not go on after step $before"
  else echo "  FAILED  not ready: $(grep -v -i warn "$own/err" | tail -n 3 | cut -c 1-300 | paste -sd' ')" && failures=1; fi
  touch "$own/go"
  wait $run
  status=$?
  wait $plain
  read -r e d a l < <(compared "$W/plain-triton/logs/rank0" "$logs/rank0")
  local expected="stir=exact axpy=exact softmax=exact product=exact persistent=exact scatter=allocation rows_scatter=allocation|bounded histogram=allocation histogram_masked=allocation|bounded largest=allocation map_by_kernel=unknown|exact map_by_host=bounded|exact map_sum=bounded|exact"
  [[ -z ${SIM:-} ]] || expected= # the interpreter launches nothing
  table "$expected" || verdict=FAIL
  ((failures + refusals + missed + d + status == 0 && e >= 2 && l > ${before:-0})) || verdict=FAIL
  grep -h '^skip' "$logs/rank0" | sed 's/^/  /' | cut -c 1-260
  judged $verdict "digests equal $e, differ $d, beyond $a (plain $(cat "$W/plain-triton/end") at step $(step_of "$W/plain-triton/logs/rank0")), ended $status"
  { tail -n 8 "$own/err"; gcr verify "$STORES/store-$name" 2>&1 | tail -n 1; grep -v '^step' "$logs/rank0" | tail -n 20; find "$own" -name '*.ptx' | sed 's,.*/,,' | sort | uniq -c | paste -sd' '; } >>"$log" 2>&1
  # The PTX that Triton made there, for whoever wants to look at a verdict.
  mkdir -p "$W/ptx" && find "$own" -name '*.ptx' -exec cp -f {} "$W/ptx/" \; 2>/dev/null
  [[ -z $(ls "$W/ptx") ]] || tar -C "$W" -cJf "$OUT/triton-ptx.tar.xz" ptx
}
runtime() { # PROGRAM
  local since=$SECONDS pid= run totals='no totals' verdict=PASS status program=build/native/apps/$1 expected="stir=exact count=exact advance=exact exchange=exact tiles=exact rounds=bounded"
  if [[ -n ${SIM:-} ]]; then program=build/native/apps/training expected="scatter=bounded update=exact"; fi
  [[ -x $program ]] || { echo "== $1: left out, it is not in this bundle"; return; }
  prepare "plain-$1"
  undisturbed "$program" --steps 160 &
  local plain=$!
  prepare "$1"
  timeout -s KILL 55 "$NODE" bin/gcr-templates.js run "${DEVICE[@]}" --store "$STORES/store-$name" -- "$program" --steps 160 --sleep 80 >"$own/out" 2>"$own/err" </dev/null &
  run=$!
  if until_line "$own/out" '^step' 3 20 && supervised; then increments 4
  else echo "  FAILED  not ready: $(tail -n 3 "$own/err" | cut -c 1-300 | paste -sd' ')" && failures=1; fi
  wait $run
  status=$?
  wait $plain
  table "$expected" || verdict=FAIL
  local same=DIFFERENT
  if [[ -n $(grep digest "$own/out") && $(grep digest "$own/out") == "$(grep digest "$W/plain-$1/out")" ]]; then same=same; fi
  [[ $same == same ]] && ((failures + refusals + missed + status == 0)) || verdict=FAIL
  judged $verdict "$same digest ($(grep digest "$own/out") / $(grep digest "$W/plain-$1/out")), ended $status"
  { tail -n 8 "$own/err"; gcr verify "$STORES/store-$name" 2>&1 | tail -n 1; } >>"$log" 2>&1
}

triton >"$W/triton.sum" 2>&1 &
runtime runtime-static >"$W/runtime-static.sum" 2>&1 &
runtime runtime-shared >"$W/runtime-shared.sum" 2>&1 &
end=$(($(now) + 54000))
while [[ -n $(jobs -rp) ]] && (($(now) < end)); do sleep 0.2; done
failed=0
for one in triton runtime-static runtime-shared; do
  grep '^==' "$W/$one.sum" || { echo "== $one: FAIL  not at its end in time"; tail -n 4 "$W/$one.txt" "$W/$one/err" | cut -c 1-300; }
  grep -v '^==' "$W/$one.sum" | head -n 24 | cut -c 1-230
  grep -q '^== .*: PASS' "$W/$one.sum" || failed=$((failed + 1))
done
echo "triton: $failed of 3 failed"
exit $((failed > 0))
