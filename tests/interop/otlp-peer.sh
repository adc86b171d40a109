#!/usr/bin/env bash
# Runs otlp_peer.py (without arguments: only installs what it needs) with Python's own Protobuf classes of OTLP. Exit 77 where there is no Python, or the packages cannot be had: the caller says that it
# skipped. The installation is kept under target/otlp-peer.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
dir=$here/../../target/otlp-peer
if ! command -v python3 >/dev/null; then echo "no Python was found" >&2; exit 77; fi
if [ ! -e "$dir/installed" ]; then
  python3 -m venv --clear "$dir" >&2 || exit 77
  "$dir/bin/pip" install --quiet --disable-pip-version-check grpcio==1.85.1 opentelemetry-proto==1.45.2 protobuf==7.36.2 >&2 || exit 77
  touch "$dir/installed"
fi
[ $# = 0 ] && exit 0
exec "$dir/bin/python" "$here/otlp_peer.py" "$@"
