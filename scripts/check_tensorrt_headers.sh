#!/usr/bin/env bash
# Compiles the TensorRT plugin's sources against several versions' headers, without building
# anything: one adapter serves TensorRT 8.5 to 11.
#
# Usage: scripts/check_tensorrt_headers.sh [SDK_INCLUDE...]
#   SDK_INCLUDE   a folder with NvInfer.h, for example /opt/tensorrt-10.0/include
#   CUDA_INCLUDE_DIR (environment)   the folder with cuda.h; /usr/local/cuda/include if it is not set
#   CXX (environment)                the compiler; c++ if it is not set
#
# Exit status: 0 if all compile without a warning, or nothing is named; 1 if not; 2 for a wrong call.
set -euo pipefail
if [ $# -eq 0 ]; then
  echo "check_tensorrt_headers.sh: skipped: no folder with NvInfer.h is named"
  exit 0
fi
sdks=()
for sdk in "$@"; do sdks+=("$(realpath "$sdk")"); done
cd "$(dirname "$0")/.."
cuda=${CUDA_INCLUDE_DIR:-/usr/local/cuda/include}
if [ ! -f "$cuda/cuda.h" ]; then
  echo "check_tensorrt_headers.sh: no cuda.h in $cuda: set CUDA_INCLUDE_DIR" >&2
  exit 2
fi

failures=0
for sdk in "${sdks[@]}"; do
  if [ ! -f "$sdk/NvInfer.h" ]; then
    echo "check_tensorrt_headers.sh: no NvInfer.h in $sdk" >&2
    exit 2
  fi
  sources=(src/backends/tensorrt/*.cc)
  if printf '%s\0' "${sources[@]}" | xargs -0 -n 1 -P "$(nproc)" "${CXX:-c++}" -std=c++20 \
    -fsyntax-only -Wall -Wextra -Werror -Wno-missing-field-initializers \
    -Wno-deprecated-declarations -DVERDICT_PLUGIN_FOLDER='"."' \
    -DVERDICT_SOURCE_DIR='"."' -Isrc -isystem "$sdk" \
    -isystem "$cuda"; then
    echo "ok      $sdk"
  else
    echo "FAILED  $sdk"
    failures=$((failures + 1))
  fi
done
exit $((failures > 0))
