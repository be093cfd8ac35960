#!/bin/sh
# Copies shardswarm to /usr/local, or to the directory given: ./install.sh [PREFIX]
# `./install.sh --remove [PREFIX]` takes away what it copied.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
remove=
if [ "${1:-}" = --remove ]; then remove=yes; shift; fi
prefix=${1:-/usr/local}
cd "$here"
find bin share lib -type f | while read -r file; do
  case $file in
    # Only systemd's own directories are looked at, and the unit names /usr/local/bin.
    lib/systemd/*) [ "$prefix" = /usr/local ] || continue ;;
    share/zsh/vendor-completions/*) target=share/zsh/site-functions/${file##*/} ;;
  esac
  target=${target:-$file}
  if [ "$remove" ]; then
    rm -f "$prefix/$target"
  else
    mkdir -p "$prefix/${target%/*}"
    cp "$file" "$prefix/$target.new"
    # A program that runs keeps its old file.
    mv "$prefix/$target.new" "$prefix/$target"
  fi
  target=
done
if [ "$remove" ]; then echo "removed from $prefix"; else "$prefix/bin/shardswarm" --version; fi
