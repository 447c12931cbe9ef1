#!/usr/bin/env bash
# exports.sh LIBRARY FOLDER: the symbols that the recorder exports are those of hooks.def and dlsym; no name is hooked and called harmless, too.
set -euo pipefail
rows=$(grep -oE '^GCR_(EARLY_)?HOOK\([^)]*\)' "$2/hooks.def" | sed -E 's/^[^,]*, *([A-Za-z0-9]+), *([_a-z0-9]*),.*/\1\2/')
[[ $(sort <<<"$rows" | uniq -d) == '' ]] || { echo "rows that stand twice: $(sort <<<"$rows" | uniq -d)"; exit 1; }
diff <({ echo "$rows"; echo dlsym; } | sort) <(nm -D --defined-only "$1" | awk '{print $3}' | sort)
bases=$(grep -oE '^GCR_(EARLY_)?HOOK\([^)]*\)' "$2/hooks.def" | sed -E 's/^[^,]*, *([A-Za-z0-9]+),.*/\1/' | sort -u)
both=$(comm -12 <(echo "$bases") <(grep -oE '^GCR_HARMLESS\([A-Za-z0-9]+' "$2/harmless.def" | sed 's/.*(//' | sort -u))
[[ $both == '' ]] || { echo "hooked and harmless: $both"; exit 1; }
