#!/usr/bin/env bash
# Packs what a GPU machine without Node and without network needs to run this project: build/bundle/gcr-templates.tar.xz.
#
#   scripts/gpu/bundle.sh
#
# There: tar xJf gcr-templates.tar.xz && cd gcr-templates, and
#   scripts/gpu/check.sh
#   ./node bench/gpu/main.mjs --output results
# The program on the CUDA runtime comes along where nvcc is.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
node scripts/setup.mjs
npm run build:native --silent
apps=build/native/apps
if command -v "${NVCC:-nvcc}" >/dev/null || [[ -x /usr/local/cuda/bin/nvcc ]]; then fixtures/apps/runtime/build.sh "$apps"
else echo "no nvcc: the program on the CUDA runtime is left out" >&2; fi
cmake -S native -B build/native -DGCR_TESTS=ON >/dev/null
cmake --build build/native --target simdriver_scenarios >/dev/null
folder=build/bundle/gcr-templates
rm -rf build/bundle
mkdir -p "$folder/build/native" "$folder/scripts" "$folder/fixtures/apps" "$folder/native"
cp -r bin dist schema bench package.json package-lock.json "$folder"
cp -r scripts/gpu scripts/runtime scripts/runtime-chains.mjs "$folder/scripts"
mkdir "$folder/scripts/judge" "$folder/examples"
cp scripts/judge/random.mjs "$folder/scripts/judge"
cp examples/read_checkpoint.py "$folder/examples"
cp -r fixtures/apps/kernels "$folder/fixtures/apps"
cp -r native/kernels "$folder/native"
cp -r build/native/{gcr_native.node,libgcr_recorder.so,apps} build/native/simdriver/test/simdriver_scenarios "$folder/build/native"
find "$folder/build/native/apps" \( -name CMakeFiles -o -name '*.cmake' -o -name '*.a' \) -prune -exec rm -rf {} +
cp "$(readlink -f "$(command -v node)")" "$folder/node"
(cd "$folder" && npm ci --omit=dev --ignore-scripts --no-audit --no-fund --silent)
tar -C build/bundle -c gcr-templates | xz -T0 >build/bundle/gcr-templates.tar.xz
rm -rf "$folder"
ls -l build/bundle
