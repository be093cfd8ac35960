#!/usr/bin/env bash
# Runs a command of the project in a bare Debian 12: debootstrap into a folder, a fresh clone inside,
# nothing installed but what `./dev setup` installs itself. Needs root, and debootstrap.
#   tests/bare/bare_root.sh FOLDER [COMMAND...]      default command: ./dev test
# The folder is kept, for the next run; remove it when done.
set -euo pipefail

root=${1:?usage: tests/bare/bare_root.sh FOLDER [COMMAND...]}
shift
command=("$@")
[ ${#command[@]} -gt 0 ] || command=(./dev test)
project=$(cd "$(dirname "$0")/../.." && pwd)

[ "$(id -u)" = 0 ] || { echo "bare_root: needs root" >&2; exit 2; }
command -v debootstrap >/dev/null || { echo "bare_root: needs debootstrap" >&2; exit 2; }

mkdir -p "$root"
root=$(cd "$root" && pwd)
if [ ! -e "$root/etc/debian_version" ]; then
  debootstrap --variant=minbase bookworm "$root" >"$root.log" 2>&1 || { tail -n 5 "$root.log"; exit 1; }
fi
# How this machine reaches its package mirror is how the bare one does.
rm -f "$root/etc/apt/sources.list"
cp /etc/resolv.conf "$root/etc/resolv.conf" 2>/dev/null || true
cp -r /etc/apt/sources.list* /etc/apt/apt.conf.d "$root/etc/apt/" 2>/dev/null || true
[ -d /usr/share/keyrings ] && cp -r /usr/share/keyrings "$root/usr/share/" || true

rm -rf "$root/src"
git clone -q "$project" "$root/src"
export root
unshare -m bash -c '
  set -euo pipefail
  mount --bind "$root" "$root"
  mount -t proc proc "$root/proc"
  mount --rbind /sys "$root/sys"
  mount --rbind /dev "$root/dev"
  cd "$root"
  exec chroot "$root" /usr/bin/env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    TERM="${TERM:-dumb}" LANG=C.UTF-8 CI="${CI:-}" bash -c "cd /src && exec \"\$@\"" bash "$@"
' bash "${command[@]}"
