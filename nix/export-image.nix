# exportImage writes the root file system of an image to one tar archive.
{ common }:
let
  inherit (common) checks lib runNixdock;

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
      file = checks.imageFile ".exportImage: fromImage" fromImage;
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
    runNixdock name { } ''
      ${common.noteIgnored { inherit diskSize; }}
      nixdock export ${file} ${choice} -o "$out"
    '';
in
{
  inherit exportImage;
}
