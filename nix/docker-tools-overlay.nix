# An overlay that puts the library in the place of `pkgs.dockerTools`, and adds it as `pkgs.nixdock`.
#
# What dockerTools has beyond its documented functions stays reachable.
final: prev:
let
  nixdock = import ./. final;
in
{
  inherit nixdock;
  inherit (nixdock) nix-prefetch-docker;
  dockerTools = (prev.dockerTools or { }) // nixdock;
}
