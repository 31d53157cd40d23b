#!/usr/bin/env bash
# Prints the Debian packages with the shared libraries that a program itself names; what those need
# in turn is for apt to know.
#
# Usage: deploy/container/runtime_packages.sh PROGRAM
# Exit status: 0; 1 if a library is missing or belongs to no package; 2 for a wrong call.
set -euo pipefail
if [ $# -ne 1 ]; then
  sed -n '2,6s/^# \{0,1\}//p' "$0" >&2
  exit 2
fi
fail() { echo "${0##*/}: error: $*" >&2; exit 1; }

resolved=$(ldd "$1") || fail "$1: ldd cannot read it"
needed=$(objdump -p "$1" | awk '$1 == "NEEDED" {print $2}')
[ -n "$needed" ] || fail "$1: names no libraries"
packages=()
for name in $needed; do
  path=$(awk -v name="$name" '$1 == name && $2 == "=>" {print $3}' <<<"$resolved")
  [ -n "$path" ] || path=$(awk -v name="$name" '$1 ~ "/" name "$" {print $1}' <<<"$resolved")  # ld.so
  [ -e "$path" ] || fail "$name, which $1 needs, is not here"
  # dpkg knows a file by the name in its package: /lib/… or /usr/lib/…, whichever ldd says.
  file=${path#/usr}
  owner=$(dpkg -S "$file" 2>/dev/null || dpkg -S "/usr$file" 2>/dev/null) ||
    fail "$path belongs to no package"
  packages+=("${owner%%:*}")
done
printf '%s\n' "${packages[@]}" | sort -u
