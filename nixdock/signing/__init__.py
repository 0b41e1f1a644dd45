"""Signatures and signed attestations of images, in the formats of cosign and Sigstore."""
