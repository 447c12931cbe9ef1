#!/usr/bin/env bash
# More device memory than the supervisor may have of the host's: a program with 4 GiB on the device, it and its supervisor in a control group of 2.5 GiB without
# swap, the store on a disk. Every step writes all 4 GiB. Full checkpoint, suspend to the store, resume, restore, an increment with all memory compared; the rate of each, peaks
# of memory, and whether anything was killed. Then, in a group of its own, what must be refused or go well: suspend to host memory, which is too small for it.
#
#   scripts/gpu/cases/tight.sh       1 GPU, at most 58 s; MIB, LIMIT_MIB, PERMILLE change the sizes; EXTRA= leaves the last part out
source "$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/lib.sh"
export MIB=${MIB:-4096} LIMIT_MIB=${LIMIT_MIB:-2560} PERMILLE=${PERMILLE:-1000} EXTRA=${EXTRA-1}
after_all() {
  local group pid
  for group in $(cat "$W/groups" 2>/dev/null); do
    for pid in $(cat "$group/cgroup.procs" 2>/dev/null); do kill -KILL "$pid" 2>/dev/null; done
    for _ in 1 2 3 4 5 6 7 8 9 10; do rmdir "$group" 2>/dev/null && break; sleep 0.1; done
  done
  [[ ! -s $W/disk ]] || rm -rf "$(cat "$W/disk")"
}
begin tight 57
LIMIT=30
chmod +x build/native/apps/* 2>/dev/null
[[ -n ${SIM:-} ]] || nvidia-smi --query-gpu=name,driver_version --format=csv,noheader | head -n 1

# A folder on a disk, not in memory.
for place in ${TMPDIR:-} /tmp /var/tmp "$PWD" "$HOME"; do
  [[ -d $place && $(stat -f -c %T "$place") != tmpfs && $(df --output=avail -m "$place" | tail -n 1) -gt $((MIB * 6)) ]] && break
  place=
done
[[ -n $place ]] || { echo "no disk with room for $((MIB * 6)) MiB"; exit 69; }
disk=$(mktemp -d -p "$place" gcr-tight.XXXXXX) && echo "$disk" >"$W/disk"
echo "store: $place, $(stat -f -c %T "$place"), $(df --output=source,avail -h "$place" | tail -n 1); $(grep MemAvailable /proc/meminfo | tr -s ' ')"

# A group with a limit, where one can be made: sets group, and version 2, 1 or 0.
make_group() { # NAME
  local parent version_1 limit=$((LIMIT_MIB << 20))
  group= version=0
  [[ -z ${NO_GROUP:-} ]] || return
  for parent in /sys/fs/cgroup /sys/fs/cgroup/unified; do
    [[ $(stat -f -c %T "$parent" 2>/dev/null) == cgroup2fs ]] && grep -qw memory "$parent/cgroup.controllers" || continue
    echo +memory >"$parent/cgroup.subtree_control"
    group=$parent/gcr-case-$1-$$
    if mkdir "$group" && echo "$group" >>"$W/groups" && echo $limit >"$group/memory.max"; then
      echo 0 >"$group/memory.swap.max"
      [[ $(cat "$group/memory.max") == "$limit" ]] && version=2 && return
    fi
  done 2>>"$W/group.log"
  version_1=$(awk '$3 == "cgroup" && $4 ~ /(^|,)memory(,|$)/ { print $2; exit }' /proc/mounts)
  for parent in "$version_1$(sed -n 's/^[0-9]*:memory://p' /proc/self/cgroup)" "$version_1"; do
    [[ -n $version_1 && -f $parent/memory.limit_in_bytes ]] || continue
    group=$parent/gcr-case-$1-$$
    if mkdir "$group" && echo "$group" >>"$W/groups" && echo $limit >"$group/memory.limit_in_bytes"; then
      echo 0 >"$group/memory.swappiness"
      echo $limit >"$group/memory.memsw.limit_in_bytes"
      version=1 && return
    fi
  done 2>>"$W/group.log"
  group=
}
mib() { echo $(($1 >> 20)); }
# Bytes that the group uses now, those of its processes alone, and the highest so far.
used() {
  case $version in
    2) echo "$(cat "$group/memory.current") $(sed -n 's/^anon //p' "$group/memory.stat") $(cat "$group/memory.peak" 2>/dev/null || echo 0)" ;;
    1) echo "$(cat "$group/memory.usage_in_bytes") $(sed -n 's/^rss //p' "$group/memory.stat") $(cat "$group/memory.max_usage_in_bytes")" ;;
    0) echo "0 0 0" ;;
  esac
}
killed() {
  case $version in
    2) sed -n 's/^oom_kill //p' "$group/memory.events" ;;
    1) sed -n 's/^oom_kill //p' "$group/memory.oom_control" | grep . || echo unknown ;;
    0) echo "no group" ;;
  esac
}
highest() { sed -n 's/^VmHWM:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$1/status" 2>/dev/null | awk '{ print int($1 / 1024) }' | grep . || echo gone; }
sampler() {
  local -a now_used
  while :; do
    read -r -a now_used < <(used 2>/dev/null) && echo "${now_used[0]:-0} ${now_used[1]:-0}" >>"$own/samples"
    sleep 0.05
  done
}
steps_now() { sed -n 's/^step //p' "$own/out" | tail -n 1 | grep . || echo 0; }
# One step of the program; it writes all its memory.
step() {
  local want=$(($(grep -c '^step' "$own/out") + 1))
  echo >&7
  until_line "$own/out" '^step' $want 15 || { echo "FAILED  no step came: $(tail -n 2 "$own/err" | cut -c 1-300 | paste -sd' ')"; failures=$((failures + 1)); return 1; }
}
# The program, paced, under a supervisor, both in a group; sets pid and supervisor.
start() { # NAME STEPS
  name=$1 own=$W/$1 log=$W/$1.txt
  mkdir -m 700 "$own" && mkfifo "$own/in" && : >"$own/out" && : >"$log" && : >"$own/samples"
  export XDG_RUNTIME_DIR=$own XDG_CACHE_HOME=$W/cache
  make_group "$1"
  exec 7<>"$own/in"
  local -a environment=(GCR_NOTHING=)
  if ((version == 0)); then
    echo "no control group could be made ($(tail -n 1 "$W/group.log" 2>/dev/null | cut -c 1-160)): the supervisor is told that 1.5 GiB are free"
    environment=("NODE_OPTIONS=--import=$CASES/lowmem.mjs")
  fi
  local procs=/dev/null
  ((version == 0)) || procs=$group/cgroup.procs
  (
    exec 7>&-
    echo "$BASHPID" >"$procs"
    exec env "${environment[@]}" timeout -s KILL 50 "$NODE" bin/gcr-templates.js run "${DEVICE[@]}" --store "$disk/$name" -- "${program[@]}" --pace --steps "$2" <"$own/in" >"$own/out" 2>"$own/err"
  ) &
  run=$!
  pid=
  local end=$(($(now) + 20000))
  until_line "$own/out" '^ready' 1 20
  until pid=$(gcr ps --json 2>/dev/null | sed -n 's/.*"pid": *\([0-9]*\).*/\1/p' | head -n 1) && [[ -n $pid ]]; do
    (($(now) < end)) || { echo "FAILED  not ready: $(tail -n 3 "$own/err" | cut -c 1-300 | paste -sd' ')"; failures=$((failures + 1)); return 1; }
    sleep 0.1
  done
  supervisor=$(gcr status --pid "$pid" --json | sed -n 's/.*"supervisor": *\([0-9]*\).*/\1/p')
  sampler &
  watcher=$!
  local was
  read -r -a was < <(used)
  local inside=no
  ((version == 0)) || { grep -qx "$supervisor" "$group/cgroup.procs" && grep -qx "$pid" "$group/cgroup.procs" && inside=yes; }
  echo "$1: control group version $version${group:+, limit $(mib "$(cat "$group"/memory.max "$group"/memory.limit_in_bytes 2>/dev/null | head -n 1)") MiB, both in it: $inside}; used $(mib "${was[0]}") MiB; supervisor $supervisor peak $(highest "$supervisor") MiB, program $pid peak $(highest "$pid") MiB"
}
# An operation with its rate, and the peaks while it lasted.
op() { # LABEL COMMAND…
  local label=$1 first told bytes rate peaks before=$((failures + refusals))
  shift
  { echo 5 >"/proc/$supervisor/clear_refs"; echo 5 >"/proc/$pid/clear_refs"; } 2>/dev/null
  [[ $version != 1 ]] || echo 0 >"$group/memory.max_usage_in_bytes"
  first=$(($(wc -l <"$own/samples") + 1))
  ask "$label" "$@"
  peaks=$(tail -n "+$first" "$own/samples" | awk '{ if ($1 > a) a = $1; if ($2 > b) b = $2 } END { printf "group %d MiB, of processes %d MiB", a / 1048576, b / 1048576 }')
  told=$("$NODE" "$CASES/tell.mjs" "$own/answer" 2>/dev/null | head -n 1)
  # An increment that stores nothing new has no rate.
  bytes=$(sed -n 's/.*stored=\([0-9]*\).*/\1/p; s/.* bytes=\([0-9]*\).*/\1/p' <<<"$told" | head -n 1)
  rate=$(awk -v b="${bytes:-0}" -v t="$took" 'BEGIN { printf("%.2f GB/s", b / (t + 0.001) / 1e6) }')
  printf '%-22s %-7s %6s s  %6d MiB  %-10s  supervisor peak %s MiB, program %s MiB, %s; killed %s%s\n' "$label" "$result" "$(seconds "$took")" $((${bytes:-0} >> 20)) "$rate" \
    "$(highest "$supervisor")" "$(highest "$pid")" "$peaks" "$(killed)" "$(sed -n 's/.*\(held=[0-9.]*\).*/, \1 ms/p; ' <<<"$told")"
  [[ $result == ok ]] || { echo "    $message"; kill -0 "$supervisor" 2>/dev/null || echo "    THE SUPERVISOR IS GONE"; }
  ((failures + refusals == before))
}
stop() { kill "$watcher" 2>/dev/null; wait "$watcher" 2>/dev/null; exec 7>&-; }

program=("$ROOT/build/native/apps/holder" --size 16 --mib "$MIB" --buffers 48 --permille "$PERMILLE")
all=6
{
  if [[ -n ${SIM:-} ]]; then XDG_RUNTIME_DIR=$W timeout -s KILL 50 "$NODE" bin/gcr-templates.js run --device sim --store "$disk/plain" -- "${program[@]}" --steps $all
  else timeout -s KILL 50 "${program[@]}" --steps $all; fi
} >"$W/plain" 2>"$W/plain.err" </dev/null &
plain=$!
verdict=PASS
status=0
supervised() { kill -0 "$supervisor" 2>/dev/null && kill -0 "$pid" 2>/dev/null; }
sequence() {
  local at
  step && step || return
  op "checkpoint --full" checkpoint --pid "$pid" --full
  supervised && step || return
  op "suspend" suspend --pid "$pid"
  supervised || return
  if [[ $result == ok ]]; then op "resume" resume --pid "$pid" || return; fi
  step || return
  at=$(steps_now)
  op "restore latest" restore latest --pid "$pid"
  supervised && step || return
  if [[ $(steps_now) == "$at" ]]; then echo "went back: step $at twice"; else echo "FAILED  after restore step $(steps_now), not $at" && failures=$((failures + 1)); fi
  op "increment --verify" checkpoint --pid "$pid" --incremental --verify
  supervised || return
  while (($(steps_now) < all)); do step || return; done
}
if start tight $all; then
  sequence || { echo "FAILED  not at the end of the sequence" && failures=$((failures + 1)); }
  read -r -a peak < <(used)
  echo "group's own peak $(mib "${peak[2]:-0}") MiB$([[ $version == 1 ]] && echo ' (of the last part)'); killed $(killed)"
  if supervised; then
    echo >&7
    for _ in $(seq 100); do kill -0 $run 2>/dev/null || break; sleep 0.1; done
  fi
  gcr verify "$disk/tight" >"$own/verify" 2>&1 || failures=$((failures + 1))
  tail -n 1 "$own/verify"
else failures=$((failures + 1)); fi
kill -0 $run 2>/dev/null && sleep 0.5 && kill -KILL "$run" ${pid:+"$pid"} ${supervisor:+"$supervisor"} 2>/dev/null
wait $run
status=$?
dead=$(killed)
stop
wait $plain
digest=$(grep digest "$own/out") wanted=$(grep digest "$W/plain")
[[ -n $digest && $digest == "$wanted" ]] || verdict=FAIL
((failures + refusals + missed + status == 0)) && [[ $dead == 0 || $dead == "no group" || $dead == unknown ]] || verdict=FAIL
echo "== tight: $verdict  $oks ok, $refusals refused, $failures failed; missed $missed in $verified verified; killed $dead; digest ${digest:-none} / ${wanted:-none}; ended $status; store $(du -sm "$disk/tight" 2>/dev/null | cut -f 1) MiB; $SECONDS s"
{ tail -n 8 "$own/err" "$W/plain.err"; cat "$W/group.log"; } >>"$log" 2>/dev/null
final=$verdict
if [[ -n $EXTRA ]] && ((SECONDS < 38)); then
  rm -rf "${disk:?}/tight"
  oks=0 refusals=0 failures=0 missed=0 verified=0
  if start memory 3; then
    step
    op "suspend --to memory" suspend --pid "$pid" --to memory || true
    if [[ $result == ok ]]; then op "resume" resume --pid "$pid"; fi
    step
    kill -0 "$supervisor" 2>/dev/null && alive="supervisor and program go on" || alive="THE SUPERVISOR IS GONE"
    echo "== extra, suspend to memory that is too small: $result, ${message:-no message}; $alive; killed $(killed)"
  fi
  kill -KILL "$run" ${pid:+"$pid"} ${supervisor:+"$supervisor"} 2>/dev/null
  ((version == 0)) || for left in $(cat "$group/cgroup.procs"); do kill -KILL "$left" 2>/dev/null; done
  wait $run 2>/dev/null
  stop
fi
[[ $final == PASS ]]
