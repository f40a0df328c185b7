#!/usr/bin/env bash
# install-criu.sh FOLDER [SUITE [PACKAGE ... [-- PACKAGE ...]]] - put criu with its own libraries from a newer Debian
# suite into FOLDER; nothing else of the machine is touched. Debian 12 has a criu that newer kernels do not run. Leaves
# FOLDER/bin/criu, and the files of further packages in FOLDER/root: behind -- without those that they depend on. Needs
# root's apt, and does nothing if a criu that answers is there.
set -euo pipefail
folder=${1:?usage: install-criu.sh FOLDER [SUITE [PACKAGE ... [-- PACKAGE ...]]]}
suite=${2:-sid}
packages=(criu) alone=()
for package in "${@:3}"; do
    if [ "$package" = -- ]; then
        is_alone=yes
    elif [ "${is_alone:-}" ]; then
        alone+=("$package")
    else
        packages+=("$package")
    fi
done
[ -x "$folder/bin/criu" ] && "$folder/bin/criu" --version >/dev/null 2>&1 && exit 0

first() { # FILE ...: the first that is there
    for file; do [ -e "$file" ] && echo "$file" && return; done
    return 1
}

mkdir -p "$folder/bin"
folder=$(cd "$folder" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work"/lists/partial "$work"/archives/partial "$work"/root
: >"$work/status" # of no packages: so apt fetches all that criu needs, down to libc

# From where this machine has its other packages, checked by the same keys.
source=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -m 1 '/debian/\?$') ||
    { echo "apt knows no Debian archive; expected one in /etc/apt" >&2; exit 1; }
keys=$(first /usr/share/keyrings/debian-archive-keyring.{pgp,gpg}) ||
    { echo "debian-archive-keyring is not installed" >&2; exit 1; }
echo "deb [signed-by=$keys] $source $suite main" >"$work/sources.list"
apt=(apt-get -qq
    -o Dir::Etc::SourceList="$work/sources.list" -o Dir::Etc::SourceParts=/dev/null -o Dir::Etc::Preferences=/dev/null
    -o Dir::Etc::PreferencesParts=/dev/null -o Dir::State="$work" -o Dir::State::Lists="$work/lists"
    -o Dir::State::status="$work/status" -o Dir::Cache="$work" -o Dir::Cache::archives="$work/archives"
    -o APT::Install-Recommends=false -o APT::Sandbox::User=root -o Acquire::Languages=none -o Acquire::Retries=3)
"${apt[@]}" update
"${apt[@]}" --yes --download-only install "${packages[@]}"

for package in "$work"/archives/*.deb; do
    case ${package##*/} in
    perl* | python3* | debconf* | dpkg_* | tar_* | gcc-*-base* | libperl* | libdb* | iptables*) continue ;; # scripts only
    esac
    dpkg-deb --fsys-tarfile "$package" | tar --extract --directory "$work/root" --exclude='./usr/share/*'
done
if ((${#alone[@]})); then
    mkdir "$work/alone"
    (cd "$work/alone" && "${apt[@]}" download "${alone[@]}")
    for package in "$work"/alone/*.deb; do dpkg-deb --extract "$package" "$work/root"; done
fi
rm -rf "$folder/root"
mv "$work/root" "$folder/root"

libraries=$(cd "$folder/root" && first usr/lib/*-linux-gnu*)
loader=$(cd "$folder/root" && first "$libraries"/ld-linux*.so.* usr/lib64/ld-linux*.so.*)
cat >"$folder/bin/criu" <<END
#!/bin/sh
exec "$folder/root/$loader" --library-path "$folder/root/$libraries" --argv0 criu "$folder/root/usr/sbin/criu" "\$@"
END
chmod 755 "$folder/bin/criu"
"$folder/bin/criu" --version
