# Programs that replace the nixpkgs programs of the same names.
{
  common,
}:
let
  inherit (common) lib package;
  # Like nixdock itself, they run on the build platform.
  inherit (common.pkgs) buildPackages;
in
{
  # Prints the TarSum of standard input, as the current code of Docker computes it.
  tarsum = buildPackages.writeShellScriptBin "tarsum" ''
    exec ${lib.getExe package} tarsum --ignore-names "$@"
  '';

  nix-prefetch-docker = buildPackages.writeShellScriptBin "nix-prefetch-docker" ''
    # The user's Nix comes first, because its configuration names the user's store.
    export PATH=$PATH:${
      lib.makeBinPath [
        buildPackages.skopeo
        buildPackages.nix
      ]
    }
    exec ${lib.getExe package} prefetch "$@"
  '';
}
