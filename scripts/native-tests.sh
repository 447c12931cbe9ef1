#!/usr/bin/env bash
# Builds and runs the native tests (ctest): plain, with AddressSanitizer and UBSan, with ThreadSanitizer.
#   scripts/native-tests.sh [--build] [plain|address|thread] ...     all three without one; --build only builds
# The plain ones lie where the native part is built (build/native), whose libraries they share.
set -eu -o pipefail
cd "$(dirname "$0")/.."
only_build=
if [ "${1:-}" = --build ]; then only_build=yes && shift; fi
for kind in "${@:-plain address thread}"; do
  for sanitizer in $kind; do
    build=build/native-tests/$sanitizer
    flags=(-DGCR_SANITIZE="$sanitizer")
    if [ "$sanitizer" = plain ]; then
      build=build/native
      flags=()
    else
      # Sanitizers slow everything down; fewer inputs then say the same about memory.
      export GCR_FUZZ_RUNS=${GCR_FUZZ_RUNS:-5000} GCR_FUZZ_SESSIONS=${GCR_FUZZ_SESSIONS:-15}
      # At its end each process waits for races of threads that are left: a second if nothing else is said, and tests start many processes.
      export TSAN_OPTIONS=${TSAN_OPTIONS:-atexit_sleep_ms=50}
    fi
    if [ ! -f "$build/CMakeCache.txt" ] && command -v ninja >/dev/null; then flags+=(-G Ninja); fi
    mkdir -p build/native-tests
    log=build/native-tests/$sanitizer.log
    cmake -S native -B "$build" -DCMAKE_BUILD_TYPE=Release -DGCR_TESTS=ON "${flags[@]}" >"$log" 2>&1 || { cat "$log"; exit 1; }
    cmake --build "$build" --parallel >"$log" 2>&1 || { cat "$log"; exit 1; }
    if [ -n "$only_build" ]; then continue; fi
    echo "native tests ($sanitizer)"
    # Of tests that pass only the sum is worth a line.
    ctest --test-dir "$build" --parallel "$(nproc)" --output-on-failure --timeout 600 >"$log" 2>&1 || { tail -n 300 "$log"; exit 1; }
    tail -n 4 "$log"
  done
done
