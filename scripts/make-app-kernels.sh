#!/usr/bin/env bash
# Regenerates the PTX of the sample programs (fixtures/apps/kernels/*.ptx) from its source.
#
#   scripts/make-app-kernels.sh
#
# NVCC  the compiler  (default: nvcc on PATH, then /usr/local/cuda/bin/nvcc)
#
# No GPU is needed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../fixtures/apps/kernels"
nvcc=${NVCC:-$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)}
for source in *.cu; do
  "$nvcc" --ptx -O2 -arch=compute_80 -o "${source%.cu}.ptx" "$source"
done
