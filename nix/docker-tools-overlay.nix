# An overlay that replaces the functions of `pkgs.dockerTools`, and adds the library as
# `pkgs.nixdock`.
#
# Attributes that only dockerTools has, such as `shellScript`, stay available.
final: prev:
let
  nixdock = import ./. final;

  # Those of dockerTools would return dockerTools' own functions.
  old = removeAttrs (prev.dockerTools or { }) [
    "override"
    "overrideDerivation"
  ];

  # The functions of nixdock, and `override`, which replaces packages that they use.
  withOverride =
    replaced: library:
    old
    // library
    // {
      override =
        change:
        let
          packages = replaced // (if prev.lib.isFunction change then change (final // replaced) else change);
          buildPackages = final.buildPackages // packages;
        in
        withOverride packages (
          import ./. {
            pkgs =
              final
              // packages
              // {
                # nixdock and what it runs in builds come from here.
                buildPackages = buildPackages // {
                  callPackage = final.buildPackages.newScope packages;
                };
              };
          }
        );
    };
in
{
  inherit nixdock;
  inherit (nixdock) nix-prefetch-docker;
  dockerTools = withOverride { } nixdock;
}
