# Layered images: a plan distributes the store paths over layers, and the top layer has the image's
# own files.
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
  inherit (import ./image-arguments.nix { inherit common; }) withImageArguments;

  # Streams the image of a configuration, with the command line of dockerTools' stream script:
  # CONF [-t REPO:TAG].
  streamScript = pkgs.buildPackages.writeShellScript "nixdock-stream" ''
    exec ${lib.getExe package} stream "$@"
  '';

  # The function streamLayeredImage, whose programs have the option `compression` of an image, or
  # nothing.
  streamWith =
    compression:
    lib.makeOverridable (
      withImageArguments (
        {
          contents ? [ ],
          mtime ? common.constantTime,
          uname ? "root",
          gname ? "root",
          maxLayers ? 100,
          fakeRootCommands ? "",
          enableFakechroot ? false,
          includeStorePaths ? true,
          passthru ? { },
          layering ? { },
          layeringPipeline ? null,
          debug ? false,
        }:
        image:
        assert common.checks.types ": image ${image.name}"
          "an attribute set, such as { strategy = \"auto\"; }"
          builtins.isAttrs
          { inherit layering; };
        assert common.checks.types ": image ${image.name}" "true or false" builtins.isBool {
          inherit enableFakechroot includeStorePaths;
        };
        assert common.checks.types ": image ${image.name}" "a string" builtins.isString {
          inherit gname mtime uname;
        };
        assert common.checks.types ": image ${image.name}" "the text of a script" lib.isStringLike {
          fakeRootCommands = if fakeRootCommands == null then "" else fakeRootCommands;
        };
        assert common.checks.types ": image ${image.name}" "a number" builtins.isInt {
          inherit maxLayers;
        };
        assert lib.assertMsg (
          layeringPipeline == null -> maxLayers > 1
        ) "nixdock: image ${image.name}: maxLayers must be greater than 1, not ${toString maxLayers}: the top layer counts too";
        let
          inherit (image) baseName;

          store = {
            directory = builtins.storeDir;
            inherit mtime uname gname;
          }
          // image.owner;

          ownFiles = {
            contents = common.treesOf image.name "contents" contents;
          }
          // lib.optionalAttrs (fakeRootCommands != "" && fakeRootCommands != null) {
            fake_root_commands = fakeRootCommands;
            enable_fakechroot =
              enableFakechroot
              && common.checks.onLinux image.name "enableFakechroot"
                "use perms, or fakeRootCommands with relative paths"
                true;
          };

          topLayer = image.buildTopLayer "${baseName}-customisation-layer" {
            inherit store includeStorePaths;
          } ownFiles;

          ofImage = {
            max_layers = maxLayers;
            inherit store;
          }
          // common.layeringSpec image.name layering layeringPipeline
          // lib.optionalAttrs (!includeStorePaths) { store_layers = [ ]; };

          spec = image.writeSpec topLayer (
            ofImage // lib.optionalAttrs includeStorePaths { closure = image.closureSpec topLayer; }
          );

          closureRoots = image.closureRoots topLayer;

          conf =
            runNixdock "${baseName}-conf.json"
              {
                __structuredAttrs = true;
                # A separate output with only the plan, for the next image.
                outputs = [
                  "out"
                  "plan"
                ];
                exportReferencesGraph = lib.optionalAttrs includeStorePaths { closure = closureRoots; };
              }
              ''
                nixdock resolve ${spec} -o "$out" --plan "$plan" --graph "$NIX_ATTRS_JSON_FILE" \
                  ${image.tagOption spec}
              '';

          # Rewrites the file that `layering.previous` names.
          updatePlan = pkgs.buildPackages.writeShellScriptBin "update-plan" ''
            target=''${1:-${baseName}.plan.json}
            cat ${conf.plan} > "$target.new" && mv "$target.new" "$target" || exit
            echo "wrote $target" >&2
            inGit() { git -C "$(dirname "$target")" "$@" > /dev/null 2>&1; }
            if inGit rev-parse && ! inGit ls-files --error-unmatch "$(basename "$target")"; then
              echo "a flake has only files that git knows: git add $target" >&2
            fi
          '';
        in
        common.runNearby "stream-${baseName}"
          {
            inherit (image) imageName meta;
            # The caller's attributes win over those that dockerTools doesn't have, unless the library
            # itself needs these.
            passthru =
              common.transferPrograms baseName conf compression
              // image.remotePrograms ownFiles ofImage (image.tagOf spec conf) compression
              // {
                inherit updatePlan;
              }
              // passthru
              // {
                imageTag = image.tagOf spec conf;
                inherit (image) imagePlatform;
                inherit
                  conf
                  closureRoots
                  streamScript
                  ;
                isExe = true;
              };
          }
          ''
            {
              echo '#!${pkgs.buildPackages.runtimeShell}'
              echo 'exec ${streamScript} ${conf} "$@"'
            } > $out
            chmod +x $out
          ''
      )
    );

  streamLayeredImage = streamWith "";

  buildLayeredImage = lib.makeOverridable (
    {
      name,
      compressor ? "gz",
      meta ? { },
      # docker-archive, or a format that only nixdock has: archive, oci-archive or oci-layout.
      format ? "docker-archive",
      ...
    }@args:
    let
      stream = streamWith (common.compressionOption name format compressor) (
        removeAttrs args [
          "compressor"
          "format"
        ]
      );
    in
    common.buildStream
      {
        inherit compressor format stream;
        imageName = name;
        # The name of the derivation: the name of the image is checked first.
        fileName = baseNameOf (builtins.seq stream.imageName name);
      }
      { inherit meta; }
  );
in
{
  inherit buildLayeredImage streamLayeredImage;

  buildLayeredImageWithNixDb = args: buildLayeredImage (args // { includeNixDB = true; });
}
