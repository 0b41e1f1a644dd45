# The library: a function of `pkgs`, or of an attribute set `{ pkgs }`.
#
# Each function accepts the arguments of the `pkgs.dockerTools` function of the same name, and
# returns a derivation with the same attributes, so that nixdock can replace dockerTools.
args:
let
  pkgs = args.pkgs or args;
  # nixdock runs on the build platform, even if the images are for another platform.
  package = pkgs.buildPackages.callPackage ./package.nix { };
  common = import ./common.nix { inherit pkgs package; };

  layered = import ./layered-image.nix { inherit common; };
  files = import ./files.nix { inherit common; };

  nixdock = {
    inherit package;
  }
  // layered
  // files
  // import ./build-image.nix { inherit common; }
  // import ./build-index.nix { inherit common; }
  // import ./export-image.nix { inherit common; }
  // import ./merge-images.nix { inherit common; }
  // import ./nix-shell-image.nix {
    inherit common;
    inherit (layered) streamLayeredImage;
    inherit (files) binSh fakeNss usrBinEnv;
  }
  // import ./package-meta.nix { inherit common; }
  // import ./plan-family.nix {
    inherit common;
    inherit (layered) streamLayeredImage;
  }
  // import ./programs.nix { inherit common; }
  // import ./pull-image.nix { inherit common; }
  // {
    examples = import ./examples.nix { inherit pkgs nixdock; };
    tests = import ./tests.nix { inherit pkgs nixdock; };
  };
in
nixdock
