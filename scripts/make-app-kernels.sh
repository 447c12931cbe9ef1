#!/usr/bin/env bash
# Regenerates the PTX of the sample programs and of the simulated device's tests (fixtures/apps/kernels/*.ptx) from its source.
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
  # Clusters came with compute capability 9.0.
  arch=$([[ $source == cluster.cu || $source == features.cu ]] && echo compute_90 || echo compute_80)
  "$nvcc" --ptx -O2 -arch="$arch" -o "${source%.cu}.ptx" "$source"
done
