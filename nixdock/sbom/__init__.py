"""Bills of materials: the packages of a closure, a spec or an image, as SPDX and CycloneDX."""
