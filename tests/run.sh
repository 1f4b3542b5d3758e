#!/usr/bin/env bash
# run.sh [PYTEST ARGUMENTS]: lint, types, layers and every test, on a machine with Python 3.11+ and git.
#
# Makes its environment in .cache/ (git ignores it). Where no container engine answers and the machine is
# Debian-like and ours (root), it installs docker.io (and strace) and runs dockerd for as long as the tests last; where
# that does not work, the tests that need an engine are reported as not tested, never as passed.
# Exits 0 only if every step passed.
set -uo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 2
cache=$PWD/.cache
venv=$cache/venv
python=$venv/bin/python
mkdir -p "$cache"
# Hundreds of tests start mlvc, which must not be compiled anew each time.
unset PYTHONDONTWRITEBYTECODE

dockerd=
failed=()

stop_engine() {
    if [ -n "$dockerd" ]; then
        kill "$dockerd" 2>/dev/null
        wait "$dockerd" 2>/dev/null
    fi
}
trap stop_engine EXIT
trap 'exit 130' INT TERM

# step NAME COMMAND...: says whether the command passed; prints what it said only if it did not.
step() {
    local name=$1 log=$cache/step.log
    shift
    if "$@" >"$log" 2>&1; then
        printf '%-24s ok\n' "$name"
    else
        printf '%-24s FAILED\n' "$name"
        cat "$log"
        failed+=("$name")
    fi
}

engine_answers() {
    "$python" .ci/container_engine.py answers
}

# wait_for_engine SECONDS
wait_for_engine() {
    local second
    for ((second = 0; second < $1; second++)); do
        engine_answers && return 0
        if [ -n "$dockerd" ] && ! kill -0 "$dockerd" 2>/dev/null; then return 1; fi
        sleep 1
    done
    return 1
}

install_dockerd() {
    export DEBIAN_FRONTEND=noninteractive
    timeout 120 apt-get -qq update && timeout 400 apt-get -qq install -y --no-install-recommends docker.io
}

start_engine() {
    engine_answers && return 0
    if [ "$(id -u)" != 0 ] || [ ! -e /etc/debian_version ] || [ -n "${DOCKER_HOST:-}" ]; then
        echo "no container engine answers, and none can be started here"
        return 1
    fi
    if ! command -v dockerd >/dev/null; then
        echo "no container engine answers: installing docker.io ..."
        if ! install_dockerd >"$cache/apt.log" 2>&1; then
            tail -n 5 "$cache/apt.log"
            return 1
        fi
        wait_for_engine 5 && return 0
    fi
    echo "starting dockerd ..."
    # No bridge and no packet filter: the tests' containers have no network, and many machines forbid both.
    dockerd --iptables=false --ip6tables=false --bridge=none >"$cache/dockerd.log" 2>&1 &
    dockerd=$!
    wait_for_engine 60 && return 0
    tail -n 5 "$cache/dockerd.log"
    return 1
}

if ! bash .ci/venv.sh "$venv" || ! "$venv/bin/uv" pip install --quiet --python "$python" -e '.[dev]'; then
    echo "error: the environment for the tests could not be made" >&2
    exit 2
fi

step "ruff check" "$venv/bin/ruff" check --output-format=concise .
step "ruff format --check" "$venv/bin/ruff" format --check .
step "mypy" "$venv/bin/mypy"
step "lint-imports" "$venv/bin/lint-imports" --no-logo

# make_frameworks DIR: an environment with the machine-learning frameworks; torch without CUDA.
make_frameworks() {
    local uv=$venv/bin/uv here=$1
    "$here/bin/python" -c pass 2>/dev/null || "$uv" venv --quiet --python "$python" "$here" || return 1
    # A wheel that pip has been told to look for here serves too; it needs no other index.
    if [ -n "${UV_FIND_LINKS:-${PIP_FIND_LINKS:-}}" ]; then
        UV_FIND_LINKS=${UV_FIND_LINKS:-$PIP_FIND_LINKS} "$uv" pip install --quiet --python "$here/bin/python" \
            -r tests/support/frameworks.txt && return 0
    fi
    "$uv" pip install --quiet --python "$here/bin/python" --torch-backend cpu -r tests/support/frameworks.txt
}

if make_frameworks "$cache/frameworks" >"$cache/frameworks.log" 2>&1; then
    export MLVC_TESTS_REQUIRE_FRAMEWORKS=1 MLVC_TESTS_FRAMEWORKS=$cache/frameworks/bin/python
else
    echo "no environment with the machine-learning frameworks could be made:"
    tail -n 5 "$cache/frameworks.log"
fi

if start_engine; then
    export MLVC_TESTS_REQUIRE_DOCKER=1
fi

# install_xfs: mkfs.xfs, for the tests that share bytes between files; true where an image really can be mounted.
install_xfs() {
    [ "$(id -u)" = 0 ] || return 1
    if ! command -v mkfs.xfs >/dev/null; then
        [ -e /etc/debian_version ] || return 1
        echo "no mkfs.xfs: installing xfsprogs ..."
        export DEBIAN_FRONTEND=noninteractive
        { timeout 120 apt-get -qq update &&
            timeout 400 apt-get -qq install -y --no-install-recommends xfsprogs; } >"$cache/xfs.log" 2>&1 || return 1
    fi
    # A container may have no loop devices.
    "$python" -c 'import pathlib, sys; from tests.support.xfs import mount_xfs
with mount_xfs(pathlib.Path(sys.argv[1])): pass' "$(mktemp -d "$cache/xfs.XXXX")" >"$cache/xfs.log" 2>&1
}

if install_xfs; then
    export MLVC_TESTS_REQUIRE_XFS=1
else
    echo "no XFS image can be mounted here"
fi

# install_folding: ntfs-3g, for a file system that folds case; true where one really can be mounted.
install_folding() {
    [ "$(id -u)" = 0 ] || return 1
    if ! command -v lowntfs-3g >/dev/null && [ -e /etc/debian_version ]; then
        echo "no lowntfs-3g: installing ntfs-3g ..."
        export DEBIAN_FRONTEND=noninteractive
        { timeout 120 apt-get -qq update &&
            timeout 200 apt-get -qq install -y --no-install-recommends ntfs-3g; } >"$cache/folding.log" 2>&1 || return 1
    fi
    "$python" -c 'import pathlib, sys; from tests.support.folding import mount_folding
with mount_folding(pathlib.Path(sys.argv[1])): pass' "$(mktemp -d "$cache/folding.XXXX")" >"$cache/folding.log" 2>&1
}

if install_folding; then
    export MLVC_TESTS_REQUIRE_FOLDING=1
else
    echo "no file system that folds case can be mounted here"
fi

if printf '%s\n' 6.6 "$(uname -r)" | sort --version-sort --check=quiet; then
    export MLVC_TESTS_REQUIRE_SECCOMP=1
fi

if [ "$(id -u)" = 0 ] && [ -e /etc/debian_version ] && ! command -v strace >/dev/null; then
    echo "installing strace ..."
    { timeout 120 apt-get -qq update && timeout 200 apt-get -qq install -y --no-install-recommends strace; } \
        >"$cache/apt.log" 2>&1 || tail -n 5 "$cache/apt.log"
fi
if command -v strace >/dev/null; then
    export MLVC_TESTS_REQUIRE_STRACE=1
fi

if [ "$(id -u)" = 0 ] && [ -e /etc/debian_version ] && ! [ -x /usr/sbin/sshd ]; then
    echo "installing openssh-server ..."
    { timeout 120 apt-get -qq update && timeout 200 apt-get -qq install -y --no-install-recommends openssh-server; } \
        >"$cache/apt.log" 2>&1 || tail -n 5 "$cache/apt.log"
fi
if [ -x /usr/sbin/sshd ]; then
    export MLVC_TESTS_REQUIRE_SSH=1
fi

# install_azurite: Microsoft's own emulator of Azure Blob Storage, where there are node and npm.
install_azurite() {
    local program=$cache/azurite/node_modules/.bin/azurite-blob
    command -v node >/dev/null && command -v npm >/dev/null || { echo "there is no node, or no npm"; return 1; }
    if ! [ -x "$program" ]; then
        mkdir -p "$cache/azurite" &&
            timeout 400 npm install --prefix "$cache/azurite" --no-audit --no-fund --no-update-notifier \
                --ignore-scripts azurite@3.35.0 || return 1
    fi
    timeout 60 "$program" --version
}

if install_azurite >"$cache/azurite.log" 2>&1; then
    export MLVC_TESTS_REQUIRE_AZURE=1 MLVC_TESTS_AZURITE=$cache/azurite/node_modules/.bin/azurite-blob
else
    echo "no Azurite could be installed:"
    tail -n 5 "$cache/azurite.log"
fi

# The servers' programs are among the development dependencies, so their absence is a mistake.
export MLVC_TESTS_REQUIRE_S3=1
export MLVC_TESTS_REQUIRE_GCS=1
export MLVC_TESTS_REQUIRE_POSTGRES=1
export MLVC_TESTS_FAILED_STEPS="${failed[*]+${failed[*]/%/;}}"
"$python" -m pytest -n 2 --dist worksteal "$@"
status=$?
if [ "$status" = 0 ] && [ "${#failed[@]}" != 0 ]; then
    status=1
fi
exit "$status"
