# Images of many layers: one for each store path that is worth it, and one for the image's own files.
{
  common,
}:
let
  inherit (common)
    lib
    package
    pkgs
    runNixdock
    ;

  # What runs a configuration, as dockerTools' own script does: CONF [-t REPO:TAG].
  streamScript = pkgs.buildPackages.writeShellScript "nixdock-stream" ''
    exec ${lib.getExe package} stream "$@"
  '';

  streamLayeredImage = lib.makeOverridable (
    {
      name,
      tag ? null,
      fromImage ? null,
      fromImageName ? null,
      fromImageTag ? null,
      inheritConfig ? "env",
      contents ? [ ],
      config ? { },
      architecture ? common.defaultArchitecture,
      variant ? common.defaultVariant,
      created ? common.constantTime,
      mtime ? common.constantTime,
      uid ? 0,
      gid ? 0,
      uname ? "root",
      gname ? "root",
      maxLayers ? 100,
      extraCommands ? "",
      fakeRootCommands ? "",
      enableFakechroot ? false,
      perms ? [ ],
      includeStorePaths ? true,
      includeNixDB ? false,
      passthru ? { },
      meta ? { },
      layering ? { },
      layeringPipeline ? null,
      debug ? false,
    }@args:
    assert lib.assertMsg (
      layeringPipeline == null -> maxLayers > 1
    ) "nixdock: image ${name}: maxLayers must be greater than 1, for the top layer is one of them";
    assert lib.assertMsg (
      enableFakechroot -> pkgs.stdenv.hostPlatform.isLinux
    ) "nixdock: image ${name}: enableFakechroot needs Linux, for it enters a namespace; use perms, or fakeRootCommands with relative paths";
    let
      baseName = baseNameOf name;
      imageName = lib.toLower name;
      base = common.fromImageSpec args;
      permsSpec = lib.optionalAttrs (perms != [ ]) { inherit perms; };

      configFile = common.writeConfig baseName config;

      topLayer = common.topLayer "${baseName}-customisation-layer" (
        {
          name = imageName;
          contents = lib.toList contents;
          extra_commands = extraCommands;
        }
        // base
        // permsSpec
        // lib.optionalAttrs (fakeRootCommands != "") {
          fake_root_commands = fakeRootCommands;
          enable_fakechroot = enableFakechroot;
        }
      );

      spec = common.writeSpec "${baseName}-spec.json" (
        {
          name = imageName;
          config = if config == null then { } else config;
          inherit architecture created;
          variant = if variant == "" then null else variant;
          max_layers = maxLayers;
          nix_db = includeNixDB;
          top_layer = topLayer;
          store = {
            directory = builtins.storeDir;
            inherit mtime uname gname;
            uid = common.toId uid;
            gid = common.toId gid;
          };
        }
        // base
        // permsSpec
        // common.layeringSpec layering layeringPipeline
        // (
          if includeStorePaths then
            {
              closure = {
                # Given on the command line: it is known only while the derivation runs.
                graph = "";
                keys = [ "closure" ];
                exclude = closureRoots;
              };
            }
          else
            { store_layers = [ ]; }
        )
      );

      # What the image's store paths are the closure of; themselves they stay out of it.
      closureRoots = [
        configFile
        topLayer
      ];

      conf =
        runNixdock "${baseName}-conf.json"
          {
            __structuredAttrs = true;
            # The plan alone, for the image that comes next.
            outputs = [
              "out"
              "plan"
            ];
            exportReferencesGraph = lib.optionalAttrs includeStorePaths { closure = closureRoots; };
          }
          ''
            nixdock resolve ${spec} -o "$out" --plan "$plan" --graph "$NIX_ATTRS_JSON_FILE" ${
              if tag == null then "--tag-of-output" else "--tag ${lib.escapeShellArg tag}"
            }
          '';

      imageTag = if tag == null then common.hashPart conf else tag;

      # Rewrites the file that `layering.previous` names.
      updatePlan = pkgs.buildPackages.writeShellScriptBin "update-plan" ''
        target=''${1:-${baseName}.plan.json}
        cp --no-preserve=mode,ownership ${conf.plan} "$target.new" && mv "$target.new" "$target"
        echo "wrote $target" >&2
      '';
    in
    pkgs.runCommand "stream-${baseName}"
      {
        inherit imageName meta;
        passthru = passthru // {
          inherit
            imageTag
            conf
            closureRoots
            streamScript
            updatePlan
            ;
          isExe = true;
        };
        preferLocalBuild = true;
        allowSubstitutes = false;
      }
      ''
        {
          echo '#!${pkgs.buildPackages.runtimeShell}'
          echo 'exec ${streamScript} ${conf} "$@"'
        } > $out
        chmod +x $out
      ''
  );

  buildLayeredImage = lib.makeOverridable (
    {
      name,
      compressor ? "gz",
      meta ? { },
      # docker-archive, or one of nixdock's own: archive, oci-archive, oci-layout.
      format ? "docker-archive",
      ...
    }@args:
    let
      stream = streamLayeredImage (
        removeAttrs args [
          "compressor"
          "format"
          "meta"
        ]
      );
      chosen = common.compressorFor name compressor;
    in
    runNixdock "${baseNameOf name}${common.extensionFor name format chosen}"
      {
        inherit (stream) imageName;
        passthru = {
          inherit (stream) imageTag updatePlan;
          inherit stream;
        };
        inherit meta;
      }
      ''
        nixdock build ${stream.conf} -o $out --format ${format} --compression ${chosen.compression}
      ''
  );
in
{
  inherit buildLayeredImage streamLayeredImage;

  buildLayeredImageWithNixDb = args: buildLayeredImage (args // { includeNixDB = true; });
}
