# Images that add one layer to their base: the image's own files, and the store paths behind them.
{ common }:
let
  inherit (common) lib pkgs runNixdock;

  buildImage = lib.makeOverridable (
    {
      name,
      tag ? null,
      fromImage ? null,
      fromImageName ? null,
      fromImageTag ? null,
      inheritConfig ? "env",
      copyToRoot ? null,
      # The name that copyToRoot once had.
      contents ? null,
      keepContentsDirlinks ? false,
      config ? null,
      architecture ? common.defaultArchitecture,
      variant ? common.defaultVariant,
      created ? common.constantTime,
      extraCommands ? "",
      uid ? 0,
      gid ? 0,
      perms ? [ ],
      runAsRoot ? null,
      # Sizes of the virtual machine that nixdock does without.
      diskSize ? null,
      buildVMMemorySize ? null,
      compressor ? "gz",
      format ? "docker-archive",
      includeNixDB ? false,
      meta ? { },
    }@args:
    let
      baseName = baseNameOf name;
      imageName = lib.toLower name;
      chosen = common.compressorFor name compressor;
      base = common.fromImageSpec args;
      permsSpec = lib.optionalAttrs (perms != [ ]) { inherit perms; };

      trees = lib.toList (
        if contents != null then
          lib.warn "nixdock: image ${name}: contents is now copyToRoot" contents
        else if copyToRoot == null then
          [ ]
        else
          copyToRoot
      );

      configFile = common.writeConfig baseName config;

      layer = common.topLayer "docker-layer-${baseName}" (
        {
          name = imageName;
          contents = trees;
          copy_contents = true;
          keep_directory_links = keepContentsDirlinks;
          extra_commands = extraCommands;
          owner = {
            uid = common.toId uid;
            gid = common.toId gid;
          };
        }
        // base
        // permsSpec
        // lib.optionalAttrs (runAsRoot != null) { run_as_root = runAsRoot; }
      );

      spec = common.writeSpec "${baseName}-spec.json" (
        {
          name = imageName;
          config = if config == null then { } else config;
          inherit architecture created;
          variant = if variant == "" then null else variant;
          nix_db = includeNixDB;
          top_layer = layer;
          single_layer = true;
          store.directory = builtins.storeDir;
          closure = {
            # Given on the command line: it is known only while the derivation runs.
            graph = "";
            keys = [ "closure" ];
            exclude = [
              configFile
              layer
            ];
          };
        }
        // base
        // permsSpec
      );

      unused = lib.optionalString (diskSize != null || buildVMMemorySize != null) ''
        echo "nixdock: diskSize and buildVMMemorySize have no meaning: there is no virtual machine" >&2
      '';

      image =
        runNixdock "docker-image-${baseName}${common.extensionFor name format chosen}"
          {
            inherit imageName;
            passthru = {
              imageTag = if tag == null then common.hashPart image else tag;
              buildArgs = args;
              inherit layer;
            };
            inherit meta;
            __structuredAttrs = true;
            exportReferencesGraph.closure = [
              configFile
              layer
            ];
          }
          ''
            ${unused}
            nixdock build ${spec} -o "$out" --graph "$NIX_ATTRS_JSON_FILE" ${
              if tag == null then "--tag-of-output" else "--tag ${lib.escapeShellArg tag}"
            } --format ${format} --compression ${chosen.compression} ${
              lib.optionalString (format == "docker-archive") "--legacy"
            }
          '';
    in
    assert lib.assertMsg (
      contents != null -> copyToRoot == null
    ) "nixdock: image ${name}: give copyToRoot or contents, its old name, but not both";
    image
  );
in
{
  inherit buildImage;

  buildImageWithNixDb = args: buildImage (args // { includeNixDB = true; });
}
