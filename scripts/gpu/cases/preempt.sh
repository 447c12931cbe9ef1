#!/usr/bin/env bash
# What the driver's restore does to programs that share a GPU (docs/support.md, Control state on a GPU): the time of a short kernel beside kernels of half a second, before a
# restore and after it, by the driver alone and by us (kernels, 1 GPU); and whether programs whose kernels wait for each other on two GPUs (NCCL in one process
# over both, pair.py, five at once) go on: undisturbed, with three of them checkpointed and restored in turn by the driver alone, or by us (2 GPUs).
#
#   scripts/gpu/cases/preempt.sh [kernels|undisturbed|driver|recorded…]     at most 420 s; as a rule kernels takes 70 s, each other one 60 s
#
# With driver 580.159.04 driver and recorded fail: two programs that were restored wait for each other until the driver ends both (Xid 109).
source "$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/lib.sh"
export ONLY=${ONLY:-${*:-kernels}}
begin preempt 420
PYTHON=${PYTHON:-python3}
export NCCL_NVLS_ENABLE=0 TORCH_SYMM_MEM_DISABLE_MULTICAST=1 NVSHMEM_DISABLE_NVLS=1 XDG_CACHE_HOME=$W/cache PYTHONDONTWRITEBYTECODE=1 PYTHONWARNINGS=ignore AT_MOST=100
SECONDS_EACH=${SECONDS_EACH:-45}
[[ -n ${SIM:-} ]] || nvidia-smi --query-gpu=name,driver_version --format=csv,noheader | sort | uniq -c
xids() { dmesg 2>/dev/null | grep -i 'xid' | tail -n "+$((${1:-0} + 1))"; }

prepare() {
  name=$1 own=$W/$1 logs=$W/$1/logs log=$W/$1.txt
  mkdir -m 700 "$own" && mkdir "$logs" && : >"$log"
  export XDG_RUNTIME_DIR=$own LOGS=$logs GO=$own/go
  oks=0 refusals=0 failures=0 missed=0 verified=0 brief=
}
recorded() { # LABEL COMMAND…
  local label=$1
  shift
  timeout -s KILL 110 "$NODE" bin/gcr-templates.js run "${DEVICE[@]}" --store "$STORES/store-$name-$label" -- "$@" >"$own/$label.out" 2>"$own/$label.err" </dev/null
}
plain() { # LABEL COMMAND…
  if [[ -n ${SIM:-} ]]; then recorded "$@" && return; fi
  local label=$1
  shift
  timeout -s KILL 110 "$@" >"$own/$label.out" 2>"$own/$label.err" </dev/null
}
ready() { # LABEL: its process number
  until_line "$logs/$1" '^ready' 1 40 || { echo "FAILED  $name: $1 is not ready: $(grep -v -i warn "$own/$1.err" | tail -n 2 | cut -c 1-300 | paste -sd' ')" >&2; return 1; }
  sed -n 's/^ready //p' "$logs/$1" | head -n 1
}
# The four steps, by the driver alone.
by_driver() { # PID
  if [[ -n ${SIM:-} ]]; then echo "not simulated" >>"$log" && return; fi
  timeout -s KILL 40 "$NODE" "$CASES/driver.mjs" "$1" lock checkpoint restore unlock >"$own/steps" 2>&1 || { echo "FAILED  the driver's checkpoint of $1: $(grep -m 1 -i error "$own/steps")" | tee -a "$log"; return 1; }
  echo "driver $1: $(paste -sd' ' "$own/steps")" >>"$log"
}

# Median and highest of what short kernels took in three seconds.
beside() { # WHAT
  local from
  from=$(($(grep -c '^ms' "$logs/short") + 2))
  sleep 3
  printf '  %-16s %-51s %s; long ones: %s\n' "$name" "$1" "$(spread short $from)" "$(spread long 2)"
}
spread() { # LABEL FROM
  grep '^ms' "$logs/$1" 2>/dev/null | tail -n "+$2" | cut -d' ' -f2 | sort -n | awk '{ v[NR] = $1 } END { if (!NR) print "none"; else printf "%d of median %.2f ms, 95 %% %.2f ms, highest %.2f ms", NR, v[int((NR + 1) / 2)], v[int((NR * 95 + 99) / 100)], v[NR] }'
}
kernels() { # plain|recorded
  local how=$1 long short
  prepare "kernels-$how"
  $how short "$PYTHON" "$CASES/preempt.py" short &
  short=$(ready short) || return
  sleep 1
  beside "alone"
  $how long "$PYTHON" "$CASES/preempt.py" long &
  long=$(ready long) || return
  sleep 1
  beside "beside long ones"
  if [[ $how == plain ]]; then
    by_driver "$short" && beside "after the driver restored the short ones' program"
    by_driver "$long" && beside "after it restored both"
  else
    if ask "live" checkpoint --pid "$long" && ask "suspend" suspend --pid "$long" --keep-context && ask "resume" resume --pid "$long"; then beside "after a checkpoint, and suspend --keep-context"; fi
    ask "long" checkpoint --pid "$long" --control && beside "after --control of the long ones' program"
    ask "short" checkpoint --pid "$short" --control && beside "after --control of both"
    if ask "suspend" suspend --pid "$long" && ask "resume" resume --pid "$long"; then beside "after suspend and resume of the long ones' program"; fi
    echo "  $brief"
  fi
  touch "$GO"
  wait
  if ((failures + refusals > 0)); then failed=$((failed + 1)); fi
}

# Five programs whose kernels are on two devices at once.
five() { # undisturbed|driver|recorded
  local how=$1 i pids=() jobs=() end line xids_before dead=0 e d a l turns=0
  prepare "$how"
  xids_before=$(xids | wc -l)
  for i in 1 2 3 4 5; do
    mkdir "$logs/$i"
    if [[ $how == recorded && $i -le 3 ]]; then LOGS=$logs/$i recorded $i "$PYTHON" "$CASES/pair.py" 1000000 0.002 &
    else LOGS=$logs/$i plain $i "$PYTHON" "$CASES/pair.py" 1000000 0.002 & fi
    jobs[i]=$!
  done
  for i in 1 2 3 4 5; do
    until_line "$logs/$i/rank0" '^ready' 1 60 || { echo "FAILED  $how: $i is not ready: $(tail -n 2 "$own/$i.err" | cut -c 1-300)" && failed=$((failed + 1)); }
    pids[i]=$(sed -n 's/^ready //p' "$logs/$i/rank0")
  done
  end=$((SECONDS + SECONDS_EACH))
  while ((SECONDS < end)); do
    for i in 1 2 3; do
      kill -0 "${pids[i]}" 2>/dev/null || continue
      case $how in
        undisturbed) sleep 1 ;;
        driver) by_driver "${pids[i]}" ;;
        recorded) ask "$i" checkpoint --pid "${pids[i]}" --control || echo "  $message" ;;
      esac
      turns=$((turns + 1))
      sleep 0.3
    done
    kill -0 "${pids[1]}" 2>/dev/null || kill -0 "${pids[2]}" 2>/dev/null || kill -0 "${pids[3]}" 2>/dev/null || break
  done
  sleep 2
  touch "$GO"
  for _ in $(seq 150); do kill -0 "${jobs[@]}" 2>/dev/null || break; sleep 0.1; done
  for i in 1 2 3 4 5; do
    # How long ago it made its last step tells one that hangs.
    local age=$(($(date +%s) - $(stat -c %Y "$logs/$i/rank0")))
    kill -KILL "${pids[i]}" 2>/dev/null && echo "  $i does not end; its last line is $age s old"
    wait "${jobs[i]}"
    local status=$?
    read -r e d a l < <(compared "$logs/5/rank0" "$logs/$i/rank0")
    echo "  $how $i: ended with $status at step $(step_of "$logs/$i/rank0"); digests equal $e, differ $d, beyond $a; slow steps: $(grep -c '^slow' "$logs/$i/rank0"), longest $(sed -n 's/^slow [0-9]* //p' "$logs/$i/rank0" | sort -n | tail -n 1) s; $(grep -i -m 1 'error' "$own/$i.err" | cut -c 1-160)"
    if ((status + d > 0)); then dead=$((dead + 1)); fi
  done
  echo "== preempt $how: $dead of 5 dead or wrong; $turns turns, $oks ok, $refusals refused, $failures failed; $SECONDS s"
  xids "$xids_before" | cut -c 1-220 | tail -n 12
  tail -n 20 "$own"/*.err >>"$log"
  if ((dead + failures > 0)); then failed=$((failed + 1)); fi
}

failed=0
for one in $ONLY; do
  case $one in
    kernels) kernels plain; kernels recorded ;;
    undisturbed | driver | recorded) five "$one" ;;
    *) echo "no variant $one" && exit 64 ;;
  esac
done
echo "preempt: $failed failed"
exit $((failed > 0))
