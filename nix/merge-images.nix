# mergeImages writes several images to one docker-archive.
{ common }:
let
  inherit (common) lib runNixdock;

  mergeImages =
    images:
    let
      streams = map (image: image.name) (lib.filter (image: image.isExe or false) images);
    in
    assert lib.assertMsg (streams == [ ])
      "nixdock.mergeImages: not images but streams' scripts: ${toString streams}; use buildLayeredImage";
    runNixdock "merge-docker-images" { } ''
      nixdock merge ${lib.escapeShellArgs (map (image: "${image}") images)} -o "$out"
    '';
in
{
  inherit mergeImages;
}
