# Programs that replace the nixpkgs programs of the same names.
{
  common,
}:
let
  inherit (common) lib package pkgs;
in
{
  # Prints the TarSum of standard input, as the current code of Docker computes it.
  tarsum = pkgs.writeShellScriptBin "tarsum" ''
    exec ${lib.getExe package} tarsum --ignore-names "$@"
  '';

  nix-prefetch-docker = pkgs.writeShellScriptBin "nix-prefetch-docker" ''
    # The user's Nix comes first, because its configuration names the user's store.
    export PATH=$PATH:${
      lib.makeBinPath [
        pkgs.skopeo
        pkgs.nix
      ]
    }
    exec ${lib.getExe package} prefetch "$@"
  '';
}
