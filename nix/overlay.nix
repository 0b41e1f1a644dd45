# An overlay that adds the library as `pkgs.nixdock`.
final: _: {
  nixdock = import ./. final;
}
