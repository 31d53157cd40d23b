#!/usr/bin/env bash
# Installs the Debian packages that are missing, and says which.
#
# Usage: scripts/install-deps.sh build|test
#   build   what quickstart.sh needs: compiler, CMake, libraries, Python's venv, curl
#   test    build, and what test.sh needs: GoogleTest, clang and its tools, nginx, Prometheus,
#           buildah
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/progress.sh

build_packages=(
  g++ cmake ninja-build ccache pkg-config
  libprotobuf-dev protobuf-compiler libgrpc++-dev protobuf-compiler-grpc
  libsimdjson-dev libboost-dev libspdlog-dev libcli11-dev libyaml-cpp-dev
  zlib1g-dev libssl-dev libcurl4-openssl-dev libzip-dev libhwy-dev prometheus-cpp-dev
  python3 python3-venv curl
)
test_packages=(
  libgtest-dev libgmock-dev openssl patchelf nginx prometheus prometheus-alertmanager faketime
  buildah debootstrap
  clang-16 clang-tidy-16 libclang-rt-16-dev clang-format-14
)

case ${1:-} in
  build) wanted=("${build_packages[@]}") ;;
  test) wanted=("${build_packages[@]}" "${test_packages[@]}") ;;
  *) sed -n '2,7s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
  say "no apt-get here: these must be installed already, under the names this system gives them:"
  say "  ${wanted[*]}"
  exit 0
fi

missing=()
for package in "${wanted[@]}"; do
  state=$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null || true)
  [ "$state" = installed ] || missing+=("$package")
done
((${#missing[@]})) || exit 0

as_root=()
if [ "$(id -u)" != 0 ]; then
  command -v sudo >/dev/null || die "missing Debian packages, and neither root nor sudo to install
them with. As root: apt-get install -y --no-install-recommends ${missing[*]}"
  as_root=(sudo -n)  # the password is asked for here, not while output goes to a log
  sudo -n true 2>/dev/null || sudo -v || die "sudo is needed to install: ${missing[*]}"
fi
as_root+=(env DEBIAN_FRONTEND=noninteractive)
say "installing Debian packages: ${missing[*]}"
log=build/logs/apt.log
watched "$log" "apt-get update" "${as_root[@]}" apt-get update
# apt-get installs nothing until a dpkg run that was interrupted has been completed.
watched "$log" "dpkg --configure" "${as_root[@]}" dpkg --configure -a ||
  say "  going on: apt-get waits for another run to end, which dpkg does not"
watched "$log" "apt-get install" "${as_root[@]}" apt-get -o DPkg::Lock::Timeout=300 \
  install -y --no-install-recommends "${missing[@]}"
