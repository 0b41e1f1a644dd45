{
  description = "A web server in a container image";

  inputs = {
    nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable";
    nixdock.url = "github:OWNER/nixdock"; # the address of its repository
    nixdock.inputs.nixpkgs.follows = "nixpkgs";
  };

  outputs =
    {
      self,
      nixpkgs,
      nixdock,
    }:
    let
      systems = [
        "x86_64-linux"
        "aarch64-linux"
      ];
      eachSystem = make: nixpkgs.lib.genAttrs systems (system: make nixpkgs.legacyPackages.${system});
    in
    {
      packages = eachSystem (
        pkgs:
        let
          site = pkgs.writeTextDir "index.html" "Hello from a Nix closure.\n";
        in
        rec {
          image = (nixdock.lib.for pkgs).buildLayeredImage {
            name = "service";
            created = "@${toString self.lastModified}";
            config = {
              Entrypoint = [
                "${pkgs.busybox}/bin/busybox"
                "httpd"
                "-f"
              ];
              Cmd = [
                "-p"
                "8080"
                "-h"
                "${site}"
              ];
              ExposedPorts."8080/tcp" = { };
              User = "1000:1000";
            };
          };
          default = image;
        }
      );
    };
}
