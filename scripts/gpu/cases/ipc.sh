#!/usr/bin/env bash
# Device memory that two PyTorch processes share by torch.multiprocessing (the CUDA runtime's IPC handles), both ways, recorded (ipc.py): the digests of an undisturbed
# run, every ten steps. Memory that comes from another process cannot be saved: each operation on either process is refused with a message before anything
# stops, and both go on.
#
#   scripts/gpu/cases/ipc.sh       1 GPU, at most 90 s
source "$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/lib.sh"
begin ipc 88
PYTHON=${PYTHON:-python3}
export XDG_CACHE_HOME=$W/cache PYTHONDONTWRITEBYTECODE=1 PYTHONWARNINGS=ignore
unset PYTORCH_CUDA_ALLOC_CONF PYTORCH_ALLOC_CONF
STEPS=${STEPS:-800} PAUSE=${PAUSE:-0.05}
[[ -n ${SIM:-} ]] || nvidia-smi --query-gpu=name,driver_version --format=csv,noheader | head -n 1

prepare() {
  name=$1 own=$W/$1 logs=$W/$1/logs log=$W/$1.txt notes=$W/$1/notes
  mkdir -m 700 "$own" && mkdir "$logs" && : >"$log" && : >"$notes"
  export XDG_RUNTIME_DIR=$own LOGS=$logs GO=$own/go
}
note() { echo "$*" | tee -a "$log" >>"$notes"; }
failed() { failures=$((failures + 1)) && note "FAILED  $*"; }
# On the simulated device memory is shared by the recorder alone, so there both runs are recorded.
plain() {
  prepare plain
  if [[ -n ${SIM:-} ]]; then timeout -s KILL 70 "$NODE" bin/gcr-templates.js run --device sim --store "$STORES/store-plain" -- "$PYTHON" "$CASES/ipc.py" "$STEPS" 0 >"$own/out" 2>"$own/err" </dev/null
  else timeout -s KILL 70 "$PYTHON" "$CASES/ipc.py" "$STEPS" 0 >"$own/out" 2>"$own/err" </dev/null; fi
  echo "ended with $?, at step $(step_of "$logs/rank0")" >"$own/end"
}
# Both ranks make so many more steps.
goes_on() { # WHAT COUNT SECONDS
  local rank before
  for rank in 0 1; do
    before=$(grep -c '^step' "$logs/rank$rank")
    until_line "$logs/rank$rank" '^step' $((before + $2)) "$3" || failed "does not go on $1: rank $rank stays at step $(step_of "$logs/rank$rank")"
  done
}
ready() {
  local rank end=$(($(now) + 40000))
  pids=()
  for rank in 0 1; do
    until_line "$logs/rank$rank" '^ready' 1 40 || { failed "rank $rank is not ready: $(grep -v -i warn "$own/err" | tail -n 3 | cut -c 1-300 | paste -sd' ')" && return 1; }
    pids[rank]=$(sed -n 's/^ready //p' "$logs/rank$rank" | head -n 1)
    until gcr status --pid "${pids[rank]}" --json >"$own/status" 2>"$own/complaint"; do
      (($(now) < end)) || { failed "process ${pids[rank]} is not supervised: $(head -n 2 "$own/complaint" | paste -sd' ')" && return 1; }
      sleep 0.3
    done
  done
}
# Refused for what the memory is, and nothing else.
refused() { # RANK COMMAND…
  local rank=$1
  shift
  ask "r$rank $*" "$@" --pid "${pids[rank]}"
  if [[ $result == refused && ($message == *"imported memory, cannot be saved"* || $message == *"is shared with another process"*) ]]; then
    note "r$rank $*: refused: $(sed -E 's/.*(imported memory, cannot be saved|memory is shared with another process[^:]*).*/\1/' <<<"$message")"
  else failed "r$rank $*: $result: $message"; fi
  [[ $result != ok || $1 != suspend ]] || ask "r$rank resume" resume --pid "${pids[rank]}"
}
recorded() {
  local since=$SECONDS run pids=() rank told at=(0 0) equal=0 differ=0 absent=0 last=0 status=0 verdict=PASS
  prepare ipc
  timeout -s KILL 80 "$NODE" bin/gcr-templates.js run "${DEVICE[@]}" --store "$STORES/store-ipc" -- "$PYTHON" "$CASES/ipc.py" "$STEPS" "$PAUSE" >"$own/out" 2>"$own/err" </dev/null &
  run=$!
  if ready; then
    for rank in 0 1; do
      told=$(gcr status --pid "${pids[rank]}" 2>/dev/null | sed -n 's/^stopped *//p' | head -n 1 | cut -c 1-200)
      note "r$rank recording stopped: ${told:-no}"
      [[ $told == *cuIpcGetMemHandle* ]] || failed "r$rank's memory is shared, and its recording is said to be: ${told:-going on}"
    done
    for rank in 1 0; do
      refused $rank checkpoint
      refused $rank checkpoint --to memory
      refused $rank checkpoint --control
      refused $rank suspend
      goes_on "after r$rank was refused" 3 15
    done
    for rank in 0 1; do at[rank]=$(step_of "$logs/rank$rank"); done
    goes_on "to the end" 12 15
  fi
  touch "$GO"
  for _ in $(seq 200); do kill -0 $run 2>/dev/null || break; sleep 0.1; done
  kill -0 $run 2>/dev/null && failed "does not end" && kill -KILL $run
  wait $run
  status=$?
  ((status == 0)) || failed "ended with $status: $(grep -v -i warn "$own/err" | tail -n 3 | cut -c 1-300 | paste -sd' ')"
  # The undisturbed one is further, as a rule.
  for _ in $(seq 200); do [[ -s $W/plain/end ]] && break; sleep 0.1; done
  local e d a l
  for rank in 0 1; do
    read -r e d a l < <(compared "$W/plain/logs/rank$rank" "$logs/rank$rank")
    equal=$((equal + e)) differ=$((differ + d)) absent=$((absent + a))
    ((l > at[rank])) || last=1
  done
  ((last == 0)) || failed "no equal digest after the last operation"
  ((failures + differ + absent + status == 0 && equal >= 4)) || verdict=FAIL
  echo "== ipc: $verdict  $refusals refused, $failures failed; digests equal $equal, differ $differ, not there undisturbed $absent; ended $status; plain: $(cat "$W/plain/end" 2>/dev/null || echo "not at its end"); $((SECONDS - since)) s"
  echo "   $brief" | fold -s -w 220
  sort "$notes" | uniq -c | sed 's/^ *\([0-9]*\) /   \1x /' | cut -c 1-300
  tail -n 15 "$own/err" | cut -c 1-300 >>"$log"
  [[ $verdict == PASS ]]
}
plain &
recorded
