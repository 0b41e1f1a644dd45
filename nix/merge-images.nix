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
      "nixdock.mergeImages: the list has stream scripts instead of images: ${toString streams}; use buildLayeredImage instead of streamLayeredImage";
    runNixdock "merge-docker-images" { } ''
      nixdock merge ${lib.escapeShellArgs (map (image: "${image}") images)} -o "$out"
    '';
in
{
  inherit mergeImages;
}
