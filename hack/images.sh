#!/usr/bin/env bash
# Builds the images of the three services and of the operator's program into an
# OCI layout, without a Docker engine: static, non-root, read-only, linux/amd64
# and linux/arm64, with an SPDX SBOM each. The same commit gives the same digests.
#
#   hack/images.sh [LAYOUT]        default .cache/images
#   KO_DOCKER_REPO=registry.example/flowstitch hack/images.sh -push
#
# The base is made here: CA certificates of this machine, a passwd with user
# 65532 and nothing else. ko refuses "scratch", so the base passes through a
# registry on loopback that lives as long as this script.
set -euo pipefail
cd "$(dirname "$0")/.."

KO=github.com/google/ko@v0.19.1
CRANE=github.com/google/go-containerregistry/cmd/crane@v0.22.1
bin="$PWD/.cache/bin" layout="$PWD/.cache/images" push=
case "${1:-}" in
  -push) push=1 ;;
  "") ;;
  *) layout=$1 ;;
esac
mkdir -p "$bin"
[ -x "$bin/ko" ] || GOBIN="$bin" go install "$KO"
[ -x "$bin/crane" ] || GOBIN="$bin" go install "$CRANE"

work=$(mktemp -d)
registry=
# Ends the loopback registry by its pid and removes the work directory.
cleanup() {
  [ -z "$registry" ] || kill "$registry" 2>/dev/null || true
  rm -rf "$work"
}
trap cleanup EXIT

# The base's one layer. Sorted, owned by root, dated at the epoch: reproducible.
mkdir -p "$work/base/etc/ssl/certs" "$work/base/tmp"
chmod 1777 "$work/base/tmp"
cp /etc/ssl/certs/ca-certificates.crt "$work/base/etc/ssl/certs/"
printf 'root:x:0:0:root:/:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/:/sbin/nologin\n' >"$work/base/etc/passwd"
printf 'root:x:0:\nnonroot:x:65532:\n' >"$work/base/etc/group"
tar --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 -C "$work/base" -cf "$work/base.tar" .

# The port is fixed, because ko writes the base's name, port included, into each
# image: another port would give other digests.
port=${FLOWSTITCH_IMAGES_PORT:-15732}
"$bin/crane" registry serve --address "127.0.0.1:$port" >"$work/registry.log" 2>&1 &
registry=$!
for _ in $(seq 100); do
  "$bin/crane" catalog --insecure "127.0.0.1:$port" >/dev/null 2>&1 && break
  kill -0 "$registry" 2>/dev/null || { echo "images: the loopback registry did not start; is 127.0.0.1:$port in use?" >&2; cat "$work/registry.log" >&2; exit 1; }
  read -rt 0.1 <> <(:) || true
done
base="127.0.0.1:$port/base"
for arch in amd64 arm64; do
  "$bin/crane" append --insecure --oci-empty-base --platform "linux/$arch" -f "$work/base.tar" -t "$base:$arch" >/dev/null
  "$bin/crane" mutate --insecure --user 65532:65532 --set-platform "linux/$arch" \
    --env SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt -t "$base:$arch" "$base:$arch" >/dev/null
done
"$bin/crane" index append --insecure -m "$base:amd64" -m "$base:arm64" -t "$base:latest" >/dev/null

export KO_DEFAULTBASEIMAGE="$base:latest" KO_CONFIG_PATH="$PWD/hack" SOURCE_DATE_EPOCH
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
targets=(./services/ingest ./services/sessionize ./services/detect ./cmd/flowstitch)
tag=${TAG:-$(git describe --tags --always --dirty 2>/dev/null || echo dev)}
common=(--platform linux/amd64,linux/arm64 --sbom spdx --base-import-paths --tags "$tag" --insecure-registry)
if [ -n "$push" ]; then
  "$bin/ko" build "${common[@]}" "${targets[@]}"
  exit
fi
# ko takes the layout's path for a repository name, which knows no capitals: it
# builds to a plain relative path, which is then moved.
made=.cache/images.made
rm -rf "$made" "$made-sbom"
KO_DOCKER_REPO="127.0.0.1:$port" "$bin/ko" build "${common[@]}" \
  --push=false --sbom-dir "$made-sbom" --oci-layout-path "$made" "${targets[@]}"
rm -rf "$layout" "$layout-sbom"
mkdir -p "$(dirname "$layout")"
mv "$made" "$layout"
mv "$made-sbom" "$layout-sbom"
echo "images: $layout, SBOMs beside it in $layout-sbom"
