#!/usr/bin/env bash
# Run the image of this flake in a cluster of kind: once more after each change.
set -euo pipefail
cd "$(dirname "$0")"

kind get clusters | grep --quiet --line-regexp "${KIND_CLUSTER_NAME:-kind}" || kind create cluster

# The nodes get the layers that they lack. The image's tag changes with its contents, so that
# Kubernetes sees a new one.
image=$(nix run .#image.load -- --into kind)

kubectl apply --filename kubernetes.yaml
kubectl set image deployment/service "service=$image"
kubectl rollout status deployment/service --timeout 120s
