#!/usr/bin/env bash
# Copies built programs, with the libraries they need, into a folder that runs on another machine:
# to test and measure where the card is and nothing can be built.
#
# Usage: scripts/pack_programs.sh BUILD DEST
#   BUILD  a build folder; of it go along verdict, verdict-device-worker, plugins, and what is there
#          of trt_bare and the tests that need a card
#   DEST   a folder that is not there yet; their libraries come into DEST/lib
#
# That machine needs the same kind of processor, and a C and a C++ library at least as new as here.
# Exit status: 0; 1 if a program or a library is missing; 2 for a wrong call.
set -euo pipefail
if [ $# -ne 2 ]; then
  sed -n '2,12s/^# \{0,1\}//p' "$0" >&2
  exit 2
fi
build=$(realpath -m "$1") dest=$(realpath -m "$2")
cd "$(dirname "$0")/.."
. scripts/progress.sh
command -v patchelf >/dev/null || die "patchelf is missing: apt-get install patchelf"
[ -x "$build/verdict" ] || die "no verdict in $build: build it first"
[ ! -e "$dest" ] || die "$dest is there already: name a new folder"

mkdir -p "$dest/lib"
for program in verdict verdict-device-worker trt_bare verdict_tensorrt_test verdict_observe_test; do
  [ ! -x "$build/$program" ] || strip -o "$dest/$program" "$build/$program"
done
for plugin in "$build"/libverdict_*.so; do
  [ ! -f "$plugin" ] || strip -o "$dest/${plugin##*/}" "$plugin"
done

# All but the C and C++ libraries, which belong to that machine's loader and compiler.
belongs='^(ld-linux.*|lib(c|m|dl|pthread|rt|resolv|gcc_s|stdc\+\+))\.so'
while read -r name arrow path _; do
  [ "$arrow" = "=>" ] || continue
  [[ ! $name =~ $belongs ]] || continue
  [ "$path" != not ] || die "$name, which a program needs, is not here"
  [ -e "$dest/lib/$name" ] || strip -o "$dest/lib/$name" "$(realpath "$path")"
done < <(find "$dest" -maxdepth 1 -type f -exec ldd {} \;)

# An RPATH, unlike a RUNPATH, also holds for the libraries' libraries.
find "$dest" -maxdepth 1 -type f -exec patchelf --force-rpath --set-rpath '$ORIGIN/lib' {} \;
find "$dest/lib" -type f -exec patchelf --force-rpath --set-rpath '$ORIGIN' {} \;
say "$dest: $(du -sh "$dest" | cut -f1), $(find "$dest/lib" -type f | wc -l) libraries"
