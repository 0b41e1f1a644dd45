# What the library's functions share.
{ pkgs, package }:
let
  inherit (pkgs) lib;
  go = pkgs.stdenv.hostPlatform.go;
in
rec {
  inherit lib package pkgs;

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

  certificateBundle = "${lib.getOutput "out" pkgs.cacert}/etc/ssl/certs/ca-bundle.crt";

  # The file name's extension of an image in a format.
  extensionFor =
    name: format: compressor:
    {
      # Only a docker-archive is compressed as a whole; elsewhere the layers are.
      docker-archive = ".tar${compressor.extension}";
      archive = ".tar";
      oci-archive = ".tar";
      oci-layout = "";
    }
    .${format} or (throw "nixdock: image ${name}: unknown format ${format}");

  # The part of a store path's name that changes with its inputs.
  hashPart =
    drv: lib.head (lib.splitString "-" (baseNameOf (builtins.unsafeDiscardStringContext drv.outPath)));

  # A command of nixdock in a derivation; `nixdock` reads its specs from files in the store.
  runNixdock =
    name: attrs: script:
    # Local, because copying an image from a cache costs more than making it again.
    pkgs.runCommandLocal name (
      attrs // { nativeBuildInputs = [ package ] ++ attrs.nativeBuildInputs or [ ]; }
    ) script;

  # The image of a stream, as a file in the store.
  buildStream =
    {
      stream,
      imageName,
      fileName,
      compressor,
      format ? "docker-archive",
    }:
    attrs:
    let
      chosen = compressorFor imageName compressor;
    in
    runNixdock "${fileName}${extensionFor imageName format chosen}"
      ({ inherit (stream) imageName; } // attrs)
      ''
        nixdock build ${stream.conf} -o $out --format ${format} --compression ${chosen.compression}
      '';

  writeSpec = name: spec: pkgs.writeText name (builtins.toJSON ({ version = 1; } // spec));

  # Options that a spec leaves out rather than says they are nothing.
  whenGiven = lib.filterAttrs (_: value: value != null && value != "");

  # dockerTools takes ids as numbers and as their digits.
  toId = id: if builtins.isString id then builtins.fromJSON id else id;

  # The spec's part about the layering; files and store paths may be paths and derivations.
  layeringSpec =
    layering: pipeline:
    let
      isFile = value: !(builtins.isList value);
      file = value: "${value}";
      group =
        value:
        if builtins.isList value then
          { paths = map file value; }
        else
          whenGiven {
            paths = map file (value.paths or [ ]);
            closure_of = map file (value.closureOf or value.closure_of or [ ]);
          };
      given =
        if pipeline != null then
          {
            strategy = "pipeline";
            inherit pipeline;
          }
        else
          layering;
    in
    lib.optionalAttrs (given != { }) {
      layering =
        removeAttrs given [
          "volatile"
          "previous"
          "plan"
          "groups"
          "pipeline"
        ]
        // lib.optionalAttrs (given ? volatile) { volatile = map file (lib.toList given.volatile); }
        // lib.optionalAttrs (given ? groups) { groups = map group given.groups; }
        // whenGiven {
          # A file that the first build is yet to make.
          previous =
            let
              previous = given.previous or null;
            in
            if previous == null || (builtins.isPath previous && !builtins.pathExists previous) then
              null
            else
              file previous;
          plan = if given.plan or null == null then null else file given.plan;
        }
        // lib.optionalAttrs (given ? pipeline) {
          pipeline = if isFile given.pipeline then file given.pipeline else given.pipeline;
        };
    };
}
