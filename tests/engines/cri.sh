#!/usr/bin/env bash
# A containerd of its own for the tests of the engine `cri`: containerd 2.1 with runc and criu, no Kubernetes.
#   cri.sh install FOLDER            the programs, into FOLDER (as root, on Debian; half a minute, 280 MB)
#   cri.sh start FOLDER DIR IMAGE    containerd on DIR/containerd.sock, in this process; IMAGE: what holds a pod
# Pods use the host's network, so no network plugin is needed.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
GRPCIO=1.78.0

install_programs() {
    local folder=$1 missing=() package
    for package in buildah docker-registry skopeo busybox-static patchelf; do
        dpkg-query --show "$package" >/dev/null 2>&1 || missing+=("$package")
    done
    if ((${#missing[@]})); then
        export DEBIAN_FRONTEND=noninteractive
        local apt=(apt-get -qq -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=300)
        "${apt[@]}" update
        "${apt[@]}" --yes --no-install-recommends install "${missing[@]}"
    fi
    "$here/../../scripts/install-criu.sh" "$folder" sid containerd runc -- golang-github-kubernetes-cri-api-dev
    folder=$(cd "$folder" && pwd)
    local libraries loader program
    libraries=$(echo "$folder"/root/usr/lib/*-linux-gnu)
    loader=$(echo "$libraries"/ld-linux*.so.*)
    # They start each other by name, so they are made to find their libraries themselves.
    for program in containerd containerd-shim-runc-v2 runc; do
        [ -x "$folder/bin/$program" ] && continue
        cp "$(find "$folder"/root/usr/bin "$folder"/root/usr/sbin -name "$program" -print -quit)" "$folder/bin/$program"
        if patchelf --print-interpreter "$folder/bin/$program" >/dev/null 2>&1; then
            patchelf --set-interpreter "$loader" --force-rpath --set-rpath "$libraries" "$folder/bin/$program"
        fi
    done
    install_crictl "$folder"
}

# No registry has crictl; ours speaks the same CRI, and comes with Python's gRPC in an environment of its own.
install_crictl() {
    local folder=$1 stubs=$1/stubs
    [ -x "$folder/bin/crictl" ] && return
    [ -x "$folder/venv/bin/pip" ] || python3 -m venv "$folder/venv"
    "$folder/venv/bin/pip" --quiet --disable-pip-version-check install "grpcio==$GRPCIO" "grpcio-tools==$GRPCIO"
    mkdir -p "$stubs"
    grep -v gogoproto "$(find "$folder/root/usr/share/gocode" -path '*runtime/v1/api.proto')" >"$stubs/cri_api.proto"
    "$folder/venv/bin/python" -m grpc_tools.protoc -I"$stubs" --python_out="$stubs" --grpc_python_out="$stubs" \
        "$stubs/cri_api.proto"
    cat >"$folder/bin/crictl.new" <<END
#!/bin/sh
python="$folder/venv/bin/python"
PYTHONPATH="$stubs" exec "\$python" -I -S "$here/asking.py" "\$python" "$here/crictl" "\$@"
END
    chmod 755 "$folder/bin/crictl.new"
    mv "$folder/bin/crictl.new" "$folder/bin/crictl"
}

configure() { # DIR IMAGE
    mkdir -p "$1/cni"
    cat >"$1/config.toml" <<END
version = 3
root = "$1/root"
state = "$1/state"
[grpc]
  address = "$1/containerd.sock"
[ttrpc]
  address = "$1/containerd.sock.ttrpc"
[plugins.'io.containerd.cri.v1.images'.pinned_images]
  sandbox = "$2"
[plugins.'io.containerd.cri.v1.runtime']
  # Where root may not lower it, a pod would not start.
  restrict_oom_score_adj = true
  [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
      SystemdCgroup = false
      Root = "$1/runc"
  [plugins.'io.containerd.cri.v1.runtime'.cni]
    conf_dir = "$1/cni"
[plugins.'io.containerd.internal.v1.opt']
  path = "$1/opt"
[plugins.'io.containerd.nri.v1.nri']
  disable = true
END
}

case ${1:-} in
install) install_programs "${2:?a folder}" ;;
start)
    folder=$(cd "$2" && pwd)
    mkdir -p "$3"
    dir=$(cd "$3" && pwd)
    configure "$dir" "${4:?an image}"
    PATH="$folder/bin:/usr/sbin:/sbin:$PATH" exec "$folder/bin/containerd" --config "$dir/config.toml"
    ;;
*)
    sed -n '2,6s/^# //p' "$0" >&2
    exit 64
    ;;
esac
