# The library: a function of `pkgs`, given bare or as `{ pkgs }`.
#
# Every function takes the arguments of its namesake in `pkgs.dockerTools` and returns a derivation
# with the same attributes, so that one can stand in for the other.
args:
let
  pkgs = args.pkgs or args;
  inherit (pkgs) lib;

  package = pkgs.callPackage ./package.nix { };

  go = pkgs.stdenv.hostPlatform.go;
  defaultArchitecture = go.GOARCH;
  defaultVariant = lib.optionalString (go.GOARM or "" != "") "v${go.GOARM}";
  constantTime = "1970-01-01T00:00:01Z";

  compressors = {
    none = {
      extension = "";
      compression = "none";
    };
    gz = {
      extension = ".gz";
      compression = "gzip";
    };
    zstd = {
      extension = ".zst";
      compression = "zstd";
    };
  };
  compressorFor =
    name: compressor:
    compressors.${compressor} or (throw (
      "in docker image ${name}: compressor must be one of: ["
      + lib.concatStringsSep " " (lib.attrNames compressors)
      + "], not ${compressor}"
    ));

  # The part of a store path's name that changes with its inputs.
  hashPart =
    drv: lib.head (lib.splitString "-" (baseNameOf (builtins.unsafeDiscardStringContext drv.outPath)));

  notYet = function: argument: throw "nixdock.${function}: ${argument} is not supported yet";

  # A command of nixdock in a derivation; `nixdock` reads its specs from files in the store.
  runNixdock =
    name: attrs: script:
    pkgs.runCommand name (
      attrs
      // {
        nativeBuildInputs = [ package ] ++ attrs.nativeBuildInputs or [ ];
        # Copying an image from a cache costs more than making it again.
        preferLocalBuild = true;
        allowSubstitutes = false;
      }
    ) script;

  writeSpec = name: spec: pkgs.writeText name (builtins.toJSON ({ version = 1; } // spec));

  # What runs a configuration, as dockerTools' own script does: CONF [-t REPO:TAG].
  streamScript = pkgs.writeShellScript "nixdock-stream" ''
    exec ${lib.getExe package} stream "$@"
  '';

  # dockerTools takes ids as numbers and as their digits.
  toId = id: if builtins.isString id then builtins.fromJSON id else id;

  streamLayeredImage = lib.makeOverridable (
    {
      name,
      tag ? null,
      fromImage ? null,
      contents ? [ ],
      config ? { },
      architecture ? defaultArchitecture,
      variant ? defaultVariant,
      created ? constantTime,
      mtime ? constantTime,
      uid ? 0,
      gid ? 0,
      uname ? "root",
      gname ? "root",
      maxLayers ? 100,
      extraCommands ? "",
      fakeRootCommands ? "",
      enableFakechroot ? false,
      includeStorePaths ? true,
      includeNixDB ? false,
      passthru ? { },
      meta ? { },
      layeringPipeline ? null,
      debug ? false,
    }:
    assert lib.assertMsg (
      layeringPipeline == null -> maxLayers > 1
    ) "nixdock: image ${name}: maxLayers must be greater than 1, for the top layer is one of them";
    let
      unsupported = notYet "streamLayeredImage";
      baseName = baseNameOf name;
      imageName = lib.toLower name;

      # A file of its own: what the config names is part of the image, without being named twice.
      configFile = pkgs.writeText "${baseName}-base.json" (
        builtins.toJSON (if config == null then { } else config)
      );

      topLayer = runNixdock "${baseName}-customisation-layer" { } ''
        nixdock top-layer ${
          writeSpec "${baseName}-top-layer.json" {
            name = imageName;
            contents = lib.toList contents;
            extra_commands = extraCommands;
          }
        } -o $out
      '';

      spec = writeSpec "${baseName}-spec.json" (
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
            uid = toId uid;
            gid = toId gid;
          };
        }
        // (
          if includeStorePaths then
            {
              closure = {
                # Given on the command line: it is known only while the derivation runs.
                graph = "";
                keys = [ "closure" ];
                exclude = [
                  configFile
                  topLayer
                ];
              };
            }
          else
            { store_layers = [ ]; }
        )
      );

      conf =
        runNixdock "${baseName}-conf.json"
          {
            __structuredAttrs = true;
            exportReferencesGraph = lib.optionalAttrs includeStorePaths {
              closure = [
                configFile
                topLayer
              ];
            };
          }
          ''
            nixdock resolve ${spec} -o "$out" --graph "$NIX_ATTRS_JSON_FILE" ${
              if tag == null then "--tag-of-output" else "--tag ${lib.escapeShellArg tag}"
            }
          '';

      imageTag = if tag == null then hashPart conf else tag;

    in
    if fromImage != null then
      unsupported "fromImage"
    else if fakeRootCommands != "" then
      unsupported "fakeRootCommands"
    else if enableFakechroot then
      unsupported "enableFakechroot"
    else if layeringPipeline != null then
      unsupported "layeringPipeline"
    else
      pkgs.runCommand "stream-${baseName}"
        {
          inherit imageName meta;
          passthru = passthru // {
            inherit imageTag conf streamScript;
            isExe = true;
          };
          preferLocalBuild = true;
          allowSubstitutes = false;
        }
        ''
          {
            echo '#!${pkgs.runtimeShell}'
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
      chosen = compressorFor name compressor;
      # Only a docker-archive is compressed as a whole; elsewhere the layers are.
      extension =
        {
          docker-archive = ".tar${chosen.extension}";
          archive = ".tar";
          oci-archive = ".tar";
          oci-layout = "";
        }
        .${format} or (throw "nixdock: image ${name}: unknown format ${format}");
    in
    runNixdock "${baseNameOf name}${extension}"
      {
        inherit (stream) imageName;
        passthru = {
          inherit (stream) imageTag;
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
  inherit package buildLayeredImage streamLayeredImage;

  buildLayeredImageWithNixDb = args: buildLayeredImage (args // { includeNixDB = true; });
}
