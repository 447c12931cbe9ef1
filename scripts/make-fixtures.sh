#!/usr/bin/env bash
# Regenerates fixtures/ptx/nvcc and fixtures/ptx/triton from fixtures/ptx/src.
#
#   scripts/make-fixtures.sh [nvcc|triton|check]...     (default: all three, in this order)
#
# NVCC         the compiler          (default: nvcc on PATH, then /usr/local/cuda/bin/nvcc)
# PTXAS        the assembler         (default: the one next to nvcc, then ptxas on PATH)
# TRITON_VENV  a Python environment  (default: /tmp/triton-venv, made when missing)
# TRITON_WHEEL what pip installs     (default: triton==3.8.0)
#
# No GPU is needed. The output names no path of this machine: everything is compiled in
# /tmp/gcr-fixtures (debug information names that), and the toolkit's own paths become /cuda.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
src=$root/fixtures/ptx/src
out=$root/fixtures/ptx
work=/tmp/gcr-fixtures

find_tool() { # name, candidates...
  local name=$1 candidate
  shift
  for candidate in "$@"; do
    if [[ -n $candidate ]] && command -v "$candidate" >/dev/null 2>&1; then
      command -v "$candidate"
      return
    fi
  done
  echo "make-fixtures: no $name found" >&2
  exit 1
}

nvcc=$(find_tool nvcc "${NVCC:-}" nvcc /usr/local/cuda/bin/nvcc)
ptxas=$(find_tool ptxas "${PTXAS:-}" "$(dirname "$nvcc")/ptxas" ptxas /usr/local/cuda/bin/ptxas)

rm -rf "$work"
mkdir -p "$work"
trap 'rm -rf "$work"' EXIT

# Paths in `.file` lines and in quoted strings: the toolkit becomes /cuda, the host compiler /gcc, a
# Python environment /python, our own directory the bare name.
neutral() {
  sed -E \
    -e 's#"[^"]*/targets/[^/"]+/include/#"/cuda/include/#g' \
    -e 's#"[^"]*/bin/\.\./include/#"/cuda/include/#g' \
    -e 's#"[^"]*/lib/gcc/[^"]*/include/#"/gcc/include/#g' \
    -e 's#"/usr/(local/)?include/#"/system/include/#g' \
    -e 's#"[^"]*/site-packages/#"/python/#g' \
    -e "s#$work/?##g" \
    "$1" >"$1.neutral"
  mv "$1.neutral" "$1"
}

compile() { # name, architecture, suffix, flags...
  local name=$1 arch=$2 suffix=$3 target=$out/nvcc/$1.sm_$2$3.ptx
  shift 3
  (cd "$work" && "$nvcc" -ptx "-arch=sm_$arch" "$@" "$name.cu" -o "$name.ptx")
  neutral "$work/$name.ptx"
  mv "$work/$name.ptx" "$target"
  echo "  ${target#"$root"/}"
}

make_nvcc() {
  echo "nvcc: $("$nvcc" --version | grep -o 'release [0-9.]*, V[0-9.]*')"
  mkdir -p "$out/nvcc"
  rm -f "$out"/nvcc/*.ptx
  cp "$src"/*.cu "$work"
  local file name arch
  for file in "$src"/*.cu; do
    name=$(basename "$file" .cu)
    if [[ $name == reduce_scan_sort ]]; then
      compile "$name" 80 "" # one architecture: CUB is large
      continue
    fi
    if [[ $name == geometry ]]; then
      for arch in 80 90; do compile "$name" "$arch" ""; done # what sm_75 would give is what sm_80 gives
      continue
    fi
    for arch in 75 80 90; do compile "$name" "$arch" ""; done
  done
  for name in elementwise control layernorm gemm_tiled geometry; do compile "$name" 80 .G -G; done
  local bytes
  bytes=$(cat "$out"/nvcc/*.ptx | wc -c)
  echo "  $bytes bytes in all"
  if ((bytes > 5 * 1024 * 1024)); then
    echo "make-fixtures: fixtures/ptx/nvcc is larger than 5 MB" >&2
    exit 1
  fi
}

make_triton() {
  local venv=${TRITON_VENV:-/tmp/triton-venv} file
  if [[ ! -x $venv/bin/python ]]; then python3 -m venv "$venv"; fi
  if ! "$venv/bin/python" -c 'import triton' 2>/dev/null; then
    "$venv/bin/python" -m pip install -q "${TRITON_WHEEL:-triton==3.8.0}"
  fi
  mkdir -p "$out/triton" "$work/ptx"
  rm -f "$out"/triton/*.ptx
  cp "$src/triton_kernels.py" "$work"
  (cd "$work" && TRITON_CACHE_DIR=$work/cache TRITON_PTXAS_PATH=$ptxas "$venv/bin/python" triton_kernels.py ptx)
  for file in "$work"/ptx/*.ptx; do
    neutral "$file"
    mv "$file" "$out/triton/"
  done
}

# Every file must assemble, and none may name a directory of this machine. Debug strings may be
# written as numbers, so these are decoded first.
check() {
  local file arch bad=0
  for file in "$out"/nvcc/*.ptx "$out"/triton/*.ptx; do
    arch=$(grep -m1 -oE '^\.target +sm_[0-9]+[af]?' "$file" | grep -oE 'sm_.*')
    if ! "$ptxas" "-arch=$arch" "$file" -o "$work/check.cubin" 2>"$work/check.log"; then
      echo "ptxas rejects ${file#"$root"/}:" >&2
      cat "$work/check.log" >&2
      bad=1
    fi
  done
  python3 - "$root" "$HOME" "$work" "$out"/nvcc/*.ptx "$out"/triton/*.ptx <<'PY' || bad=1
import re, sys

root, home, work = sys.argv[1:4]
needles = [s for s in (root, home) if len(s) > 1] + ["/home/", "/usr/", "/opt/", "/tmp/", "site-packages"]
bad = False
for path in sys.argv[4:]:
    text = open(path, encoding="latin-1").read()
    data = b"".join(
        bytes(int(n, 0) & 255 for n in line.split(","))
        for line in re.findall(r"^\s*\.b8\s+(\d[0-9xXa-fA-F, ]*)\s*;?\s*(?://.*)?$", text, re.M)
    ).decode("latin-1")
    for needle in needles:
        if needle in f"{text}\n{data}".replace(work, ""):
            print(f"{path}: names {needle}", file=sys.stderr)
            bad = True
sys.exit(bad)
PY
  if ((bad)); then exit 1; fi
  echo "check: all accepted, no path of this machine"
}

if (($# == 0)); then set -- nvcc triton check; fi
for step in "$@"; do
  case $step in
    nvcc) make_nvcc ;;
    triton) make_triton ;;
    check) check ;;
    *)
      echo "usage: scripts/make-fixtures.sh [nvcc|triton|check]..." >&2
      exit 64
      ;;
  esac
done
