# The test package set: Debian's binaries and PyPI's wheels in nixpkgs' shape.
{
  # What `debian.py` has written: the lock, or its contents, or its directory.
  debs ? null,
  system ? builtins.currentSystem or "x86_64-linux",
  localSystem ? { inherit system; },
  overlays ? [ ],
  config ? { },
  ...
}:
let
  lib = import ./lib.nix;

  cache =
    let
      given = builtins.getEnv "NIXDOCK_TEST_CACHE";
      base = builtins.getEnv "XDG_CACHE_HOME";
    in
    if given != "" then
      given
    else if base != "" then
      "${base}/nixdock-tests"
    else if builtins.getEnv "HOME" != "" then
      "${builtins.getEnv "HOME"}/.cache/nixdock-tests"
    else
      null;

  # Beside this file in the copy that debian.py makes, the only one pure evaluation may read.
  located =
    if builtins.pathExists ./lock.json then
      ./lock.json
    else if cache == null then
      null
    else
      "${cache}/nixpkgs/lock.json";

  lock =
    if debs == null then
      lib.throwIfNot (located != null && builtins.pathExists located)
        "no lock: run `python -m tests.nix.debian`, and import the directory it names"
        (lib.importJSON located)
    else if lib.isAttrs debs && debs ? debs then
      debs
    else if lib.pathExists (debs + "/nixpkgs/lock.json") then
      lib.importJSON (debs + "/nixpkgs/lock.json")
    else if lib.pathExists (debs + "/lock.json") then
      lib.importJSON (debs + "/lock.json")
    else
      lib.importJSON debs;

  host = localSystem.system or localSystem;

  base = final: {
    inherit lib config;
    path = ./.;
    system = host;
    pkgs = final;
    stdenv = import ./stdenv.nix {
      inherit lib;
      system = host;
      inherit (raw) debs;
    };
    stdenvNoCC = final.stdenv;
    inherit (final.stdenv) hostPlatform buildPlatform targetPlatform;
    buildPackages = final;
    pkgsBuildBuild = final;
    pkgsBuildHost = final;
    pkgsHostTarget = final;
    newScope = extra: lib.callPackageWith (final // extra);
    callPackage = final.newScope { };
    callPackages = lib.callPackagesWith final;
    runtimeShell = "${final.bash}/bin/bash";
    runtimeShellPackage = final.bash;
    bashInteractive = final.bash;
    bashNonInteractive = final.bash;
  };

  raw = import ./debian.nix {
    inherit lock;
    system = host;
  };

  make =
    overlays:
    let
      withBuilders = lib.extends (import ./trivial.nix) base;
      withPackages = lib.extends (import ./packages.nix { inherit raw lock; }) withBuilders;
    in
    lib.fix (
      lib.extends (final: _: {
        inherit overlays;
        extend = overlay: make (overlays ++ [ overlay ]);
        appendOverlays = more: if more == [ ] then final else make (overlays ++ more);
      }) (lib.foldl' (f: overlay: lib.extends overlay f) withPackages overlays)
    );
in
make overlays
