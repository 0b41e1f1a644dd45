# Programs that stand in for those of nixpkgs by the same names.
{
  common,
}:
let
  inherit (common) lib package pkgs;
in
{
  # Standard input's TarSum, as Docker's own code makes it today.
  tarsum = pkgs.writeShellScriptBin "tarsum" ''
    exec ${lib.getExe package} tarsum --ignore-names "$@"
  '';

  nix-prefetch-docker = pkgs.writeShellScriptBin "nix-prefetch-docker" ''
    # The user's own Nix, where there is one, is the one that knows the store.
    export PATH=$PATH:${
      lib.makeBinPath [
        pkgs.skopeo
        pkgs.nix
      ]
    }
    exec ${lib.getExe package} prefetch "$@"
  '';
}
