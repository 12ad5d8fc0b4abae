#!/system/bin/sh
# run ROOT JOB RESULTS: do one job (a path below ROOT) and leave its results in RESULTS/<id>/.
# For a phone's mksh and toybox, or any other POSIX shell; started as `sh run ...` it needs no /system/bin/sh.
# Everything that Python needs lies beside this file, the C library included: nothing of the system is used,
# and nothing is written outside ROOT.
case $0 in
*/*) here=${0%/*} ;;
*) here=. ;;
esac
here=$(cd "$here" && pwd) || exit 2
root=$(cd "$1" && pwd) || exit 2
shift
for loader in "$here"/lib/ld-linux-*; do :; done

unset LD_PRELOAD LD_LIBRARY_PATH PYTHONSTARTUP
export HOME="$root" TMPDIR="$root/tmp" LC_ALL=C.UTF-8
export PYTHONHOME="$here" PYTHONPATH="$here/project:$here/site" PYTHONNOUSERSITE=1 PYTHONDONTWRITEBYTECODE=1
export ORT_DISABLE_TELEMETRY=1
# How bench starts its fresh processes: sys.executable cannot start without its loader.
export POCKETVEC_PYTHON="'$loader' --library-path '$here/lib' '$here/bin/python3'"

rm -rf "$TMPDIR" # what a run that was cut off has left
mkdir -p "$TMPDIR" || exit 2
exec "$loader" --library-path "$here/lib" "$here/bin/python3" -P -m android_harness.payload.agent "$root" "$@"
