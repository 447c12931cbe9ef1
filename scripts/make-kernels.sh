#!/usr/bin/env bash
# Compiles the kernels that run on the device to the PTX that is shipped. Needs nvcc; users do not need this.
#
#   scripts/make-kernels.sh
#
# NVCC  the compiler (default: nvcc)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../native/kernels"
# The lowest target that present compilers know. The PTX uses nothing newer than ISA 7.0, so drivers need not know the compiler's.
"${NVCC:-nvcc}" -std=c++17 -O3 -arch=compute_75 -ptx gcr_kernels.cu -o gcr_kernels.tmp
sed -e 's/^\.version .*/.version 7.0/' -e '/^\/\//d' gcr_kernels.tmp >gcr_kernels.ptx
rm gcr_kernels.tmp
