# buildIndex puts images for several platforms into one index.
{ common }:
let
  inherit (common)
    checks
    lib
    pkgs
    runNixdock
    ;

  # A resolved spec, from which the image is made on its way, or an image in a file.
  sourceOf =
    name: image: "${image.conf or (checks.imageFile ": index ${name}: an image of the list" image)}";

  buildIndex = lib.makeOverridable (
    {
      name,
      images,
      tag ? null,
      # archive, oci-archive or oci-layout.
      format ? "archive",
      compressor ? "gz",
      annotations ? { },
      defaultAnnotations ? true,
      meta ? { },
    }:
    let
      baseName = baseNameOf (builtins.seq imageName name);
      imageName = checks.imageName name;
      chosen = common.compressorFor name compressor;
      sources = map (sourceOf name) images;

      options = lib.concatMapStrings (option: " ${lib.escapeShellArg option}") (
        [
          "--compression"
          chosen.compression
        ]
        ++ lib.concatLists (
          lib.mapAttrsToList (key: value: [
            "--annotation"
            "${key}=${value}"
          ]) annotations
        )
        ++ lib.optional (!defaultAnnotations) "--no-default-annotations"
      );

      chosenTag = common.chosenTag name tag sources;
      tagOption =
        if chosenTag == null then
          "--tag-of-output ${imageName}"
        else
          "--tag ${imageName}:${lib.escapeShellArg chosenTag}";
      imageTag = if chosenTag == null then common.hashPart file else chosenTag;
      nameOption = " --tag ${imageName}:${imageTag}";

      # The image for the machine that the programs run on.
      own =
        let
          architecture = pkgs.stdenv.buildPlatform.go.GOARCH;
        in
        lib.findFirst (image: (image.imagePlatform or { }).architecture or null == architecture) (throw
          "nixdock: index ${name}: none of the images that are built is for ${architecture}, so none can be loaded here; push the index, or load another image by itself"
        ) images;

      push = common.commandProgram baseName "push" (
        "index" + lib.concatMapStrings (source: " --of ${source}") sources + nameOption + options
      );

      file =
        runNixdock "index-${baseName}${common.extensionFor name format chosen}"
          {
            inherit imageName meta;
            passthru = {
              inherit images imageTag push;
              copyToRegistry = push;
              serve = common.commandProgram baseName "serve" "serve ${file}";
            }
            // lib.mapAttrs (key: _: (common.loadPrograms baseName own.conf nameOption).${key}) {
              load = null;
              run = null;
              copyToDockerDaemon = null;
              copyToPodman = null;
            };
          }
          ''
            nixdock index ${lib.concatStringsSep " " sources} -o "$out" --format ${format} \
              ${tagOption}${options}
          '';
    in
    assert checks.types ": index ${name}" "a list" builtins.isList { inherit images; };
    assert lib.assertMsg (
      images != [ ]
    ) "nixdock: index ${name}: images is empty; give at least one image";
    assert checks.types ": index ${name}" "an attribute set" builtins.isAttrs {
      inherit annotations;
    };
    assert checks.types ": index ${name}" "a string" lib.isStringLike (
      lib.mapAttrs' (key: lib.nameValuePair "annotations.${key}") annotations
    );
    assert lib.assertMsg (format != "docker-archive")
      "nixdock: index ${name}: a docker-archive holds no index; use the format archive, oci-archive or oci-layout";
    file
  );
in
{
  inherit buildIndex;
}
