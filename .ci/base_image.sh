#!/usr/bin/env bash
# base_image.sh PYTHON: see to it that the local container engine has an image to reproduce this Python's runs on.
#
# That is the official slim image of its version. Where no registry can be reached, this machine's own Python makes
# one, and the settings that name it are printed, for mlvc.toml. Prints nothing where no engine answers.
set -euo pipefail

python=${1:?usage: base_image.sh PYTHON}
engine=("$python" "$(dirname "${BASH_SOURCE[0]}")/container_engine.py")

"${engine[@]}" answers || exit 0
image=python:$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')-slim
"${engine[@]}" has "$image" && exit 0
timeout 90 "${engine[@]}" pull "$image" >&2 2>/dev/null && exit 0
echo "$image cannot be pulled: a base image is made from this machine's Python" >&2
"${engine[@]}" build-base mlvc-base:local >&2
printf '\n[image]\nbase = "mlvc-base:local"\n'
