#!/usr/bin/env bash
# Regenerates fixtures/containers (compiled files, Triton cache, Neutrino trace) from fixtures/containers/src.
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
for mode in speed size; do
  compile -gencode arch=compute_90,code=compute_90 -fatbin "--compress-mode=$mode" large.cu -o "bin/large.$mode.fatbin"
done
# Machine code only, and text only.
compile -gencode arch=compute_90,code=sm_90 -fatbin kernels.cu -o bin/no-ptx.fatbin
compile -gencode arch=compute_90,code=compute_90 -fatbin kernels.cu -o bin/ptx-only.fatbin
# Texts and machine code for several targets, of a kernel that writes elsewhere on each.
targets() { # name, pairs of virtual and real architectures
  local name=$1 pair
  shift
  local options=()
  for pair in "$@"; do options+=(-gencode "arch=${pair%%:*},code=${pair#*:}"); done
  compile "${options[@]}" -fatbin targets.cu -o "bin/targets.$name.fatbin"
}
targets texts compute_80:compute_80 compute_90:compute_90
targets both 'compute_80:[sm_80,compute_80]' 'compute_90:[sm_90,compute_90]'
targets cross compute_80:sm_90 compute_90:compute_90
targets cross-known 'compute_80:[sm_90,compute_80]'
targets accelerated compute_90a:sm_90a compute_90:compute_90
targets accelerated-known 'compute_90a:[sm_90a,compute_90a]' compute_90:compute_90
targets older compute_80:sm_80 'compute_86:[sm_86,compute_86]'
targets family compute_100f:sm_103f
compile -arch=sm_90a -cubin targets.cu -o bin/targets.sm_90a.cubin
# A bare cubin.
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
# Linked on the device as well: machine code in .nv_fatbin, the objects' own fatbins in __nv_relfatbin.
compile "${both[@]}" -dc -DWITH_MAIN kernels.cu -o main.rdc.o
compile "${both[@]}" -dc second.cu -o second.rdc.o
compile -gencode arch=compute_80,code=sm_80 -gencode arch=compute_90,code=sm_90 -dlink main.rdc.o second.rdc.o -o linked.o
"${CXX:-g++}" -s -Wl,--unresolved-symbols=ignore-all main.rdc.o second.rdc.o linked.o -o bin/app.rdc
# The compiler's temporary names change from run to run.
strip --strip-unneeded bin/*.o second.o
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

# A Neutrino trace in the form of its main branch of July 2025, with what goes wrong in real ones.
trace=$out/neutrino/trace
run=$trace/Apr24_231539_1860576
rm -rf "$out/neutrino"
mkdir -p "$run/kernel" "$run/result"
for arch in 80 90; do compile -arch=compute_$arch -ptx kernels.cu -o kernels.$arch.ptx; done
cat kernels.80.ptx kernels.90.ptx >both.ptx
# PTX of the text given, with one entry alone, as pruning leaves it: `pruned TEXT PREFIX`. It takes the first entry whose
# name starts so, which is the wrong one when the names are fill and fill2, and loses variables behind the first entry.
pruned() {
  awk -v start="$2" '
    /^\.version/ { blocks++ }
    blocks > 1 { exit }
    /\.entry/ { inside = 1; wanted = index($0, ".entry " start) > 0 && !taken; if (wanted) taken = 1 }
    !inside || wanted
    /^}/ { inside = 0 }' "$1"
}
folder() { # number, kernel
  local path
  path=$run/kernel/$1_$(printf %s "$2" | sha1sum | cut -d' ' -f1)
  mkdir -p "$path"
  echo "$path"
}
instrumented='// instrumented: never to be used'
# All files. Several .version blocks; pruned.ptx has fill2 instead of fill; the parameter count is wrong.
path=$(folder 0 fill)
cp bin/kernels.default.fatbin "$path/original.bin"
cp both.ptx "$path/original.ptx"
sed 's/\.entry fill(/.entry fill_renamed(/' both.ptx >shifted.ptx
pruned shifted.ptx fill2 >"$path/pruned.ptx"
{ echo "$instrumented"; cat both.ptx; } >"$path/probed.ptx"
cp bin/no-ptx.fatbin "$path/probed.bin"
printf 'fill\n1\n1\nu64,8\n' >"$path/kernel.info"
echo 'probing done' >"$path/process.log"
# The image alone.
cp bin/kernels.default.fatbin "$(folder 1 fill2)/original.bin"
# The pruned text alone: the image was never written.
pruned scale.ptx scale >"$(folder 2 scale)/pruned.ptx"
# The same name again, as autotuning gives it, with another text.
{ echo '// second configuration'; cat kernels.90.ptx; } >"$(folder 3 fill)/original.ptx"
# Instrumented files only.
path=$(folder 4 hidden)
{ echo "$instrumented"; sed 's/scale/hidden/' scale.ptx; } >"$path/probed.ptx"
# original.ptx lacks the kernel; pruned.ptx has it.
path=$(folder 5 scale_late)
cp kernels.90.ptx "$path/original.ptx"
sed 's/scale/scale_late/' scale.ptx >"$path/pruned.ptx"
# No file has the kernel: pruned by prefix, and nothing else was kept.
pruned shifted.ptx fill2 >"$(folder 6 fi)/pruned.ptx"
# Behind 6 by number, in front of it by name: machine code only.
cp bin/no-ptx.fatbin "$(folder 10 _Z9transposePfPKfii)/original.bin"
# Not in the log; kernel.info tells the name.
path=$(folder 11 unlogged)
sed 's/scale/unlogged/' scale.ptx >"$path/original.ptx"
printf 'unlogged\n2\n0\n' >"$path/kernel.info"
# The name is nowhere: all kernels of the image.
cp kernels.80.ptx "$(folder 12 lost)/original.ptx"
printf 'position = "kernel"\n' >"$run/probe.toml"
printf '\0\1\2\3' >"$run/result/0.bin"
{
  echo '[pid] 1860576'
  for name in fill fill2 scale hidden scale_late fi _Z9transposePfPKfii; do
    printf '[mod]  cuModuleGetFunction 0 func 0x55d0c0ffee00 mod 0x55d0c0ffee80 name %s\n' "$name"
  done
  echo '[lib]  cuLibraryGetKernel 0 kernel 0x55d0c0ffee10 lib 0x55d0c0ffee80 name scale'
  printf '[probe] fill\x8f\xff\xfe\x01 name garbage\n'
  echo '[mem]  cuMemAlloc_v2 0 dptr 7f5d2a000000 bytesize 4096'
  echo '[exec] 1234567 param 7f5d2a000000 deadbeef3f800000 cafef00d00000400'
  echo '[exec] grid 4 1 1 block 256 1 1 shared 0'
  echo '[mem]  cuMemFree_v2 0 dptr 7f5d2a000000'
} >"$run/event.log"

rm -rf "$out/bin"
mv bin "$out/bin"

while IFS= read -r file; do
  if found=$(strings -a "$file" | grep -E '/(root|work|home|tmp|opt|var)/'); then
    echo "make-containers: ${file#"$root"/} names a path of this machine: $found" >&2
    exit 1
  fi
done < <(find "$out/bin" "$cache" "$out/neutrino" -type f)
du -sh "$out"
