{
  description = "Turn a Nix closure into container images: reproducible, fast, without a VM or a daemon";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable";

  outputs =
    { self, nixpkgs }:
    let
      inherit (nixpkgs) lib;
      eachSystem =
        make:
        lib.mapAttrs (system: make system) (
          lib.filterAttrs (system: _: lib.elem system systems) nixpkgs.legacyPackages
        );
      systems = [
        "x86_64-linux"
        "aarch64-linux"
        "x86_64-darwin"
        "aarch64-darwin"
      ];
    in
    {
      packages = eachSystem (
        _: pkgs: rec {
          nixdock = (import ./nix pkgs).package;
          default = nixdock;
        }
      );

      # The library for each system; `nixdock.lib.for pkgs` is that for any other package set.
      lib = eachSystem (_: import ./nix) // {
        for = import ./nix;
      };

      overlays = {
        default = import ./nix/overlay.nix;
        # Also replaces the functions of `pkgs.dockerTools`.
        dockerTools = import ./nix/docker-tools-overlay.nix;
      };

      # `nix flake init -t URL#NAME` copies them; docs/ci.md shows them.
      templates =
        let
          named = lib.mapAttrs (name: description: {
            inherit description;
            path = ./templates + "/${name}";
          }) descriptions;
          descriptions = {
            service = "A web server in a container image";
            github = "A GitHub workflow that builds, compares and pushes the image";
            gitlab = "A GitLab pipeline that compares and pushes the image";
            kubernetes = "A deployment and a service of Kubernetes";
            compose = "A Compose file";
            kind = "A script that brings the image into a cluster of kind after each change";
            devenv = "An image in a devenv";
          };
        in
        named // { default = named.service; };

      apps = eachSystem (
        system: _: rec {
          nixdock = {
            type = "app";
            program = "${self.packages.${system}.nixdock}/bin/nixdock";
            meta = { inherit (self.packages.${system}.nixdock.meta) description; };
          };
          default = nixdock;
        }
      );

      checks = eachSystem (
        system: pkgs: {
          package = self.packages.${system}.nixdock;
          image = self.lib.${system}.buildLayeredImage {
            name = "nixdock-check";
            config.Cmd = [ "${pkgs.hello}/bin/hello" ];
          };
        }
        # The examples include runAsRoot scripts, which need Linux namespaces.
        // lib.optionalAttrs pkgs.stdenv.hostPlatform.isLinux self.lib.${system}.tests
      );

      devShells = eachSystem (
        _: pkgs: {
          default = pkgs.mkShell {
            inputsFrom = [ (import ./nix pkgs).package ];
            packages = [
              pkgs.libdeflate
              pkgs.ruff
              (pkgs.python3.withPackages (ps: [
                ps.hypothesis
                ps.jsonschema
                ps.mypy
                ps.pytest
                ps.pytest-cov
                ps.pytest-timeout
                ps.pytest-xdist
                ps.referencing
                ps.trustme
              ]))
            ];
          };
        }
      );
    };
}
