#!/usr/bin/env bash
# Writes native/truth/arena_kernels_ptx.h from arena_kernels.cu: scripts/truth/make-arena-kernels.sh (needs nvcc).
# The ISA version is lowered to the oldest that has all it needs, so that every driver of sm_75 and newer takes it.
set -euo pipefail
folder=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../native/truth" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${NVCC:-nvcc}" -ptx -arch=sm_75 "$folder/arena_kernels.cu" -o "$work/kernels.ptx"
{
  echo '// Written by scripts/truth/make-arena-kernels.sh from arena_kernels.cu: the PTX text of the recorder'"'"'s own kernels.'
  echo '#pragma once'
  echo
  echo 'namespace gcr {'
  echo 'inline constexpr char arena_kernels_ptx[] = R"PTX('
  sed -E -e '/^\/\//d' -e '/^\s*$/d' -e 's/^\.version .*/.version 6.4/' "$work/kernels.ptx"
  echo ')PTX";'
  echo '}  // namespace gcr'
} >"$folder/arena_kernels_ptx.h"
sed -n '/^\.version/,/^)PTX/p' "$folder/arena_kernels_ptx.h" | sed '$d' >"$work/check.ptx"
"${PTXAS:-ptxas}" -arch=sm_90 "$work/check.ptx" -o "$work/check.cubin"
