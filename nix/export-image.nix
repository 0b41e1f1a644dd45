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
    ) "nixdock.exportImage: fromImage is the stream script ${fromImage.name}, not an image; use buildLayeredImage instead of streamLayeredImage";
    runNixdock name { } ''
      ${common.noteIgnored { inherit diskSize; }}
      nixdock export ${fromImage} ${choice} -o "$out"
    '';
in
{
  inherit exportImage;
}
