#!/usr/bin/env bash
# venv.sh DIR: make the virtual environment DIR, with uv in it, where there is none yet.
#
# All it needs is Python 3.11 or later (the first of $PYTHON, python3, python3.14 ... python3.11) and a way to
# get uv: Debian's and Ubuntu's Python comes without pip and without ensurepip, so where there is neither, pip
# is taken out of their package python3-pip-whl, unpacked beside DIR. It needs no root and installs nothing.
set -euo pipefail

dir=${1:?usage: venv.sh DIR}

fail() {
    printf 'error: %s\nhint: %s\n' "$1" "$2" >&2
    exit 2
}

find_python() {
    local candidate
    for candidate in ${PYTHON:+"$PYTHON"} python3 python3.14 python3.13 python3.12 python3.11; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            "$candidate" -c 'import sys; print(sys.executable)'
            return
        fi
    done
    fail "no Python 3.11 or later" "install one, or set PYTHON to its path"
}

# Unpacks pip's wheel into a folder of our own and prints its path.
unpack_pip() {
    local here=$1 apt
    mkdir -p "$here/lists/partial" "$here/cache/archives/partial"
    here=$(cd "$here" && pwd)
    apt=(apt-get -qq -o "Dir::State::lists=$here/lists" -o "Dir::Cache=$here/cache" -o APT::Sandbox::User=)
    "${apt[@]}" update >&2 && (cd "$here" && "${apt[@]}" download python3-pip-whl >&2 && dpkg-deb -x ./*.deb .) ||
        return 1
    printf '%s\n' "$here"/usr/share/python-wheels/pip-*.whl
}

if "$dir/bin/python" -c pass 2>/dev/null && "$dir/bin/uv" --version >/dev/null 2>&1; then
    exit 0
fi
python=$(find_python)
export PIP_DISABLE_PIP_VERSION_CHECK=1
"$python" -m venv --without-pip --clear "$dir"
if "$python" -m pip --version >/dev/null 2>&1; then
    "$python" -m pip --python "$dir/bin/python" install --quiet uv
elif "$python" -c 'import ensurepip' 2>/dev/null; then
    "$dir/bin/python" -m ensurepip >/dev/null && "$dir/bin/python" -m pip install --quiet uv
elif command -v uv >/dev/null; then
    uv pip install --quiet --python "$dir/bin/python" uv
else
    echo "taking pip out of the package python3-pip-whl ..." >&2
    wheel=$(unpack_pip "$dir.pip") || fail "this Python has no pip, and it could not be had" \
        "install the package python3-venv, or uv"
    "$dir/bin/python" "$wheel/pip" install --quiet uv
    rm -rf "$dir.pip"
fi
