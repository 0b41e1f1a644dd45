#!/usr/bin/env bash
# Run the image of this flake in a cluster of kind: once more after each change.
set -euo pipefail
cd "$(dirname "$0")"

cluster=${KIND_CLUSTER_NAME:-kind}
kind get clusters | grep --quiet --fixed-strings --line-regexp "$cluster" || kind create cluster

# The nodes get the layers that they lack. The image's tag changes with its contents, so that
# Kubernetes sees a new one.
image=$(nix run .#image.load -- --into kind)

# In this cluster, whichever one kubectl is set to.
kubectl() { command kubectl --context "kind-$cluster" "$@"; }
kubectl apply --filename kubernetes.yaml
kubectl set image deployment/service "service=$image"
kubectl rollout status deployment/service --timeout 120s
