#!/bin/sh
# Written by `mlvc hooks install`; `mlvc hooks uninstall` brings back what was here before.
# One text for every hook: the name of the file says which.
python=
name=${0##*/}
name=${name%%.*}

# What git says on standard input must reach the hook that was here before, too.
case $name in pre-push | post-rewrite) said=$(cat && echo .) ;; esac
call() {
  case $name in
  pre-push | post-rewrite) printf %s "${said%.}" | "$@" ;;
  *) "$@" ;;
  esac
}

if [ -x "$0.before-mlvc" ]; then
  read -r interpreter <"$0.before-mlvc"
  # A shell script may look at its own name, as Husky's do, and must find the one that it had.
  case $interpreter in
  '#!'*[/\ ]sh) call sh -c '. "$0.before-mlvc"' "$0" "$@" ;;
  '#!'*[/\ ]bash) call bash -c '. "$0.before-mlvc"' "$0" "$@" ;;
  *) call "$0.before-mlvc" "$@" ;;
  esac || exit
fi
# A command of mlvc does the work itself.
[ -z "${MLVC_HOOK_TOKEN+set}" ] || exit 0

status=127
if [ -x "$python" ]; then
  call "$python" -P -c '
try:
    from mlvc.cli.hook import main
except ImportError:
    raise SystemExit(127)
main()' "$name" "$@"
  status=$?
fi
if [ "$status" = 127 ] && command -v mlvc >/dev/null; then
  call mlvc hook "$name" "$@"
  status=$?
fi
if [ "$status" = 127 ] && [ -e mlvc.toml ]; then
  case $name in
  pre-*) what='nothing was checked; --no-verify goes on without' ;;
  *) what='the data may differ from mlvc.lock; run mlvc checkout later' ;;
  esac
  echo "mlvc cannot be started, so $what (install it, then: mlvc hooks install)" >&2
  status=2
elif [ "$status" = 127 ]; then
  status=0 # There is no data to guard.
fi
# After a post- hook git has done its work, and must not seem to have failed.
case $name in post-*) exit 0 ;; esac
exit "$status"
