#!/usr/bin/env bash
# Scores transactions with Verdict, from nothing.
#
# Usage: ./quickstart.sh [--keep] [--seed N]
#   --keep     leave the server running afterwards, and say what to try next
#   --seed N   simulate another world (default 1)
#
# Installs what is missing (Debian packages; Python packages into .venv), builds the release
# preset, simulates card transactions with fraud among them, trains three models on the earlier
# weeks, exports them to ONNX, builds engines, starts the server, sends it the later weeks over
# HTTP, and reports quality and speed. The first run takes minutes, later ones less than one.
# Everything lands in build/ and .venv/.
set -euo pipefail
cd "$(dirname "$0")"
. scripts/progress.sh

lab_options=()
while (($#)); do
  case $1 in
    --keep) lab_options+=(--keep) ;;
    --seed)
      [[ ${2:-} =~ ^[0-9]{1,9}$ ]] || die "--seed wants a whole number"
      lab_options+=(--seed "$2")
      shift
      ;;
    -h | --help) sed -n '2,12s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *)
      sed -n '4,6s/^# \{0,1\}//p' "$0" >&2
      echo "quickstart.sh: unknown argument: $1" >&2
      exit 2
      ;;
  esac
  shift
done

scripts/install-deps.sh build
scripts/python-env.sh quickstart
say "building build/verdict (release)"
watched build/logs/cmake.log "cmake" cmake --preset release
watched build/logs/build.log "compiling" cmake --build --preset release --target verdict
PYTHONPATH=python exec .venv/bin/python -m verdict_lab "${lab_options[@]}"
