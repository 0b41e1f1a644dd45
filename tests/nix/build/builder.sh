# Structured attributes come as a file to source, others as the environment.
if [ -e "$NIX_BUILD_TOP/.attrs.sh" ]; then
  source "$NIX_BUILD_TOP/.attrs.sh"
  # Older Nix names the files by their place outside the sandbox.
  export NIX_ATTRS_SH_FILE=$NIX_BUILD_TOP/.attrs.sh NIX_ATTRS_JSON_FILE=$NIX_BUILD_TOP/.attrs.json
fi
source "$stdenv/setup"
genericBuild
