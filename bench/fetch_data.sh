#!/usr/bin/env bash
# Fetches the larger real data sets that the benchmarks use, from Debian's packages, into datasets/raw/.
# Nothing is installed on the system: each package is downloaded and unpacked here. Needs apt-get and dpkg-deb.
#
#   bench/fetch_data.sh [PACKAGE...]        default: dataset-fashion-mnist
set -euo pipefail
cd "$(dirname "$0")/.."
target="$PWD/datasets/raw"
mkdir -p "$target"

for package in "${@:-dataset-fashion-mnist}"; do
  if [ -d "$target/$package" ]; then
    echo "$package: already in $target/$package"
    continue
  fi
  work="$(mktemp -d)"
  trap 'rm -rf "$work"' EXIT
  (cd "$work" && apt-get download -qq "$package")
  dpkg-deb --extract "$work"/*.deb "$work/unpacked"
  mv "$work/unpacked" "$target/$package"
  rm -rf "$work"
  echo "$package: in $target/$package"
  cat "$target/$package/usr/share/doc/$package/copyright" 2>/dev/null | sed -n '1,8p' || true
done
