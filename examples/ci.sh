#!/usr/bin/env bash
# ci.sh [DIRECTORY]: record an example as a pull request of its own, and prove it with `mlvc ci` in a fresh clone.
#
# The example is examples/scikit-learn, or any directory with data/, train.py, requirements.txt, and a README.md whose
# `mlvc run` line says how it is recorded. Needs Python 3.11+ and git; asks nothing. The reports stay in .cache/examples
# of this checkout, below the name of the example. The exit status is that of `mlvc ci`.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
example=$(cd "${1:-$root/examples/scikit-learn}" && pwd)
cache=$root/.cache/examples
tools=$cache/mlvc
uv=$tools/bin/uv

show() {
    printf '\n$ %s\n' "$*"
    "$@"
}

record=$(sed -n '/^mlvc run /{p;q}' "$example/README.md")
if [ -z "$record" ]; then
    echo "error: $example/README.md has no line that begins with mlvc run" >&2
    exit 2
fi

mkdir -p "$cache"
bash "$root/.ci/venv.sh" "$tools"
"$uv" pip install --quiet --python "$tools/bin/python" --reinstall-package mlvc "$root[docker]"

here=$(mktemp -d "$cache/work-XXXXXX")
trap 'rm -rf "$here"' EXIT
reports=$cache/$(basename "$example")
mkdir -p "$reports"
rm -f "$reports"/{report.html,junit.xml,ci.json,comment.md}
author=$here/author
git init --quiet --initial-branch=main "$author"
git init --quiet --bare --initial-branch=main "$here/origin.git"
cd "$author"
git config user.name "Example Author"
git config user.email "author@example.org"
git remote add origin "file://$here/origin.git"
"$uv" venv --quiet --python "$tools/bin/python" .venv
"$uv" pip install --quiet --python .venv/bin/python -r "$example/requirements.txt"

(
    export PATH="$author/.venv/bin:$tools/bin:$PATH" VIRTUAL_ENV="$author/.venv"
    cp -r "$example/data" .
    printf '.venv/\n' >.gitignore
    show mlvc init
    printf '\n[remote]\nurl = "file://%s"\n' "$here/remote" >>mlvc.toml
    bash "$root/.ci/base_image.sh" python >>mlvc.toml
    git add mlvc.toml .gitignore
    show mlvc add data
    show mlvc commit -m "The data"
    mlvc push
    git push --quiet origin main

    git switch --quiet -c change
    cp "$example"/{train.py,requirements.txt} .
    git add train.py requirements.txt
    show bash -c "$record"
    show mlvc commit -m "The model"
    mlvc push
    git push --quiet origin change
)

# From here on nothing of the author's is left but what was pushed.
cd "$here"
rm -rf "$author"
git clone --quiet --branch change "file://$here/origin.git" "$here/clone"
cd "$here/clone"
unset VIRTUAL_ENV
export PATH="$tools/bin:$PATH"
status=0
show mlvc ci --since origin/main --report "$reports/report.html" --report "$reports/junit.xml" \
    --report "$reports/ci.json" --report "$reports/comment.md" || status=$?
printf '\nThe reports are in %s\n' "$reports"
# A job that executed nothing has proven nothing.
if [ "$status" = 0 ] && ! grep -q '"cached": false' "$reports/ci.json"; then
    echo "error: mlvc ci executed no run" >&2
    exit 2
fi
exit "$status"
