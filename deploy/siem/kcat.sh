#!/usr/bin/env bash
# kcat: every alert so far, then exit; one JSON object a line.
#   kcat.sh [broker] [topic]
#   kcat.sh localhost:9092 | jq -r '[.time, .severity, .finding_info.title] | @tsv'
set -euo pipefail
exec kcat -C -q -e -o beginning -X isolation.level=read_committed \
  -b "${1:-localhost:9092}" -t "${2:-flowstitch.alerts.v1}"
