# The arguments that buildImage and streamLayeredImage share, and the parts of their specs that
# these arguments decide.
{ common }:
let
  inherit (common)
    checks
    lib
    pkgs
    runNixdock
    ;
  remote = import ./remote.nix { inherit common; };
  inherit (import ./unknown-arguments.nix { inherit lib; }) refuseOthers;

  # Where an image of pullImage comes from: HOST/NAME@DIGEST.
  referenceOf =
    fromImage:
    if fromImage ? source && lib.hasPrefix "docker://" fromImage.source then
      lib.removePrefix "docker://" fromImage.source
    else
      null;

  # The annotations of the image-spec that the meta attributes of an image tell.
  metaAnnotations =
    meta:
    let
      licenses = map (license: license.spdxId or null) (lib.toList (meta.license or [ ]));
    in
    lib.mapAttrs' (key: lib.nameValuePair "org.opencontainers.image.${key}") (
      lib.filterAttrs (_: lib.isString) {
        description = meta.description or null;
        url = meta.homepage or null;
        licenses =
          if licenses == [ ] || lib.elem null licenses then
            null
          else
            lib.concatStringsSep " AND " (lib.unique licenses);
      }
    );
in
{
  # Adds the shared arguments to those of `make`, which takes its own arguments first, and then the
  # image: the attribute set below. Others are errors.
  withImageArguments =
    make:
    let
      shared = lib.functionArgs imageFunction;
      arguments = shared // lib.functionArgs make;

      imageFunction =
        {
          name,
          tag ? null,
          fromImage ? null,
          fromImageName ? null,
          fromImageTag ? null,
          inheritConfig ? "env",
          config ? { },
          architecture ? common.defaultArchitecture,
          variant ? common.defaultVariant,
          created ? common.constantTime,
          extraCommands ? "",
          uid ? 0,
          gid ? 0,
          perms ? [ ],
          includeNixDB ? false,
          # Labels beside those of the config, and annotations of the manifest and of new layers.
          labels ? { },
          annotations ? { },
          layerAnnotations ? { },
          defaultAnnotations ? true,
          provenance ? { },
          meta ? { },
          ...
        }@args:
        assert checks.types "" "a string" builtins.isString { inherit name; };
        assert checks.types ": image ${name}" "true or false" builtins.isBool {
          inherit includeNixDB;
        };
        assert checks.types ": image ${name}" "a list" builtins.isList { inherit perms; };
        assert checks.types ": image ${name}" "the text of a script" lib.isStringLike {
          inherit extraCommands;
        };
        assert
          checks.types ": image ${name}" "a string, such as \"2020-01-02\", \"@SECONDS\" or \"now\""
            builtins.isString
            { inherit created; };
        assert checks.types ": image ${name}" "an attribute set" builtins.isAttrs {
          inherit
            annotations
            labels
            layerAnnotations
            provenance
            ;
          config = if config == null then { } else config;
        };
        let
          # Store paths contain it, so the name is checked first.
          baseName = baseNameOf (builtins.seq imageName name);
          imageName = checks.imageName name;
          configObject = checks.config name (if config == null then { } else config);

          # A root of the closure, so that the image contains the store paths that the config names.
          configFile = pkgs.writeText "${baseName}-base.json" (
            builtins.toJSON (configObject // lib.optionalAttrs (labels != { }) { inherit labels; })
          );

          # The spec of the top layer and the spec of the image share these options.
          sharedSpec = {
            name = imageName;
          }
          // lib.optionalAttrs (fromImage != null) {
            from_image = common.whenGiven {
              path = checks.imageFile ": image ${name}: fromImage" fromImage;
              name = fromImageName;
              tag = fromImageTag;
              # A file does not tell where pullImage found it.
              reference = referenceOf fromImage;
            };
            inherit_config = inheritConfig;
          }
          // lib.optionalAttrs (perms != [ ]) { inherit perms; };

          # What is known of the image counts less than what the user says.
          ownLabels =
            labels
            // lib.concatMapAttrs (
              key: value: lib.optionalAttrs (lib.toLower key == "labels" && builtins.isAttrs value) value
            ) configObject;
          known = lib.optionalAttrs defaultAnnotations (
            removeAttrs (metaAnnotations meta) (lib.attrNames ownLabels)
          );

          imageSpec = {
            config = configObject;
            architecture = checks.architecture name architecture;
            inherit created;
            variant = if variant == "" then null else variant;
            nix_db = includeNixDB;
          }
          // lib.filterAttrs (_: value: value != { }) {
            inherit labels;
            annotations = known // annotations;
            layer_annotations = layerAnnotations;
          }
          // lib.optionalAttrs (!defaultAnnotations) { default_annotations = false; }
          # Only of images that state where they come from: others don't depend on the version of Nix.
          // lib.optionalAttrs (provenance != { }) {
            provenance = {
              nix_version = builtins.nixVersion;
              system = pkgs.stdenv.buildPlatform.system;
            }
            // provenance;
          };
        in
        make (removeAttrs (refuseOthers name arguments args) (lib.attrNames shared)) rec {
          inherit
            args
            baseName
            imageName
            meta
            name
            ;

          # The platform in the image's config.
          imagePlatform = {
            os = "linux";
            inherit architecture variant;
          };

          owner = {
            uid = checks.id name "uid" uid;
            gid = checks.id name "gid" gid;
          };

          # The attributes for images from a binary cache. `own` and `ofImage` are the parts of the
          # specs of the top layer and of the image; `tag` is that of the image.
          remotePrograms =
            own: ofImage: tag: compression:
            remote.remotePrograms name compression (
              sharedSpec
              // lib.optionalAttrs (fromImage != null) {
                from_image.path = remote.remoteBase name fromImage;
              }
              // imageSpec
              // {
                inherit tag;
                extra_commands = extraCommands;
              }
              // own
              // ofImage
            );

          # A derivation with layer.tar, which contains the image's own files, and its checksum.
          # `store` and `includeStorePaths` are those of the image.
          buildTopLayer =
            drvName:
            {
              store ? { },
              includeStorePaths ? true,
            }:
            own:
            let
              spec = sharedSpec // { extra_commands = extraCommands; } // own // withDatabase;

              hasScripts =
                extraCommands != "" || own.fake_root_commands or "" != "" || own.run_as_root or "" != "";

              # Scripts find the database of the store paths that are known before they run. Paths
              # that only their results refer to are added in a layer of its own.
              knownRoots = [
                configFile
                (pkgs.writeText "${baseName}-contents.json" (builtins.toJSON own.contents))
              ];
              withDatabase = lib.optionalAttrs (includeNixDB && hasScripts) (
                {
                  nix_db = true;
                  store = {
                    directory = builtins.storeDir;
                  }
                  // store;
                }
                // lib.optionalAttrs includeStorePaths {
                  closure = {
                    graph = "";
                    keys = [ "closure" ];
                    roots = knownRoots;
                    exclude = knownRoots;
                  };
                }
              );
              graphAttrs = lib.optionalAttrs (withDatabase ? closure) {
                __structuredAttrs = true;
                exportReferencesGraph.closure = knownRoots;
              };
              graphOption = lib.optionalString (
                withDatabase ? closure
              ) "--graph \"$NIX_ATTRS_JSON_FILE\"";
            in
            runNixdock drvName
              (
                graphAttrs
                // {
                  nativeBuildInputs = lib.optionals (
                    spec.fake_root_commands or "" != "" || spec.run_as_root or "" != ""
                  ) [ pkgs.buildPackages.fakeroot ];
                }
              )
              ''
                # Nix confines the scripts, and they have the environment of this derivation.
                nixdock top-layer ${common.writeSpec "${drvName}.json" spec} -o "$out" \
                  --in-nix-build ${graphOption}
              '';

          # The image holds the closure of these store paths, but not the paths themselves.
          closureRoots = topLayer: [
            configFile
            topLayer
          ];

          closureSpec = topLayer: {
            # --graph sets the path, because Nix writes the graph only during the build.
            graph = "";
            keys = [ "closure" ];
            # Nix adds the outputs of all derivations in the closure to the graph, but the build
            # does not have them.
            roots = closureRoots topLayer;
            exclude = closureRoots topLayer;
          };

          writeSpec =
            topLayer: own:
            common.writeSpec "${baseName}-spec.json" (
              sharedSpec // imageSpec // { top_layer = topLayer; } // own
            );

          # Of an image with this spec, for the script of the derivation that makes it.
          tagOption =
            spec:
            let
              chosen = common.chosenTag name tag [ spec ];
            in
            if chosen == null then "--tag-of-output" else "--tag ${lib.escapeShellArg chosen}";

          tagOf =
            spec: drv:
            let
              chosen = common.chosenTag name tag [ spec ];
            in
            if chosen == null then common.hashPart drv else chosen;
        };
    in
    lib.setFunctionArgs imageFunction arguments;
}
