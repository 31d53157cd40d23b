#!/usr/bin/env bash
# Creates or updates .venv from a hash-locked requirements file. Does nothing when it is up to date.
#
# Usage: scripts/python-env.sh quickstart|test|precision
#   quickstart   training, ONNX export, HTTP client
#   test         quickstart, and ONNX Runtime, XGBoost, pytest
#   precision    for bench/precision.py, in .venv-precision: quickstart, and JAX, OpenVINO; 1.1 GB
# PYTHON names another interpreter than python3 (3.11 or newer). pip uses its own configuration.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/progress.sh

level=${1:-}
venv=.venv
case $level in
  quickstart | test) ;;
  precision) venv=.venv-precision ;;
  *) sed -n '2,8s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
lock=python/requirements/$level.txt
python=${PYTHON:-python3}
log=build/logs/pip.log

command -v "$python" >/dev/null || die "$python not found; install Python 3.11 or newer"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
  die "$("$python" --version) is too old; set PYTHON to Python 3.11 or newer"

stamp="$venv"/$level.sha256
if [ -x "$venv"/bin/python ] && "$venv"/bin/python -c '' 2>/dev/null &&
  sha256sum --check --status "$stamp" 2>/dev/null; then
  exit 0
fi
say "installing Python packages into $venv ($level)"
if ! "$venv"/bin/python -m pip --version >/dev/null 2>&1; then
  rm -rf "$venv"
  watched "$log" "python -m venv" "$python" -m venv "$venv" ||
    die "cannot create $venv; on Debian: apt-get install python3-venv"
fi
watched "$log" "pip install" "$venv"/bin/python -m pip install --disable-pip-version-check \
  --require-hashes --requirement "$lock"
sha256sum "$lock" >"$stamp"
