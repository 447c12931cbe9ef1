#!/usr/bin/env bash
# exports.sh LIBRARY FOLDER: the symbols that the recorder exports are those of hooks.def, contracts.def, dlsym and dlclose; no name is hooked and called
# harmless, too.
set -euo pipefail
rows=$(grep -oE '^GCR_(EARLY_)?HOOK\([^)]*\)' "$2/hooks.def" | sed -E 's/^[^,]*, *([A-Za-z0-9]+), *([_a-z0-9]*),.*/\1\2/')
[[ $(sort <<<"$rows" | uniq -d) == '' ]] || { echo "rows that stand twice: $(sort <<<"$rows" | uniq -d)"; exit 1; }
contracts=$(sed -nE 's/^GCR_CONTRACT(_64)?\([a-z]+, *[a-z_0-9]+, *([A-Za-z0-9_]+),.*/\2 \1/p' "$2/contracts.def" | awk '{ print $1 } $2 { print $1 $2 }')
[[ $(sort <<<"$contracts" | uniq -d) == '' ]] || { echo "contracts that stand twice: $(sort <<<"$contracts" | uniq -d)"; exit 1; }
diff <({ echo "$rows"; echo "$contracts"; echo dlclose; echo dlsym; } | sort) <(nm -D --defined-only "$1" | awk '{print $3}' | sort)
bases=$(grep -oE '^GCR_(EARLY_)?HOOK\([^)]*\)' "$2/hooks.def" | sed -E 's/^[^,]*, *([A-Za-z0-9]+),.*/\1/' | sort -u)
both=$(comm -12 <(echo "$bases") <(grep -oE '^GCR_HARMLESS\([A-Za-z0-9]+' "$2/harmless.def" | sed 's/.*(//' | sort -u))
[[ $both == '' ]] || { echo "hooked and harmless: $both"; exit 1; }
