# exportImage writes the root file system of an image to one tar archive.
{ common }:
let
  inherit (common) lib runNixdock;

  exportImage =
    {
      fromImage,
      name ? fromImage.name or (baseNameOf fromImage),
      fromImageName ? null,
      fromImageTag ? null,
      # Accepted for compatibility: nixdock uses no virtual machine.
      diskSize ? null,
    }:
    let
      choice = lib.escapeShellArgs (
        lib.optionals (fromImageName != null) [
          "--name"
          fromImageName
        ]
        ++ lib.optionals (fromImageTag != null) [
          "--tag"
          fromImageTag
        ]
      );
    in
    assert lib.assertMsg (
      !(fromImage.isExe or false)
    ) "nixdock.exportImage: ${name} is a stream's script, not an image; use buildLayeredImage";
    runNixdock name { } ''
      ${lib.optionalString (diskSize != null) ''
        echo "nixdock: diskSize has no meaning: there is no virtual machine" >&2
      ''}
      nixdock export ${fromImage} ${choice} -o "$out"
    '';
in
{
  inherit exportImage;
}
