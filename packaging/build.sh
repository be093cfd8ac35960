#!/usr/bin/env bash
# Packs what was built; ./dev package calls it.
#   packaging/build.sh OUTPUT SYSTEM PORTABLE COMMIT MAINTAINER
# OUTPUT gets shardswarm_VERSION_ARCH.deb from the build directory SYSTEM, and
# shardswarm-VERSION-MACHINE-linux.tar.gz from PORTABLE, the one with all libraries linked in. The same
# commit makes the same bytes: SOURCE_DATE_EPOCH has to be set, to the seconds of the commit.
set -euo pipefail

output=$(cd "$1" && pwd) system=$2 portable=$3 commit=$4 maintainer=$5
project=$(cd "$(dirname "$0")/.." && pwd)
: "${SOURCE_DATE_EPOCH:?is not set}"
umask 022
export LC_ALL=C.UTF-8

version=$(sed -n 's/^project(shardswarm VERSION \([0-9.]*\).*/\1/p' "$project/CMakeLists.txt")
day=$(date -u -d "@$SOURCE_DATE_EPOCH" +%Y%m%d)
# Before its release a version sorts below the release, and by day.
if grep -q "^## $version (unreleased)" "$project/CHANGELOG.md"; then version+="~$day.$commit"; fi

same_times() { find "$1" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +; }

make_deb() {
  local architecture root=$output/deb doc depends
  architecture=$(dpkg --print-architecture)
  rm -rf "$root"
  DESTDIR=$root cmake --install "$system" --prefix /usr --strip >"$output/install.log"
  doc=$root/usr/share/doc/shardswarm
  install -m 644 "$project/packaging/deb/copyright" "$doc/copyright"
  install -D -m 644 "$project/packaging/deb/overrides" "$root/usr/share/lintian/overrides/shardswarm"
  install -D -m 644 "$project/packaging/example.conf" "$doc/examples/example.conf"
  rm "$doc/CHANGELOG.md"
  gzip -9nc "$project/CHANGELOG.md" >"$doc/changelog.gz"
  printf '%s\n' "shardswarm ($version-1) unstable; urgency=medium" "" \
    "  * Built from commit $commit. What is new is in changelog.gz." "" \
    " -- $maintainer  $(date -u -R -d "@$SOURCE_DATE_EPOCH")" | gzip -9n >"$doc/changelog.Debian.gz"
  gzip -9n "$root"/usr/share/man/man1/*.1

  # dpkg-shlibdeps wants a source package's debian/control beside it.
  mkdir -p "$output/shlibdeps/debian"
  printf 'Source: shardswarm\n\nPackage: shardswarm\nArchitecture: any\n' \
    >"$output/shlibdeps/debian/control"
  depends=$(cd "$output/shlibdeps" && dpkg-shlibdeps -O "$root/usr/bin/shardswarm" 2>/dev/null |
    sed -n 's/^shlibs:Depends=//p')
  [[ $depends ]] || { echo "package: dpkg-shlibdeps names no libraries" >&2; exit 1; }

  mkdir "$root/DEBIAN"
  (cd "$root" && find usr -type f -print0 | sort -z | xargs -0 md5sum >DEBIAN/md5sums)
  sed -e "s|@VERSION@|$version-1|" -e "s|@ARCHITECTURE@|$architecture|" \
    -e "s|@MAINTAINER@|$maintainer|" -e "s|@DEPENDS@|$depends|" \
    -e "s|@SIZE@|$(du -sk --exclude DEBIAN --apparent-size "$root" | cut -f1)|" \
    "$project/packaging/deb/control" >"$root/DEBIAN/control"
  same_times "$root"
  dpkg-deb --root-owner-group -Zxz --build "$root" \
    "$output/shardswarm_$version-1_$architecture.deb" >/dev/null
  rm -rf "$root" "$output/shlibdeps"
}

# Where the text of a library's licence is, by Debian's package.
licence_packages=(libfmt-dev libsimdjson-dev libprotobuf-dev libzstd-dev libxxhash-dev liburing-dev
  libssl-dev libstdc++-12-dev libasio-dev libcli11-dev nlohmann-json3-dev)

make_tarball() {
  local name root
  name=shardswarm-$version-$(uname -m)-linux
  root=$output/$name
  rm -rf "$root"
  cmake --install "$portable" --prefix "$root" --strip >"$output/install.log"
  # The unit's paths are those that install.sh installs to, not of this directory.
  python3 "$project/packaging/share.py" "$portable/bin/shardswarm" "$root" --prefix /usr/local
  install -m 755 "$project/packaging/tarball/install.sh" "$root/install.sh"
  install -m 644 "$project/packaging/tarball/README" "$root/README"
  install -m 644 "$project/LICENSE" "$root/LICENSE"
  install -D -m 644 "$project/packaging/example.conf" \
    "$root/share/doc/shardswarm/examples/example.conf"
  mkdir "$root/share/doc/shardswarm/licenses"
  for package in "${licence_packages[@]}"; do
    cp -L "/usr/share/doc/$package/copyright" "$root/share/doc/shardswarm/licenses/$package"
  done
  chmod -R u=rwX,go=rX "$root"
  tar -C "$output" --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" \
    -cf - "$name" | gzip -9n >"$output/$name.tar.gz"
  rm -rf "$root"
}

rm -f "$output"/*.deb "$output"/*.tar.gz
make_deb
make_tarball
rm -f "$output/install.log"
(cd "$output" && sha256sum -- *.deb *.tar.gz >SHA256SUMS)
