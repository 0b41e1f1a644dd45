# buildImage adds one layer to a base image, with the image's own files and their closure.
{ common }:
let
  inherit (common) lib runNixdock;
  inherit (import ./image-arguments.nix { inherit common; }) withImageArguments;

  buildImage = lib.makeOverridable (
    withImageArguments (
      {
        copyToRoot ? null,
        # The former name of copyToRoot.
        contents ? null,
        keepContentsDirlinks ? false,
        runAsRoot ? null,
        # Accepted for compatibility: nixdock uses no virtual machine.
        diskSize ? null,
        buildVMMemorySize ? null,
        compressor ? "gz",
        format ? "docker-archive",
      }:
      image:
      let
        inherit (image) baseName name;
        chosen = common.compressorFor name compressor;
        compression = common.compressionOption name format compressor;

        trees =
          if contents != null then
            lib.warn "nixdock: image ${name}: contents is deprecated; use copyToRoot" (
              common.treesOf name "contents" contents
            )
          else
            common.treesOf name "copyToRoot" copyToRoot;

        ownFiles = {
          contents = trees;
          copy_contents = true;
          keep_directory_links = keepContentsDirlinks;
          inherit (image) owner;
        }
        // lib.optionalAttrs (runAsRoot != null) {
          run_as_root = common.checks.onLinux name "runAsRoot" "use perms or extraCommands" runAsRoot;
        };

        layer = image.buildTopLayer "docker-layer-${baseName}" { } ownFiles;

        ofImage = {
          single_layer = true;
          store.directory = builtins.storeDir;
        };

        spec = image.writeSpec layer (ofImage // { closure = image.closureSpec layer; });

        # What the image is pushed from, without its file.
        conf =
          runNixdock "${baseName}-conf.json"
            {
              __structuredAttrs = true;
              exportReferencesGraph.closure = image.closureRoots layer;
            }
            ''
              nixdock resolve ${spec} -o "$out" --graph "$NIX_ATTRS_JSON_FILE" \
                --tag ${lib.escapeShellArg (image.tagOf spec file)}
            '';

        file =
          runNixdock "docker-image-${baseName}${common.extensionFor name format chosen}"
            {
              inherit (image) imageName meta;
              passthru =
                common.transferPrograms baseName conf compression
                // image.remotePrograms ownFiles ofImage (image.tagOf spec file) compression
                // {
                  imageTag = image.tagOf spec file;
                  inherit (image) imagePlatform;
                  buildArgs = image.args;
                  inherit conf layer;
                };
              __structuredAttrs = true;
              exportReferencesGraph.closure = image.closureRoots layer;
            }
            ''
              ${common.noteIgnored { inherit diskSize buildVMMemorySize; }}
              nixdock build ${spec} -o "$out" --graph "$NIX_ATTRS_JSON_FILE" ${image.tagOption spec} \
                --format ${format} --compression ${chosen.compression} ${
                  lib.optionalString (format == "docker-archive") "--legacy"
                }
            '';
      in
      assert lib.assertMsg (
        contents != null -> copyToRoot == null
      ) "nixdock: image ${name}: give copyToRoot or contents, its old name, but not both";
      assert common.checks.types ": image ${name}" "true or false" builtins.isBool {
        inherit keepContentsDirlinks;
      };
      assert
        runAsRoot == null
        || common.checks.types ": image ${name}" "the text of a script" lib.isStringLike {
          inherit runAsRoot;
        };
      file
    )
  );
in
{
  inherit buildImage;

  buildImageWithNixDb = args: buildImage (args // { includeNixDB = true; });
}
