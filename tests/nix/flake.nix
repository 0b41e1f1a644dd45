{
  description = "Debian's packages in nixpkgs' shape, for nixdock's tests";

  outputs =
    { self }:
    let
      lib = import ./lib.nix;
      systems = [ "x86_64-linux" ];
    in
    {
      inherit lib;
      legacyPackages = lib.genAttrs systems (system: import ./. { inherit system; });
    };
}
