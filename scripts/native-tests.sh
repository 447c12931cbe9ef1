#!/usr/bin/env bash
# Builds and runs the native tests (ctest): plain, with AddressSanitizer and UBSan, with ThreadSanitizer.
#   scripts/native-tests.sh [plain|address|thread] ...     all three without an argument
set -eu -o pipefail
cd "$(dirname "$0")/.."
generator=()
if command -v ninja >/dev/null; then generator=(-G Ninja); fi
mkdir -p build/native-tests
for kind in "${@:-plain address thread}"; do
  for sanitizer in $kind; do
    build=build/native-tests/$sanitizer
    flags=()
    # Sanitizers slow everything down; fewer inputs then say the same about memory.
    if [ "$sanitizer" != plain ]; then
      flags=(-DGCR_SANITIZE="$sanitizer")
      export GCR_FUZZ_RUNS=${GCR_FUZZ_RUNS:-5000} GCR_FUZZ_SESSIONS=${GCR_FUZZ_SESSIONS:-15}
    fi
    cmake -S native -B "$build" "${generator[@]}" -DCMAKE_BUILD_TYPE=Release "${flags[@]}" >"$build.log" 2>&1 || { cat "$build.log"; exit 1; }
    cmake --build "$build" --parallel >"$build.log" 2>&1 || { cat "$build.log"; exit 1; }
    echo "native tests ($sanitizer)"
    # Of tests that pass only the sum is worth a line.
    ctest --test-dir "$build" --output-on-failure --timeout 600 >"$build.log" 2>&1 || { tail -n 300 "$build.log"; exit 1; }
    tail -n 4 "$build.log"
  done
done
