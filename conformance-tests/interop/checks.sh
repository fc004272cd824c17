# Shared by the shell scripts here: one line for each check, and the count at the end. Sourced, bash.
# shellcheck shell=bash

PASSED=0
FAILED=0

ok() {
  PASSED=$((PASSED + 1))
  printf 'ok %s: %s\n' "$LABEL" "$1"
}

failed() { # WHAT EXPECTED-AND-CAME
  FAILED=$((FAILED + 1))
  printf 'FAILED %s: %s: %s\n' "$LABEL" "$1" "$(tr '\n' ' ' <<<"$2" | cut -c 1-1200)"
}

# contains WHAT TEXT REGEX: the text has the (extended, case-insensitive) pattern in it.
contains() {
  if grep -Eqi -- "$3" <<<"$2"; then ok "$1"; else failed "$1" "expected /$3/, came: $2"; fi
}

lacks() { # WHAT TEXT REGEX
  if grep -Eqi -- "$3" <<<"$2"; then failed "$1" "expected no /$3/, came: $2"; else ok "$1"; fi
}

finish() {
  printf '%s: %s passed, %s failed\n' "$LABEL" "$PASSED" "$FAILED"
  ((FAILED == 0 && PASSED > 0))
}
