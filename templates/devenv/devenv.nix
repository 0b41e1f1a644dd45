{ pkgs, inputs, ... }:
let
  nixdock = inputs.nixdock.lib.for pkgs;
  site = pkgs.writeTextDir "index.html" "Hello from a Nix closure.\n";
in
{
  # `nixdock` in the shell.
  packages = [ nixdock.package ];

  # `devenv build outputs.image` builds it.
  outputs.image = nixdock.buildLayeredImage {
    name = "service";
    tag = "dev";
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
}
