#!/usr/bin/env bash
# By hand, before a release: the image built by deploy/Dockerfile and run hardened against a real Kafka, killed and
# restarted on its volume, stopped, and started on an empty one. Prints what it saw; ends with PASSED or not at all.
#
#   tests/run                       once, for .venv and Kafka's jars
#   tests/deploy/by_hand.sh         as root, on Debian: installs podman, buildah, runc, mmdebstrap
#   BASE=python:3.13-slim tests/deploy/by_hand.sh     on that base in place of one made of Debian's packages
#   CA=/etc/ssl/certs/ca-certificates.crt ...         where the build must trust a private authority
set -euo pipefail
cd "$(dirname "$0")/../.."
python=${PYTHON:-$PWD/.venv/bin/python}
image=${IMAGE:-localhost/streameval}

missing=()
for tool in podman buildah runc mmdebstrap; do command -v "$tool" >/dev/null || missing+=("$tool"); done
if [ ${#missing[@]} -gt 0 ]; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" catatonit
fi

if [ -z "${BASE:-}" ]; then
    BASE=localhost/python-base
    if ! podman image exists "$BASE"; then
        folder=$(mktemp -d)
        trap 'rm -rf "$folder"' EXIT
        mmdebstrap --quiet --variant=minbase --include=python3,python3-venv,ca-certificates bookworm "$folder/base.tar"
        podman import --quiet "$folder/base.tar" "$BASE" >/dev/null
    fi
fi
if [ -n "${CA:-}" ]; then
    # Into the base of this machine alone: the Dockerfile knows of no private authority.
    made=$(buildah from --pull-never "$BASE")
    buildah copy --quiet "$made" "$CA" /etc/ssl/certs/ca-certificates.crt >/dev/null
    buildah config --env PIP_CERT=/etc/ssl/certs/ca-certificates.crt "$made"
    BASE=localhost/python-base-trusting
    buildah commit --quiet --rm "$made" "$BASE" >/dev/null
fi

echo "== building $image from deploy/Dockerfile on $BASE"
started=$SECONDS
# --format docker keeps the health check, which the other format has no place for.
buildah build --quiet --isolation chroot --network host --format docker --build-arg "BASE=$BASE" \
    --build-arg "REVISION=$(git rev-parse --short HEAD 2>/dev/null || echo unknown)" \
    --file deploy/Dockerfile --tag "$image" . >/dev/null
echo "built in $((SECONDS - started)) s"

echo "== running it"
PYTHONPATH=$PWD:$PWD/tests/kafka "$python" tests/deploy/by_hand.py "$image"
