# The library: a function of `pkgs`, given bare or as `{ pkgs }`.
#
# Every function takes the arguments of its namesake in `pkgs.dockerTools` and returns a derivation
# with the same attributes, so that one can stand in for the other.
args:
let
  pkgs = args.pkgs or args;
  package = pkgs.callPackage ./package.nix { };
  common = import ./common.nix { inherit pkgs package; };
in
{
  inherit package;
}
// import ./layered-image.nix { inherit common; }
// import ./build-image.nix { inherit common; }
