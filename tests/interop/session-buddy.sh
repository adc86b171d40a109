#!/usr/bin/env bash
# Installs, seeds and starts the released Session-Buddy 0.23.0 on loopback.
#
#   session-buddy.sh DIR [PORT] [SESSIONS]     DIR keeps the installation and a throw-away home; port 8678, 25 sessions
#
# Prints one line: `pid PID url URL`. Stop it with `kill PID`. Needs Python 3.13 or newer (PYTHON names another one).
# Exit 77 where there is none: the caller says that it skipped.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
dir=${1:?a directory for the installation}
export SESSION_BUDDY_PORT=${2:-8678}
sessions=${3:-25}
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)

new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 13))' 2>/dev/null; }
python=
for candidate in ${PYTHON:-} python3 python3.14 python3.13 "$HOME"/.pyenv/versions/3.1[3-9]*/bin/python3; do
  if new_enough "$candidate"; then python=$candidate; break; fi
done
if [ -z "$python" ]; then echo "no Python 3.13 or newer was found" >&2; exit 77; fi

if [ ! -e "$dir/installed" ]; then
  "$python" -m venv --clear "$dir/venv"
  "$dir/venv/bin/pip" install --quiet --no-deps -r "$here/requirements.txt"
  touch "$dir/installed"
fi

home=$dir/home-$SESSION_BUDDY_PORT
mkdir -p "$home/work"
export HOME=$home XDG_CACHE_HOME=$home/.cache XDG_CONFIG_HOME=$home/.config XDG_DATA_HOME=$home/.local/share PYTHONUNBUFFERED=1
export HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1 FASTMCP_CHECK_FOR_UPDATES=off
unset SESSION_BUDDY_SECRET OTEL_EXPORTER_OTLP_ENDPOINT
cd "$home/work"
export PWD
if [ "$sessions" != 0 ]; then "$dir/venv/bin/python" "$here/seed.py" "$sessions" >"$home/seed.log" 2>&1; fi
nohup "$dir/venv/bin/python" "$here/serve.py" >"$home/server.log" 2>&1 </dev/null &
pid=$!
for _ in $(seq 1 300); do
  if ! kill -0 "$pid" 2>/dev/null; then echo "the server ended:" >&2; tail -5 "$home/server.log" >&2; exit 1; fi
  if "$dir/venv/bin/python" -c 'import os, urllib.request
urllib.request.urlopen("http://127.0.0.1:" + os.environ["SESSION_BUDDY_PORT"] + "/healthz", timeout=1)' 2>/dev/null; then
    echo "pid $pid url http://127.0.0.1:$SESSION_BUDDY_PORT/mcp"
    exit 0
  fi
  sleep 0.1
done
echo "the server is not up after 30 s:" >&2
tail -5 "$home/server.log" >&2
kill "$pid"
exit 1
