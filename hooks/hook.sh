#!/bin/sh
# Written by `mlvc hooks install`; `mlvc hooks uninstall` brings back what was here before.
# One text for every hook: the name of the file says which.
python=
name=${0##*/}
name=${name%%.*}
# Called without a PATH, git leaves one that ends in the work tree.
case $PATH in *:) PATH=$PATH/usr/bin:/bin ;; esac

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

# Whether there is data to guard: in this work tree, or at the tips of what is pushed.
has_data() {
  # A sparse checkout may leave the file out.
  { [ -e mlvc.toml ] || git cat-file -e :mlvc.toml 2>/dev/null; } && return
  [ "$name" = pre-push ] || return
  for word in $said; do
    case $word in
    *[!0-9a-f]*) ;;
    *) git cat-file -e "$word:mlvc.lock" 2>/dev/null && return ;;
    esac
  done
  return 1
}

status=127
unset PYTHONHOME # That of another Python.
if [ -x "$python" ]; then
  call "$python" -P -c '
import gc
gc.disable()  # until all is loaded
try:
    from mlvc.cli.hook import main
except Exception:
    raise SystemExit(127)
except KeyboardInterrupt:
    raise SystemExit(130)
main()' "$name" "$@"
  status=$?
fi
case $status in
126 | 127)
  status=127
  if mlvc --version >/dev/null 2>&1; then
    call mlvc hook "$name" "$@"
    status=$?
  fi
  ;;
esac
what=
case $status in
126 | 127) what='cannot be started' ;;
130) ;;
*) [ "$status" -le 128 ] || what="was killed (status $status)" ;;
esac
if [ -n "$what" ] && has_data; then
  case $name in
  pre-*) what="$what, so nothing was checked; --no-verify goes on without" ;;
  *) what="$what, so the data may differ from mlvc.lock; run mlvc checkout later" ;;
  esac
  echo "mlvc $what (install it, then: mlvc hooks install)" >&2
  status=2
elif [ -n "$what" ]; then
  status=0 # There is no data to guard.
fi
# After a post- hook git has done its work, and must not seem to have failed.
case $name in post-*) exit 0 ;; esac
exit "$status"
