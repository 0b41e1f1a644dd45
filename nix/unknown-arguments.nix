# What to give in place of an argument that a function lacks: one of another function of dockerTools
# or of nix2container, or a key of the config.
{ lib }:
let
  instead = {
    compressor = "use buildLayeredImage, which writes a file";
    copyToRoot = "give contents, or use buildImage, which copies files";
    enableFakechroot = "give runAsRoot, or use buildLayeredImage";
    fakeRootCommands = "give runAsRoot, or use buildLayeredImage";
    format = "use buildLayeredImage, which writes a file";
    fromImageEnv = "give inheritConfig";
    initializeNixDatabase = "give includeNixDB";
    keepContentsDirlinks = "use buildImage, which copies files";
    layering = "use buildLayeredImage, because buildImage makes one layer";
    layeringPipeline = "use buildLayeredImage, because buildImage makes one layer";
    layers = "give layering.groups, or let the strategy plan the layers";
    maxLayers = "use buildLayeredImage, because buildImage makes one layer";
    runAsRoot = "give fakeRootCommands, with enableFakechroot = true";
  };

  configKeys = [
    "Cmd"
    "Entrypoint"
    "Env"
    "ExposedPorts"
    "Healthcheck"
    "StopSignal"
    "User"
    "Volumes"
    "WorkingDir"
  ];

  hintFor =
    argument:
    let
      key = lib.findFirst (key: lib.toLower key == lib.toLower argument) null configKeys;
    in
    if instead ? ${argument} then
      "; ${instead.${argument}}"
    else
      lib.optionalString (key != null) "; give config.${key}";
in
{
  # Returns the arguments of an image if a function, whose arguments are `known`, has them all.
  refuseOthers =
    name: known: args:
    let
      unknown = lib.attrNames (removeAttrs args (lib.attrNames known));
    in
    if unknown == [ ] then
      args
    else
      throw "nixdock: image ${name}: there is no argument ${lib.head unknown}${hintFor (lib.head unknown)}";
}
