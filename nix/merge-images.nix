# mergeImages writes several images to one docker-archive.
{ common }:
let
  inherit (common) checks lib runNixdock;

  mergeImages =
    images:
    assert checks.types ".mergeImages" "a list" builtins.isList {
      "the argument" = images;
    };
    assert lib.assertMsg (
      images != [ ]
    ) "nixdock.mergeImages: the list is empty; give at least one image";
    runNixdock "merge-docker-images" { } ''
      nixdock merge ${
        lib.escapeShellArgs (map (checks.imageFile ".mergeImages: an image of the list") images)
      } -o "$out"
    '';
in
{
  inherit mergeImages;
}
