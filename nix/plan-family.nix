# planFamily plans the layers of several images together, so that registries and hosts store shared
# layers once.
{ common, streamLayeredImage }:
let
  inherit (common) lib runNixdock;
in
{
  # Takes the arguments of streamLayeredImage or buildLayeredImage for each image, by name, and adds
  # the common plan to them.
  planFamily =
    images:
    let
      own = [
        "compressor"
        "format"
      ];
      streams = lib.mapAttrs (_: args: streamLayeredImage (removeAttrs args own)) images;
      names = lib.attrNames images;
      based = lib.filterAttrs (_: args: args.fromImage or null != null) images;

      limits = lib.mapAttrs (
        # The Nix database takes one layer more.
        _: args: (args.maxLayers or 100) - (if args.includeNixDB or false then 1 else 0)
      ) images;

      plans =
        runNixdock "family-plans"
          {
            __structuredAttrs = true;
            exportReferencesGraph = lib.mapAttrs (_: stream: stream.closureRoots) streams;
          }
          ''
            nixdock plan-family -o "$out" ${
              lib.concatMapStringsSep " " (
                name: "--max-layers ${name}=${toString limits.${name}} ${name}=\"$NIX_ATTRS_JSON_FILE#${name}\""
              ) names
            } ${
              lib.concatMapStringsSep " " (root: "--exclude ${root}") (
                lib.concatMap (name: streams.${name}.closureRoots) names
              )
            }
          '';
    in
    assert lib.assertMsg (
      based == { }
    ) "nixdock.planFamily: ${toString (lib.attrNames based)}: images in a family can't have a base image; remove fromImage, or leave these images out";
    lib.mapAttrs (
      name: args:
      args
      // {
        layering = {
          strategy = "explicit";
          plan = "${plans}/${name}.plan.json";
        };
      }
    ) images;
}
