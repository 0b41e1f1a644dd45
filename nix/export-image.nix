# exportImage writes the root file system of an image to one tar archive.
{ common }:
let
  inherit (common) checks lib runNixdock;

  # The name of a file, without the hash that it has in the store.
  nameOf =
    file:
    let
      name = baseNameOf (builtins.unsafeDiscardStringContext (toString file));
      parts = builtins.match "[0-9a-z]{32}-(.+)" name;
    in
    if parts == null then name else lib.head parts;

  exportImage =
    {
      fromImage,
      name ? fromImage.name or (nameOf fromImage),
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
