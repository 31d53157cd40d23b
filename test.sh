#!/usr/bin/env bash
# Installs what the tests need, builds, and runs every test.
#
# Usage: ./test.sh [STAGE...]
#   static       formatting, include arrows, shell syntax
#   unit         release build; every C++ unit test in it
#   integration  pytest: Python packages, examples, and the built `verdict` from outside
#   asan         unit tests under AddressSanitizer and UndefinedBehaviorSanitizer
#   tsan         unit tests of base, runtime, observe, release and serve under ThreadSanitizer
#   fuzz         every libFuzzer target for 30 s
#   tidy         clang-tidy on every source file; not part of `all`
#   all          all of the above but tidy; what runs where no stage is named
#
# The last line reads "N passed, N failed, N skipped"; the exit status is 0 if nothing failed.
# Results and logs: build/test-results/.
set -euo pipefail
cd "$(dirname "$0")"

stages=()
for stage in "${@:-all}"; do
  case $stage in
    all) stages+=(static unit integration asan tsan fuzz) ;;
    static | unit | integration | asan | tsan | fuzz | tidy) stages+=("$stage") ;;
    -h | --help) sed -n '2,15s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *)
      sed -n '4,13s/^# \{0,1\}//p' "$0" >&2
      echo "test.sh: no such stage: $stage" >&2
      exit 2
      ;;
  esac
done

. scripts/progress.sh
scripts/install-deps.sh test
scripts/python-env.sh test
exec python3 scripts/run_tests.py "${stages[@]}"
