# An overlay that replaces the functions of `pkgs.dockerTools`, and adds the library as
# `pkgs.nixdock`.
#
# Attributes that only dockerTools has, such as `shellScript`, stay available.
final: prev:
let
  nixdock = import ./. final;
in
{
  inherit nixdock;
  inherit (nixdock) nix-prefetch-docker;
  dockerTools = (prev.dockerTools or { }) // nixdock;
}
