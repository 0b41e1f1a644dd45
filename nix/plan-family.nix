# planFamily plans the layers of several images together, so that registries and hosts store shared
# layers once.
{ common, streamLayeredImage }:
let
  inherit (common) checks lib runNixdock;

  # The options of `layering` that images of a family may have.
  familyOptions = [
    "label"
    "memory"
    "previous"
    "volatile"
  ];

  # The names of plan files.
  isName = name: builtins.match "[A-Za-z0-9_][A-Za-z0-9._-]*" name != null;
in
{
  # Takes the arguments of streamLayeredImage or buildLayeredImage for each image, by name, and adds
  # the common plan to them. It continues the plans of `layering.previous`, in any of the images.
  planFamily =
    images:
    let
      own = [
        "compressor"
        "format"
      ];
      streams = lib.mapAttrs (_: args: streamLayeredImage (removeAttrs args own)) images;
      names = lib.attrNames images;

      # The attributes with graphs have prefixes, because others have names such as `name`.
      key = name: "graph-${name}";

      limitOf =
        args:
        # The Nix database takes one layer more. Docker takes 125 layers.
        lib.min (args.maxLayers or 100) 125 - (if args.includeNixDB or false then 1 else 0);

      baseOf =
        name: args:
        let
          file = checks.imageFile ".planFamily: fromImage of ${name}" args.fromImage;
          repository = if args.fromImageName or null == null then "" else args.fromImageName;
          tag = lib.optionalString (args.fromImageTag or null != null) ":${args.fromImageTag}";
          variant = lib.optionalString (args.variant or "" != "") "/${args.variant}";
        in
        lib.optionals (args.fromImage or null != null) [
          "--from-image"
          "${name}=${file}${lib.optionalString (repository + tag != "") "#${repository}${tag}"}"
          "--architecture"
          "${name}=${args.architecture or common.defaultArchitecture}${variant}"
        ];

      layeringOf = args: args.layering or { };

      otherOptions =
        name:
        lib.optional (images.${name}.layeringPipeline or null != null) "layeringPipeline"
        ++ map (option: "layering.${option}") (
          lib.attrNames (removeAttrs (layeringOf images.${name}) familyOptions)
        );

      memoryOf =
        args:
        lib.concatMap (plan: [
          "--previous"
          plan
        ]) (common.previousPlans args.name ((layeringOf args).previous or null))
        ++ lib.concatMap (path: [
          "--volatile"
          "${path}"
        ]) (lib.toList ((layeringOf args).volatile or [ ]));

      optionsOf =
        name:
        [
          "--max-layers"
          "${name}=${toString (limitOf images.${name})}"
        ]
        ++ baseOf name images.${name}
        ++ memoryOf images.${name}
        ++ lib.concatMap (root: [
          "--root"
          "${root}"
          "--exclude"
          "${root}"
        ]) streams.${name}.closureRoots;

      plans =
        runNixdock "family-plans"
          {
            __structuredAttrs = true;
            exportReferencesGraph = lib.listToAttrs (
              map (name: lib.nameValuePair (key name) streams.${name}.closureRoots) names
            );
          }
          ''
            nixdock plan-family -o "$out" ${lib.escapeShellArgs (lib.concatMap optionsOf names)} ${
              lib.concatMapStringsSep " " (
                name: "${lib.escapeShellArg "${name}="}\"$NIX_ATTRS_JSON_FILE\"${lib.escapeShellArg "#${key name}"}"
              ) names
            }
          '';
    in
    assert lib.assertMsg (names != [ ]) "nixdock.planFamily: there is no image; give at least one";
    assert lib.assertMsg (lib.all isName names)
      "nixdock.planFamily: ${builtins.toJSON (lib.filter (name: !isName name) names)}: names of plans consist of letters, digits, '_', '.' and '-'";
    assert checks.types ".planFamily" "an attribute set" builtins.isAttrs (
      lib.mapAttrs' (name: args: lib.nameValuePair "layering of ${name}" (layeringOf args)) images
    );
    assert lib.all (
      name:
      lib.assertMsg (otherOptions name == [ ])
        "nixdock.planFamily: ${lib.head (otherOptions name)} of ${name}: an image of a family has only layering.previous, layering.volatile and layering.memory"
    ) names;
    lib.mapAttrs (
      name: args:
      args
      // {
        layering =
          removeAttrs (layeringOf args) [
            "previous"
            "volatile"
          ]
          // {
            strategy = "explicit";
            plan = "${plans}/${name}.plan.json";
          };
      }
    ) images;
}
