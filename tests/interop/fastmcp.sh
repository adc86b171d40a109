#!/usr/bin/env bash
# Installs FastMCP and serves fastmcp_server.py with it on loopback, until a signal.
#
#   fastmcp.sh DIR VERSION PORT [json] [stateless]     DIR keeps the installation
#
# Needs Python 3.10 or newer (PYTHON names another one). Exit 77 where there is none: the caller says that it skipped.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
dir=${1:?a directory for the installation}
version=${2:?a version of FastMCP}
shift 2

new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; }
python=
for candidate in ${PYTHON:-} python3 python3.14 python3.13 "$HOME"/.pyenv/versions/3.1[0-9]*/bin/python3; do
  if new_enough "$candidate"; then python=$candidate; break; fi
done
if [ -z "$python" ]; then echo "no Python 3.10 or newer was found" >&2; exit 77; fi

if [ ! -e "$dir/installed" ]; then
  "$python" -m venv --clear "$dir" >&2
  "$dir/bin/pip" install --quiet --disable-pip-version-check "fastmcp==$version" >&2
  touch "$dir/installed"
fi
export PYTHONUNBUFFERED=1 FASTMCP_CHECK_FOR_UPDATES=off
exec "$dir/bin/python" "$here/fastmcp_server.py" "$@"
