#!/usr/bin/env bash
# What the suite runs as its client: one poll of the server at $1. The suite says in MCP_CONFORMANCE_CONTEXT who the client is.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
secrets=$(mktemp -d)
trap 'rm -rf "$secrets"' EXIT
member() { "$CONFORMANCE_NODE" -p "JSON.parse(process.env.MCP_CONFORMANCE_CONTEXT || '{}')['$1'] ?? ''"; }
settings=(--set "receivers.session_buddy.endpoint=$1")
client=$(member client_id)
if [ -n "$client" ]; then
  settings+=(--set "receivers.session_buddy.oauth2.client_id=$client")
  for way in client_secret:client_secret_file private_key_pem:private_key_file; do
    value=$(member "${way%%:*}")
    if [ -n "$value" ]; then
      printf '%s\n' "$value" >"$secrets/${way##*:}"
      settings+=(--set "receivers.session_buddy.oauth2.${way##*:}=$secrets/${way##*:}")
    fi
  done
  if [ "${MCP_CONFORMANCE_SCENARIO:-}" = auth/client-credentials-basic ]; then
    # As the suite has it, the polled server alone says who gives tokens.
    settings+=(--set "receivers.session_buddy.oauth2.trust_discovered_issuer=true")
  fi
fi
poll() { "$CONFORMANCE_MINICOL" poll --config "$here/client.yaml" "${settings[@]}"; }
if [ "${MCP_CONFORMANCE_SCENARIO:-}" = initialize ]; then
  # Its server has no tools, and a poll that gets no answer ends with 1. That nothing else was wrong is in what it says.
  said=$(poll 2>&1) && { echo "a poll without an answer ended with 0: $said" >&2; exit 1; }
  grep -q 'it offers no tools at all' <<<"$said" || { echo "$said" >&2; exit 1; }
else
  poll
fi
