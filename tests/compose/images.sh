#!/bin/bash
# images.sh FOLDER - stand-ins for postgres:18, redis:8 and python:3.13-slim under these names, where no image registry
# is reached: the same versions from Debian's packages, with the users, folders and commands of the usual images.
# Python 3.13 and Redis 8 are those of Debian 13; PostgreSQL 18 is in no release before Debian 14, `forky`.
set -euo pipefail
folder=$1
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# Whatever address this machine gets its own packages from.
archive=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -m 1 '/debian/*$')

root() { # NAME SUITE PACKAGES OPTION ... - the tar of a small Debian with the packages
    mmdebstrap --quiet --variant=essential --mode=root --include="$3" \
        --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
        --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/i18n/*' \
        "${@:4}" "$2" "$folder/$1.tar" "$archive"
}
user() { # NAME HOME - the option for a user with the id that the usual images have; its package keeps it
    printf -- '--essential-hook=echo %s:x:999:999::%s:/bin/sh >>"$1/etc/passwd"; echo %s:x:999: >>"$1/etc/group"' "$1" "$2" "$1"
}
image() { # NAME TAG CHANGE ...
    local changes=()
    for change in "${@:3}"; do changes+=(--change "$change"); done
    docker import "${changes[@]}" "$folder/$1.tar" "$2" >/dev/null
    rm "$folder/$1.tar"
}

postgres() {
    # The index of a suite that is not released yet is valid for a week, on a mirror that stands still also later.
    root postgres forky postgresql-18 "$(user postgres /var/lib/postgresql)" \
        --aptopt='Acquire::Check-Valid-Until "false"' \
        --customize-hook='rm -r "$1/var/lib/postgresql/18"; chmod 1777 "$1/var/lib/postgresql"' \
        --skip=cleanup/run --customize-hook='install -d -o 999 -g 999 -m 3777 "$1/run/postgresql"' \
        --customize-hook="install '$here/postgres-entrypoint.sh' \"\$1/usr/local/bin/docker-entrypoint.sh\""
    image postgres postgres:18 'ENTRYPOINT ["docker-entrypoint.sh"]' 'CMD ["postgres"]' 'VOLUME /var/lib/postgresql' \
        'ENV PGDATA=/var/lib/postgresql/18/docker' 'ENV PATH=/usr/local/bin:/usr/bin:/bin:/usr/lib/postgresql/18/bin'
}
redis() {
    root redis trixie redis-server "$(user redis /data)" --customize-hook='install -d -o 999 -g 999 "$1/data"'
    image redis redis:8 'WORKDIR /data' 'VOLUME /data' 'CMD ["redis-server"]'
}
python() {
    # What lets pip reach its registry from this machine lets it do so in the image as well.
    printf '[global]\ncert = /etc/ssl/certs/ca-certificates.crt\n' >"$folder/pip.conf"
    if index=$(python3 -m pip config get global.index-url 2>/dev/null); then
        echo "index-url = $index" >>"$folder/pip.conf"
    fi
    root python trixie ca-certificates,passwd,python3,python3-pip,python3-venv \
        --customize-hook='ln -s python3 "$1/usr/bin/python"; rm "$1"/usr/lib/python3.*/EXTERNALLY-MANAGED' \
        --customize-hook="cp '$folder/pip.conf' \"\$1/etc/pip.conf\"" \
        --customize-hook='cp /etc/ssl/certs/ca-certificates.crt "$1/etc/ssl/certs/ca-certificates.crt"'
    image python python:3.13-slim 'CMD ["python3"]'
}

made=()
for one in postgres redis python; do
    "$one" >"$folder/$one.log" 2>&1 & made+=($!)
done
for one in "${!made[@]}"; do
    wait "${made[$one]}" || { tail -n 20 "$folder"/*.log >&2; exit 1; }
done
