#!/usr/bin/env bash
# Regenerates the compiled files of fixtures/containers from fixtures/containers/src, and the Triton cache.
#
#   scripts/make-containers.sh
#
# NVCC   the compiler; default: nvcc on PATH, then /usr/local/cuda/bin/nvcc
#
# No GPU is needed. Everything is compiled by relative names in a temporary folder; the script fails when a file still
# names a path of this machine. Object code differs between releases of the compiler, so tests compare files of one run
# with each other and never with fixed bytes.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
out=$root/fixtures/containers
nvcc=${NVCC:-$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)}
command -v "$nvcc" >/dev/null || { echo "make-containers: no nvcc: set NVCC" >&2; exit 1; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp "$out"/src/*.cu "$work"
cd "$work"
mkdir bin

compile() { "$nvcc" -frandom-seed gcr -Xcompiler -g0 "$@"; }
both=(-gencode 'arch=compute_80,code=[sm_80,compute_80]' -gencode 'arch=compute_90,code=[sm_90,compute_90]')

# One fatbin a compression mode.
for mode in none speed balance size default; do
  compile "${both[@]}" -fatbin "--compress-mode=$mode" kernels.cu -o "bin/kernels.$mode.fatbin"
done
# Machine code only, and text only.
compile -gencode arch=compute_90,code=sm_90 -fatbin kernels.cu -o bin/no-ptx.fatbin
compile -gencode arch=compute_90,code=compute_90 -fatbin kernels.cu -o bin/ptx-only.fatbin
# A bare cubin, and one without its symbol table.
compile -arch=sm_90 -cubin kernels.cu -o bin/kernels.sm_90.cubin
# Host files. `default` is zstd, `speed` LZ4.
compile "${both[@]}" -c kernels.cu -o bin/kernels.o
compile "${both[@]}" -dc kernels.cu -o bin/kernels.rdc.o
compile "${both[@]}" --compress-mode=speed -c second.cu -o second.o
compile -gencode arch=compute_90,code=sm_90 -c second.cu -o no-ptx.o
# Without a runtime: nothing here is run.
compile "${both[@]}" -cudart none -shared -Xcompiler -fPIC -Xlinker -s kernels.cu second.cu -o bin/libkernels.so
compile "${both[@]}" -DWITH_MAIN -cudart none -Xlinker -s,--unresolved-symbols=ignore-all \
  kernels.cu no-ptx.o -o bin/app
# Deterministic (`D`): no times, no user. The member with the long name takes the archive's name table.
cp second.o second-with-a-long-name.o
ar rcD bin/libkernels.a bin/kernels.o second-with-a-long-name.o

# A Triton cache: one folder a kernel, the text beside the machine code; one folder without text.
# The folder names are hashes in Triton's form, made up.
cache=$out/triton-cache
text_folder=$cache/GCRTEXT2Q7NDM4YHWB3K5VEJX6LFUZPOIACS
code_folder=$cache/GCRCODE5VJX6LFUZPOIACS2Q7NDM4YHWB3K
rm -rf "$cache"
mkdir -p "$text_folder" "$code_folder"
compile -arch=compute_90 -ptx second.cu -o scale.ptx
compile -arch=sm_90 -cubin second.cu -o scale.cubin
cp scale.ptx scale.cubin "$text_folder"
cp bin/kernels.sm_90.cubin "$code_folder/kernels.cubin"
metadata() { printf '{"name": "%s", "target": {"backend": "cuda", "arch": 90, "warp_size": 32}, "num_warps": 4, "shared": 0}\n' "$1"; }
metadata scale >"$text_folder/scale.json"
metadata fill >"$code_folder/kernels.json"
printf '{"child_paths": {"scale.ptx": "scale.ptx", "scale.cubin": "scale.cubin", "scale.json": "scale.json"}}\n' \
  >"$text_folder/__grp__scale.json"

rm -rf "$out/bin"
mv bin "$out/bin"

while IFS= read -r file; do
  if found=$(strings -a "$file" | grep -E '/(root|work|home|tmp|opt|var)/'); then
    echo "make-containers: ${file#"$root"/} names a path of this machine: $found" >&2
    exit 1
  fi
done < <(find "$out/bin" "$cache" -type f)
du -sh "$out"
