# Images from a binary cache: their specs need nothing built, and name store paths by text alone.
{ common }:
let
  inherit (common) lib;

  storePath = "(${lib.escapeRegex builtins.storeDir}/[0-9a-z]{32}-[0-9a-zA-Z+._?=-]+)";

  # The store paths that a text names, each once.
  storePathsIn =
    text: lib.unique (map lib.head (lib.filter builtins.isList (builtins.split storePath text)));

  # The derivations whose outputs a text names.
  derivationsIn = text: lib.filter (lib.hasSuffix ".drv") (lib.attrNames (builtins.getContext text));

  # The same text, on which nothing needs to be built.
  plain = builtins.unsafeDiscardStringContext;

  # The context of the files that the layers are planned with: nixdock reads them, so they must be
  # there. Those beside an expression are in the store once it is evaluated.
  planningContext =
    name: layering:
    let
      files = lib.filterAttrs (
        key: value:
        lib.elem key [
          "plan"
          "previous"
        ]
        # The operations of a pipeline only name store paths.
        || key == "pipeline" && builtins.isString value
      ) layering;
      contexts = lib.mapAttrs (_: file: builtins.getContext (toString file)) files;
      built = lib.filter (key: lib.any (lib.hasSuffix ".drv") (lib.attrNames contexts.${key})) (
        lib.attrNames contexts
      );
    in
    if built == [ ] then
      lib.concatMapAttrs (_: context: context) contexts
    else
      throw "nixdock: image ${name}: remote needs nothing built, but layering.${lib.head built} is built by Nix; give a file beside the expression";
in
{
  # The base image of such a spec is fetched by nixdock, not by Nix.
  remoteBase =
    name: fromImage:
    if fromImage ? source && lib.hasPrefix "docker://" fromImage.source then
      fromImage.source
    else
      throw "nixdock: image ${name}: remote needs a fromImage from pullImage, because other base images would have to be built";

  # The attributes `remote`, `pushRemote` and `planRemote` of an image with this spec. `compression` is
  # an option of `nixdock push`, or nothing.
  remotePrograms =
    name: compression: spec:
    let
      baseName = baseNameOf name;
      text = builtins.toJSON {
        inherit (spec) config contents;
        labels = spec.labels or { };
      };
      # What only scripts name is in the image if their results refer to it, which is not known yet.
      scripts = lib.concatStrings (
        lib.attrVals (lib.filter (name: spec ? ${name}) [
          "extra_commands"
          "fake_root_commands"
          "run_as_root"
        ]) spec
      );
      roots = storePathsIn (plain text);
      closure = lib.optionalAttrs (roots != [ ] && !(spec ? store_layers)) {
        closure = {
          inherit roots;
          derivations = derivationsIn (text + scripts);
        };
      };
      planning = planningContext name (spec.layering or { });
      unknown = common.deferred.placeholdersIn (builtins.toJSON spec);
      document =
        assert lib.assertMsg (unknown == [ ])
          "nixdock: image ${name}: remote names store paths before they are built, but those of content-addressed derivations are known after it; use the image's push, which builds them";
        builtins.seq planning (
          plain (
            builtins.toJSON (
              {
                version = 1;
                # What stdenv sets, so that the image is the one that Nix builds.
                source_date_epoch = 315532800;
              }
              // spec
              // closure
            )
          )
        );
      file = builtins.toFile "${baseName}-remote.json" (builtins.appendContext document planning);
      program = common.commandProgram baseName;
    in
    {
      remote = builtins.fromJSON document;
      pushRemote = program "push-remote" "push ${file}${compression}";
      planRemote = program "plan-remote" "plan ${file}";
    };
}
