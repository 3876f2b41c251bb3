"""The scripts of a POSIX shell that serve a target by its trtexec; `shell.Shell` runs them.

Parameters come line by line; `PUT` reads an archive instead, and has its places filled in.
"""

HELLO = """
case "$1" in "~/"*) folder="$HOME/${1#??}" ;; *) folder="$1" ;; esac
umask 077; mkdir -p "$folder/blobs" && cd "$folder" || finish 1
find . -maxdepth 1 -name 'trtexec-*' -mmin +60 -exec rm -rf {} + 2>/dev/null
run=$(mktemp -d trtexec-XXXXXX) || finish 1
pwd; echo "$run"; uname -sm; df -Pk . | tail -n 1
help=$("$2" --help 2>&1); code=$?
[ $code -le 1 ] || { rmdir "$run"; printf '%s\\n' "$help" >&2; finish $code; }
printf '%s\\n' "$help"
finish 0
"""
MISSING = """
cd "$1/blobs" || finish 1; shift
for digest; do if [ -e "$digest" ]; then touch "$digest"; else echo "$digest"; fi; done
finish 0
"""
PUT = """
cd {folder} || exit 1
rm -rf {run}/put; mkdir {run}/put && tar xzmf - -C {run}/put || {{ rm -rf {run}/put; exit 1; }}
for file in {run}/put/*; do
    [ "$(sha256sum <"$file" | cut -c1-64)" = "${{file##*/}}" ] || {{ echo "a part is damaged" >&2; exit 1; }}
done
held=0; for file in $(ls -t {run}/put/* blobs/* 2>/dev/null); do
    held=$((held + $(wc -c <"$file"))); [ $held -le {limit} ] || rm -f "$file"
done
mv -f {run}/put/* blobs/ && rmdir {run}/put
"""
BUILD = """
cd "$1" || finish 1; run=$2; plan=$3; shift 3; touch "$run"
while [ "$1" != -- ]; do cat "blobs/$1" || finish 1; shift; done >"$run/model.onnx"
shift
waits "$@" >"$run/log" 2>&1; code=$?
rm -f "$run/model.onnx"
[ $code -eq 0 ] && [ -s "$plan" ] || { cat "$run/log" >&2; rm -f "$plan"; finish 9; }
wc -c <"$plan"; cat "$run/log"
finish 0
"""
RUN = """
cd "$1" || finish 1; run=$2; wanted=$3; turns=$4; shift 4; touch "$run"
plans=; while [ "$turns" -gt 0 ]; do plans="$plans $1"; shift; turns=$((turns - 1)); done
for plan in $plans; do
    rm -f "$run"/*.json
    waits "$@" "--loadEngine=$plan" >"$run/log" 2>&1 || { cat "$run/log" >&2; finish 9; }
    for file in $wanted; do cat "$run/$file" && printf '\\000' || finish 1; done
done
cat "$run/log"
finish 0
"""
"""Answers with the files that each turn wrote, with a zero byte behind each, and the last log."""
CLEAN = """
case "$1" in "~/"*) folder="$HOME/${1#??}" ;; *) folder="$1" ;; esac
cd "$folder" 2>/dev/null || { echo 0; finish 0; }
du -sk . | cut -f1
rm -rf blobs trtexec-* agent-*.pyz *.cache *.part
cd / && rmdir "$folder" 2>/dev/null
finish 0
"""
