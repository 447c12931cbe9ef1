#!/usr/bin/env bash
# Packs what a GPU machine without Node and without network needs to run this project: build/bundle/gcr-templates.tar.xz.
#
#   scripts/gpu/bundle.sh
#
# There: tar xJf gcr-templates.tar.xz && gcr-templates/node gcr-templates/bin/gcr-templates.js --help
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
node scripts/setup.mjs
npm run build:native --silent
folder=build/bundle/gcr-templates
rm -rf build/bundle
mkdir -p "$folder/build/native" "$folder/scripts"
cp -r bin dist schema bench package.json package-lock.json "$folder"
cp -r scripts/gpu "$folder/scripts"
cp -r build/native/{gcr_native.node,libgcr_recorder.so,apps} "$folder/build/native"
find "$folder/build/native/apps" \( -name CMakeFiles -o -name '*.cmake' -o -name '*.a' \) -prune -exec rm -rf {} +
cp "$(readlink -f "$(command -v node)")" "$folder/node"
(cd "$folder" && npm ci --omit=dev --ignore-scripts --no-audit --no-fund --silent)
tar -C build/bundle -c gcr-templates | xz -T0 >build/bundle/gcr-templates.tar.xz
rm -rf "$folder"
ls -l build/bundle
