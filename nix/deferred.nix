# Store paths that evaluation does not know: those of content-addressed derivations, which their
# builds tell. Until then, text names them by placeholders, which Nix replaces in what it builds.
{ lib }:
let
  # The digits of Nix.
  digit = "[0-9a-df-np-sv-z]";

  # Where a path begins, and not a part of one, such as the name of a NAR in a cache. Text in JSON may
  # have an escaped line end before it.
  placeholder = "(^|[^0-9A-Za-z]|\\\\[nrt])(/${digit}{52})";

  isBuilt =
    text: lib.any (lib.hasSuffix ".drv") (lib.attrNames (builtins.getContext text));
  isKnown = lib.hasPrefix "${builtins.storeDir}/";
in
{
  # Whether a value is text that names a file in the store which nothing has to build, such as
  # "${self}/file" in a flake.
  isSource = value: lib.isString value && builtins.hasContext value && !isBuilt value;

  # The placeholders in a text, if it has any.
  placeholdersIn =
    text:
    lib.optionals (isBuilt text) (
      map lib.last (
        lib.filter builtins.isList (
          builtins.split placeholder (builtins.unsafeDiscardStringContext text)
        )
      )
    );

  # A tag in place of the hash part of what is made from these files, if that is not known; or null.
  # Placeholders follow from derivations, so that it changes with them.
  tagOf =
    files:
    let
      paths = map (file: builtins.unsafeDiscardStringContext "${file}") files;
    in
    if lib.all isKnown paths then
      null
    else
      lib.substring 0 32 (builtins.hashString "sha256" (lib.concatStringsSep " " paths));

  # Where a build outside of Nix puts an output: at its path, or at one of its own, as in Nix's builds.
  outputPath =
    drv: output:
    let
      path = builtins.unsafeDiscardStringContext drv.${output}.outPath;
      name = drv.name + lib.optionalString (output != "out") "-${output}";
      # Hashes of store paths have no e.
      hash = builtins.replaceStrings [ "e" ] [ "w" ] (
        lib.substring 0 32 (builtins.hashString "sha256" path)
      );
    in
    if isKnown path then path else "${builtins.storeDir}/${hash}-${name}";
}
