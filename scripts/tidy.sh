#!/usr/bin/env bash
# Runs clang-tidy 16 with .clang-tidy's checks.
#
# Usage: scripts/tidy.sh [FILE.cc...]
#   without files: every source file of src/ but tests, fuzz targets, and the TensorRT plugin, which
#   needs the user's SDK
set -euo pipefail
cd "$(dirname "$0")/.."

cmake --preset tidy >/dev/null
cmake --build --preset tidy --target generated_sources >/dev/null
files=("$@")
((${#files[@]})) || mapfile -t files < <(git ls-files 'src/*.cc' | grep -vE '_(test|fuzz|test_plugin)\.cc$|^src/backends/tensorrt/')
printf '%s\0' "${files[@]}" |
  xargs -0 -n 1 -P "$(nproc)" clang-tidy-16 --quiet -p build-tidy
