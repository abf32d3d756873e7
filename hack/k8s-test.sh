#!/usr/bin/env bash
# Checks the Kubernetes manifests: the checker's own tests (every kind of
# mistake that it must catch), each overlay with the services' own -check, the
# Prometheus rules with promtool. Needs kubectl; no cluster. Tools are built
# once and kept in .cache.
set -euo pipefail
cd "$(dirname "$0")/.."

PROMTOOL=github.com/prometheus/prometheus/cmd/promtool@v0.316.0
bin="$PWD/.cache/bin" out="$PWD/.cache/k8s"
mkdir -p "$bin" "$out"

if ! command -v kubectl >/dev/null; then
  if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq kubernetes-client >/dev/null
  else
    echo "k8s-test: kubectl is missing; install it (any release since 1.27 renders kustomize)" >&2
    exit 1
  fi
fi
[ -x "$bin/promtool" ] || GOBIN="$bin" go install -tags remove_all_sd "$PROMTOOL"
CGO_ENABLED=0 go build -trimpath -o "$out/" ./services/...
go build -C tools/k8scheck -o "$bin/k8scheck" .

# Every overlay that there is, one's own too.
overlays=()
for o in deploy/k8s/overlays/*/; do
  [ "$o" = deploy/k8s/overlays/strimzi/ ] || overlays+=("${o%/}")
done
crds=()
if [ -d ../shared/data/crds ]; then
  overlays+=(deploy/k8s/overlays/strimzi)
  crds=(-crds ../shared/data/crds)
elif [ "${FLOWSTITCH_CI_STRICT:-}" = 1 ]; then
  echo "k8s-test: ../shared/data/crds, with the schemas of Strimzi, is missing" >&2
  exit 1
else
  echo "k8s-test: overlay strimzi is skipped: its schemas are released in no Go module and ../shared/data/crds is missing"
fi
"$bin/k8scheck" -product deploy/k8s/product.json -operations docs/operations.md -bin "$out" \
  -rules "$out/rules.yaml" "${crds[@]}" "${overlays[@]}"
"$bin/promtool" check rules "$out/rules.yaml"
cp deploy/monitoring/rules_test.yaml "$out/"
"$bin/promtool" test rules "$out/rules_test.yaml"
K8SCHECK_BIN="$out" go test -C tools/k8scheck ./...
