#!/usr/bin/env bash
# The exact command that wrote incident.log.gz and incident.truth.csv. The same
# seed gives the same lines on every machine; a test of pkg/gen compares them.
set -euo pipefail
cd "$(dirname "$0")/.."
go run ./cmd/flowstitch gen -seed 1 -o examples/incident.log.gz -truth examples/incident.truth.csv
