# What the cases share: programs on a GPU beside what check.sh plays, in a clone that is built or in an unpacked bundle (scripts/gpu/bundle.sh). Each prints
# lines that begin with `==` and say PASS or FAIL, writes all that it saw to $OUT/NAME.txt, and ends with 0 when everything passed. SIM=1 takes the simulated
# device (PYTHON: one with PyTorch for the CPU).
#
# Each runs itself a second time under a time limit; the first one only collects what was found, ends what is left
# and prints. Every process of ours carries GCR_CASE_MARK in its environment, by which what is left is found.
#
#   begin NAME SECONDS     at the top; returns in the inner run alone
CASES=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
ROOT=$(cd "$CASES/../../.." && pwd)
OUT=$(realpath -m "${OUT:-/tmp/gcr-cases}")
cd "$ROOT" && mkdir -p "$OUT" || exit 73
export CASES OUT
NODE=$ROOT/node
[[ -x $NODE ]] || NODE=$(command -v node) || { echo "there is no node, here or in PATH"; exit 69; }
[[ -f build/native/libgcr_recorder.so ]] || { echo "$ROOT is neither built nor an unpacked bundle: npm run build:native"; exit 69; }
DEVICE=()
[[ -z ${SIM:-} ]] || DEVICE=(--device sim)

of_ours() { grep -lsz "^GCR_CASE_MARK=$W\$" /proc/[0-9]*/environ 2>/dev/null | cut -d/ -f3; }
end_ours() {
  local pid round
  for round in 1 2 3; do
    for pid in $(of_ours); do kill -KILL "$pid" 2>/dev/null; done
    sleep 0.2
  done
}
begin() {
  local name=$1 limit=$2
  if [[ -n ${GCR_CASE_MARK:-} ]]; then W=$GCR_CASE_MARK STORES=$(cat "$GCR_CASE_MARK/stores") && return; fi
  local started=$SECONDS
  W=$(mktemp -d -p /dev/shm gcr-case.XXXXXX) || exit 73
  # Stores lie in memory where there is plenty of it.
  STORES=$W
  (($(df --output=avail -m /dev/shm | tail -n 1) > ${SHM_MIB:-40000})) || STORES=$(mktemp -d -p "${TMPDIR:-/tmp}" gcr-case-stores.XXXXXX)
  echo "$STORES" >"$W/stores"
  trap 'end_ours; after_all; rm -rf "$W" "$STORES"' EXIT
  trap 'exit 130' INT TERM HUP
  GCR_CASE_MARK=$W timeout -s KILL "$limit" bash "$CASES/${0##*/}" </dev/null >"$W/main" 2>&1
  local status=$?
  head -c 20000 "$W/main"
  ((status == 0)) || echo "$name: ended with $status after $((SECONDS - started)) s (137: its limit of $limit s)"
  local left
  sleep 0.3
  left=$(of_ours | wc -l)
  ((left == 0)) || echo "$name: $left processes were left, and are ended"
  { cat "$W/main"; for one in "$W"/*.txt; do [[ -f $one ]] && echo && echo "######## ${one##*/}" && head -c 40000 "$one"; done; } >"$OUT/$name.txt"
  echo "$name: $((SECONDS - started)) s"
  exit "$status"
}
after_all() { :; }

# One command, with a limit.
gcr() { timeout -s KILL "${LIMIT:-45}" "$NODE" "$ROOT/bin/gcr-templates.js" "$@"; }
# Seconds with a tenth, of milliseconds.
seconds() { printf '%d.%d' $(($1 / 1000)) $(($1 % 1000 / 100)); }
now() { echo $(($(date +%s%N) / 1000000)); }

# An operation, judged: ok; refused (69 or 75, with a code); or failed. It is told in $log; $brief, $oks, $refusals, $failures, $missed add up; $result, $message and
# $took (ms) are of this one. The answer is in $own/answer.
ask() { # LABEL COMMAND…
  local label=$1 status=0 start told=
  shift
  start=$(now)
  gcr "$@" --json >"$own/answer" 2>"$own/complaint" </dev/null || status=$?
  took=$(($(now) - start))
  message=$(grep -m1 -o 'GCR[0-9]*.*\|error.*' "$own/complaint" | cut -c 1-230)
  if [[ -s $own/answer ]]; then
    told=$("$NODE" "$CASES/tell.mjs" "$own/answer" "${KERNELS:-0}" 2>&1)
    local one
    one=$(sed -n '1s/.*missed=\([0-9]*\).*/\1/p' <<<"$told")
    missed=$((missed + ${one:-0}))
    verified=$((verified + $(head -n 1 <<<"$told" | grep -c 'verified=all')))
  fi
  case $status in
    0) result=ok && oks=$((oks + 1)) ;;
    69 | 75) if [[ -n $message ]]; then result=refused && refusals=$((refusals + 1)); else result=FAILED && failures=$((failures + 1)); fi ;;
    *) result=FAILED && failures=$((failures + 1)) ;;
  esac
  brief+="$label $result $(seconds $took)s; "
  {
    echo "$label: $result, status $status, $took ms"
    [[ -z $told ]] || sed 's/^/    /' <<<"$told"
    [[ ! -s $own/complaint ]] || head -n 6 "$own/complaint" | cut -c 1-400 | sed 's/^/    ! /'
  } >>"$log"
  [[ $result == ok ]]
}
oks=0 refusals=0 failures=0 missed=0 verified=0 brief= result= message= took=0
step_of() { sed -n 's/^step //p' "$1" 2>/dev/null | tail -n 1 | grep . || echo 0; }
until_line() { # FILE PATTERN COUNT SECONDS
  local end=$(($(now) + $4 * 1000)) lines
  for (( ; ; )); do
    lines=$(grep -c "$2" "$1" 2>/dev/null)
    ((${lines:-0} < $3)) || return 0
    (($(now) < end)) || return 1
    sleep 0.1
  done
}
# The digests of a log that are, are not, and could not be found in that of an undisturbed run; the step of the last that is.
compared() { # PLAIN RECORDED
  awk 'FNR == NR { if ($1 == "digest") p[$2] = $3; next } $1 == "digest" { if (!($2 in p)) a++; else if (p[$2] == $3) { e++; l = $2 } else d++ } END { print e + 0, d + 0, a + 0, l + 0 }' "$1" "$2"
}
