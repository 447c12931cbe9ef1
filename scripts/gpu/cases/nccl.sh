#!/usr/bin/env bash
# NCCL on two GPUs, recorded: in one process over both (pair.py), and in two processes, one rank each (ranks.py), by several transports. Each is compared, every
# ten steps, with an undisturbed run. Of the two processes one alone is saved, suspended and resumed while the other waits for it: where NCCL shares memory
# between them that is refused with a message before anything stops, and the program goes on.
#
#   scripts/gpu/cases/nccl.sh [VARIANT…]     2 GPUs, at most 118 s; variants: inprocess ranks ranks-shm ranks-host ranks-net (ONLY="…" says the same)
source "$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/lib.sh"
export ONLY=${ONLY:-${*:-inprocess ranks ranks-shm ranks-host ranks-net}}
begin nccl 116
PYTHON=${PYTHON:-python3}
export NCCL_NVLS_ENABLE=0 TORCH_SYMM_MEM_DISABLE_MULTICAST=1 NVSHMEM_DISABLE_NVLS=1 XDG_CACHE_HOME=$W/cache PYTHONDONTWRITEBYTECODE=1 PYTHONWARNINGS=ignore
STEPS=${STEPS:-900} PAUSE=${PAUSE:-0.1}
if [[ -z ${SIM:-} ]]; then
  nvidia-smi --query-gpu=name,driver_version --format=csv,noheader | sort | uniq -c
  (($(nvidia-smi -L | wc -l) >= 2)) || { echo "two GPUs are needed"; exit 69; }
fi

# Every rank makes so many more lines of steps; else it is a failure.
goes_on() { # WHAT COUNT SECONDS
  local file before
  local -A at
  for file in "$logs"/rank*; do at[$file]=$(grep -c '^step' "$file"); done
  for file in "$logs"/rank*; do
    until_line "$file" '^step' $((${at[$file]} + $2)) "$3" && continue
    failures=$((failures + 1))
    echo "FAILED  does not go on $1: ${file##*/} stays at step $(step_of "$file")" | tee -a "$log" >>"$notes"
    return 1
  done
}
# A refusal, without what differs from one to the next.
refusal() { note "$result: $(sed -E 's/at 0x[0-9a-f]+ of/of/; s/allocation [0-9]+/an allocation/; s/process [0-9]+/the process/' <<<"$message")"; }
note() { echo "$*" | tee -a "$log" >>"$notes"; }
# Its own folder, and the program in it.
prepare() {
  name=$1 own=$W/$1 logs=$W/$1/logs log=$W/$1.txt notes=$W/$1/notes
  mkdir -m 700 "$own" && mkdir "$logs" && : >"$log" && : >"$notes"
  export XDG_RUNTIME_DIR=$own LOGS=$logs GO=$own/go HOLD=$own/hold NCCL_DEBUG=INFO NCCL_DEBUG_SUBSYS=INIT,GRAPH,P2P,SHM,NET NCCL_DEBUG_FILE=$own/nccl.%p
}
plain() { # NAME COMMAND…
  prepare "$1"
  shift
  export GO=$W/plain-go
  unset HOLD
  if [[ -n ${SIM:-} ]]; then timeout -s KILL 100 "$NODE" bin/gcr-templates.js run --device sim --store "$STORES/store-$name" -- "$@" >"$own/out" 2>"$own/err"
  else timeout -s KILL 100 "$@" >"$own/out" 2>"$own/err"; fi
  echo "ended with $?, at step $(step_of "$logs/rank0")" >"$own/end"
}
start() { # COMMAND…
  timeout -s KILL 105 "$NODE" bin/gcr-templates.js run "${DEVICE[@]}" --store "$STORES/store-$name" -- "$@" >"$own/out" 2>"$own/err" </dev/null &
  run=$!
}
# Process numbers of the ranks, once they run and are supervised.
found() { # RANKS
  local rank pid end=$(($(now) + 45000))
  pids=()
  for ((rank = 0; rank < $1; rank++)); do
    until_line "$logs/rank$rank" '^ready' 1 $(((end - $(now)) / 1000 + 1)) || { note "FAILED  rank $rank is not ready: $(grep -v -i warn "$own/err" | tail -n 3 | cut -c 1-300 | paste -sd' ')" && return 1; }
    pids[rank]=$(sed -n 's/^ready //p' "$logs/rank$rank" | head -n 1)
  done
  for pid in "${pids[@]}"; do
    until gcr status --pid "$pid" --json >"$own/status" 2>"$own/complaint"; do
      if (($(now) > end)); then note "FAILED  process $pid is not supervised: $(head -n 2 "$own/complaint" | paste -sd' '); ps: $(gcr ps 2>&1 | cut -c 1-160 | paste -sd'|')" && return 1; fi
      sleep 0.5
    done
  done
  echo "ready after $((SECONDS - since)) s, pids ${pids[*]}" >>"$log"
}
state() { # PID
  gcr status --pid "$1" 2>&1 | grep -E 'state|stopped|memory|launches|waiting' | cut -c 1-300 | sed "s/^/    $1 /" >>"$log"
  gcr status --pid "$1" 2>/dev/null | sed -n 's/^stopped */recording stopped: /p' | head -n 1 | cut -c 1-200
}
off_device() { [[ -n ${SIM:-} ]] || ! nvidia-smi --query-compute-apps=pid --format=csv,noheader | grep -qx "$1"; }
finish() { # RANKS PLAIN
  local rank text= line equal=0 differ=0 absent=0 last=0 status=0
  for ((rank = 0; rank < $1; rank++)); do lastop[rank]=$(step_of "$logs/rank$rank"); done
  ((${#pids[@]} == $1)) && goes_on "to the end" 12 25
  touch "$GO"
  for _ in $(seq 150); do kill -0 $run 2>/dev/null || break; sleep 0.1; done
  if kill -0 $run 2>/dev/null; then note "FAILED  does not end" && failures=$((failures + 1)); fi
  # What of it is left.
  for rank in "${pids[@]}"; do kill -KILL "$rank" 2>/dev/null; done
  for _ in $(seq 30); do kill -0 $run 2>/dev/null || break; sleep 0.1; done
  kill -KILL $run 2>/dev/null
  wait $run
  status=$?
  # The undisturbed one is further, as a rule.
  for _ in $(seq 250); do
    [[ -s $W/$2/end ]] || (($(step_of "$W/$2/logs/rank0") > $(step_of "$logs/rank0") + 1)) && break
    sleep 0.1
  done
  sleep 0.3
  for ((rank = 0; rank < $1; rank++)); do
    read -r e d a l < <(compared "$W/$2/logs/rank$rank" "$logs/rank$rank")
    equal=$((equal + e)) differ=$((differ + d)) absent=$((absent + a))
    ((l > ${lastop[rank]:-0})) || last=1
  done
  ((status == 0)) || note "FAILED  ended with $status: $(grep -v -i warn "$own/err" | tail -n 3 | cut -c 1-300 | paste -sd' ')"
  ((last == 0)) || note "FAILED  no equal digest after the last operation (plain: $(cat "$W/$2/end" 2>/dev/null))"
  local verdict=PASS
  if ((failures + missed + differ + last + status > 0 || equal < 3)); then verdict=FAIL; fi
  local transport
  transport=$(cat "$own"/nccl.* 2>/dev/null | grep -o 'via [A-Za-z0-9/_-]*' | sort | uniq -c | sort -rn | head -n 3 | awk '{ print $3 " x" $1 }' | paste -sd, -)
  echo "== $name: $verdict  $oks ok, $refusals refused, $failures failed; missed $missed in $verified verified; digests equal $equal, differ $differ, beyond $absent; ended $status; ${transport:+via $transport; }$((SECONDS - since)) s"
  echo "   $brief" | fold -s -w 220
  sort "$notes" | uniq -c | sed 's/^ *\([0-9]*\) /   \1x /' | cut -c 1-330 | head -n 9
  { echo; cat "$own/err" | tail -n 15; cat "$own"/nccl.* 2>/dev/null | grep -E 'version|via|WARN' | head -n 12; gcr verify "$STORES/store-$name" 2>&1 | tail -n 2; grep -h -v '^step' "$logs"/rank* | tail -n 30; } 2>/dev/null | cut -c 1-300 >>"$log"
}

# One of several processes, alone: the other waits for it, and goes on when it is back.
alone() { # RANK [--to memory]
  local rank=$1 other=$((1 - $1)) a b
  shift
  ask "r$rank suspend${1:+ $*}" suspend --pid "${pids[rank]}" "$@" || { note "r$rank suspend: $message" && return 1; }
  grep -o 'warning=.*' "$log" | tail -n 1 | cut -c 1-200 >>"$notes"
  off_device "${pids[rank]}" || note "the driver still lists suspended r$rank"
  sleep 0.7
  a=$(step_of "$logs/rank$other")
  sleep 1.2
  b=$(step_of "$logs/rank$other")
  if [[ $a == "$b" ]] && kill -0 "${pids[other]}"; then note "while r$rank is suspended r$other waits"; else note "FAILED  while r$rank is suspended r$other went from step $a to $b" && failures=$((failures + 1)); fi
  if [[ -n ${WAITING:-} ]]; then
    WAITING=
    ask "r$other checkpoint while it waits" checkpoint --pid "${pids[other]}"
    note "r$other checkpoint while it waits for r$rank: $result $(seconds $took) s $message"
  fi
  ask "r$rank resume" resume --pid "${pids[rank]}" || { note "r$rank resume: $message"; return 1; }
  goes_on "after r$rank was suspended${1:+ $*}" 3 20
}
ranks() { # NAME PORT WAITING [VAR=VALUE…]
  local since=$SECONDS run pids=() lastop=() rank told WAITING=$3 port=$2
  prepare "$1"
  shift 3
  start env "$@" "$PYTHON" "$CASES/ranks.py" "$STEPS" "$PAUSE" "$port"
  if found 2; then
    KERNELS=6 ask "r1 full" checkpoint --pid "${pids[1]}" --full
    local first=$result
    for rank in 0 1; do told=$(state "${pids[rank]}") && [[ -n $told ]] && note "r$rank $told"; done
    if [[ $first == ok ]]; then
      KERNELS=3 ask "r1 increment" checkpoint --pid "${pids[1]}" --incremental --verify
      sleep 0.3
      ask "r1 increment" checkpoint --pid "${pids[1]}" --incremental --verify
      ask "r1 control" checkpoint --pid "${pids[1]}" --control || note "r1 control: $message"
      goes_on "after r1 control" 2 20
      alone 1
      ask "r1 increment" checkpoint --pid "${pids[1]}" --incremental --verify
      alone 1 --to memory
      ask "r0 full" checkpoint --pid "${pids[0]}" --full
      alone 0
      ask "r0 increment" checkpoint --pid "${pids[0]}" --incremental --verify
      ask "r1 increment" checkpoint --pid "${pids[1]}" --incremental --verify
    else
      refusal
      for rank in 1 0; do
        ask "r$rank checkpoint" checkpoint --pid "${pids[rank]}" || refusal
        ask "r$rank control" checkpoint --pid "${pids[rank]}" --control || refusal
        ask "r$rank suspend" suspend --pid "${pids[rank]}"
        if [[ $result == ok ]]; then ask "r$rank resume" resume --pid "${pids[rank]}"; else refusal; fi
        ask "r$rank suspend --to memory" suspend --pid "${pids[rank]}" --to memory
        if [[ $result == ok ]]; then ask "r$rank resume" resume --pid "${pids[rank]}"; else refusal; fi
        goes_on "after r$rank was refused" 3 20
      done
    fi
    for rank in 0 1; do state "${pids[rank]}" >/dev/null; done
  else failures=$((failures + 1)); fi
  finish 2 plain-ranks
}
inprocess() {
  local since=$SECONDS run pids=() lastop=() told p at
  prepare inprocess
  start "$PYTHON" "$CASES/pair.py" "$STEPS" "$PAUSE"
  if found 1; then
    p=${pids[0]}
    KERNELS=6 ask full checkpoint --pid "$p" --full || note "full: $message"
    for _ in 1 2 3; do ask increment checkpoint --pid "$p" --incremental --verify || note "increment: $message"; sleep 0.2; done
    KERNELS=4 ask control checkpoint --pid "$p" --control || note "control: $message"
    if ask suspend suspend --pid "$p"; then
      off_device "$p" || note "the driver still lists it, suspended"
      ask resume resume --pid "$p" || note "resume: $message"
    else note "suspend: $message"; fi
    goes_on "after suspend" 3 20
    ask increment checkpoint --pid "$p" --incremental --verify
    if ask "suspend --to memory" suspend --pid "$p" --to memory; then ask resume resume --pid "$p"; else note "suspend --to memory: $message"; fi
    ask increment checkpoint --pid "$p" --incremental --verify
    told=$(state "$p") && [[ -n $told ]] && note "$told"
    goes_on "before it goes back" 3 20
    # Back, from one point between steps to another.
    touch "$HOLD"
    if until_line "$logs/rank0" '^held' 1 10; then
      ask "at rest" checkpoint --pid "$p" --verify && at=$(step_of "$logs/rank0")
      rm "$HOLD"
      goes_on "between" 5 20
      touch "$HOLD" && until_line "$logs/rank0" '^held' 2 10
      local there
      there=$(step_of "$logs/rank0")
      ask rollback restore latest --pid "$p" || note "rollback: $message"
      rm "$HOLD"
      if goes_on "after it went back" 3 20; then
        local first
        first=$(awk '/^going/ { n = 0 } /^step/ && !n++ { s = $2 } END { print s }' "$logs/rank0")
        if ((first == at + 1)); then note "went back from step $there to $at and on"; else note "FAILED  after it went back from step $there to $at the first step is $first" && failures=$((failures + 1)); fi
      fi
      ask increment checkpoint --pid "$p" --incremental --verify
    else note "FAILED  does not stand still" && failures=$((failures + 1)); fi
    rm -f "$HOLD"
  else failures=$((failures + 1)); fi
  finish 1 plain-pair
}

want() { [[ " $ONLY " == *" $1 "* ]]; }
port=$((20000 + RANDOM % 9000))
want inprocess && { plain plain-pair "$PYTHON" "$CASES/pair.py" $((STEPS * 2)) 0.02 & }
[[ $ONLY == inprocess ]] || { plain plain-ranks "$PYTHON" "$CASES/ranks.py" $((STEPS * 2)) 0.02 $port & }
want inprocess && { inprocess >"$W/inprocess.sum" 2>&1 & }
want ranks && { ranks ranks $((port + 1)) "" ${SIM:+SIM_SHARE=1} >"$W/ranks.sum" 2>&1 & }
want ranks-shm && { ranks ranks-shm $((port + 2)) yes NCCL_P2P_DISABLE=1 NCCL_CUMEM_HOST_ENABLE=0 >"$W/ranks-shm.sum" 2>&1 & }
want ranks-host && { ranks ranks-host $((port + 3)) "" NCCL_P2P_DISABLE=1 NCCL_CUMEM_HOST_ENABLE=1 >"$W/ranks-host.sum" 2>&1 & }
want ranks-net && { ranks ranks-net $((port + 4)) "" NCCL_P2P_DISABLE=1 NCCL_SHM_DISABLE=1 >"$W/ranks-net.sum" 2>&1 & }
# What is done is told even when something is not.
end=$(($(now) + 108000))
told() { local one; for one in $ONLY; do grep -q '^==' "$W/$one.sum" || return; done; }
until told || (($(now) > end)); do sleep 0.3; done
touch "$W/plain-go"
for _ in $(seq 30); do [[ -n $(jobs -rp) ]] || break; sleep 0.1; done
for one in plain-pair plain-ranks; do [[ -d $W/$one ]] && echo "$one: $(cat "$W/$one/end" 2>/dev/null || echo "not at its end, at step $(step_of "$W/$one/logs/rank0"): $(tail -n 1 "$W/$one/err" | cut -c 1-200)")"; done
for one in $ONLY; do if grep -q '^==' "$W/$one.sum"; then head -n 11 "$W/$one.sum"; else echo "== $one: FAIL  not at its end in time"; tail -n 5 "$W/$one.txt" "$W/$one/notes" 2>/dev/null | cut -c 1-300; fi; done
failed=0
for one in $ONLY; do grep -q '^== .*: PASS' "$W/$one.sum" || failed=$((failed + 1)); done
echo "nccl: $failed of $(wc -w <<<"$ONLY") failed"
exit $((failed > 0))
