#!/bin/bash
# daemon.sh install FOLDER | start FOLDER | stop FOLDER - a Docker daemon of the tests' own, for root on a Debian where
# none runs. Only Debian's packages, and only those that are missing; all that the daemon makes lies in FOLDER, its
# socket is FOLDER/docker.sock. It leaves the firewall, forwarding and any other daemon alone.
set -euo pipefail
command=$1 folder=$2
export PATH=$PATH:/usr/sbin:/sbin

install() {
    local missing=()
    command -v dockerd >/dev/null || missing+=(docker.io)
    command -v mmdebstrap >/dev/null || missing+=(mmdebstrap)
    apt-get update -qq
    # Since Debian 13 the client is a package of its own.
    if ! command -v docker >/dev/null && apt-cache show docker-cli >/dev/null 2>&1; then missing+=(docker-cli); fi
    if ((${#missing[@]})); then
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq -o Dpkg::Use-Pty=0 --no-install-recommends "${missing[@]}"
    fi
    docker compose version 2>/dev/null || compose
}

compose() { # the plugin; Debian 12 has only its predecessor, but that of Debian 13 runs there too
    local archive
    archive=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -m 1 '/debian/*$')
    mmdebstrap --quiet --variant=extract --mode=root --include=docker-compose trixie "$folder/tools" "$archive" \
        2>"$folder/tools.log" || { cat "$folder/tools.log"; exit 1; }
    mkdir -p "$folder/config/cli-plugins"
    mv "$folder"/tools/usr/libexec/docker/cli-plugins/docker-compose "$folder/config/cli-plugins/"
    rm -r "$folder/tools"
}

storage() { # overlay2 where the kernel stacks folders here, else plain copies
    local try=$folder/try
    mkdir -p "$try"/{lower,upper,work,merged}
    if mount -t overlay overlay -o "lowerdir=$try/lower,upperdir=$try/upper,workdir=$try/work" "$try/merged"; then
        umount "$try/merged"
        echo overlay2
    else
        echo vfs
    fi
    rm -rf "$try"
}

start() {
    # Containers of a project reach each other over its bridge, and the host a published port through a proxy: neither
    # needs the firewall, or the bridge `docker0`, which may be another daemon's.
    # cgroupfs: there need be no systemd, and with one it works as well for a daemon that lives for minutes.
    cat >"$folder/daemon.json" <<END
{
  "storage-driver": "$(storage)", "exec-opts": ["native.cgroupdriver=cgroupfs"],
  "bridge": "none", "iptables": false, "ip6tables": false, "ip-masq": false, "ip-forward": false,
  "default-address-pools": [{"base": "172.31.240.0/20", "size": 28}]
}
END
    setsid dockerd --config-file "$folder/daemon.json" --host "unix://$folder/docker.sock" --data-root "$folder/data" \
        --exec-root "$folder/exec" --pidfile "$folder/docker.pid" </dev/null >"$folder/dockerd.log" 2>&1 &
    for _ in {1..300}; do
        docker --host "unix://$folder/docker.sock" info >/dev/null 2>&1 && return
        kill -0 $! 2>/dev/null || break
        sleep 0.1
    done
    tail -n 20 "$folder/dockerd.log"
    exit 1
}

stop() {
    export DOCKER_HOST=unix://$folder/docker.sock
    docker ps --all --quiet | xargs --no-run-if-empty docker rm --force >/dev/null
    docker network prune --force >/dev/null # with their bridges
    local pid
    pid=$(cat "$folder/docker.pid")
    kill "$pid"
    for _ in {1..300}; do
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.1
    done
    umount "$folder/exec/netns/default" 2>/dev/null || true
}

"$command"
