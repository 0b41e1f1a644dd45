# Values and derivation builders that several functions of the library use.
{ pkgs, package }:
let
  inherit (pkgs) lib;
  go = pkgs.stdenv.hostPlatform.go;
in
rec {
  inherit lib package pkgs;

  checks = import ./checks.nix { inherit pkgs; };
  deferred = import ./deferred.nix { inherit lib; };

  defaultArchitecture = go.GOARCH;
  defaultVariant = lib.optionalString (go.GOARM or "" != "") "v${go.GOARM}";
  constantTime = "1970-01-01T00:00:01Z";

  # The attribute of `choices` that an argument of an image names.
  choose =
    name: argument: choices: choice:
    if builtins.isString choice && choices ? ${choice} then
      choices.${choice}
    else
      throw (
        "nixdock: image ${name}: ${argument} must be one of: ["
        + lib.concatStringsSep " " (lib.attrNames choices)
        + "], not ${if builtins.isString choice then choice else builtins.toJSON choice}"
      );

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
    # Formats of layers, which can then be fetched in part; no archive is compressed with them.
    "zstd:chunked".compression = "zstd:chunked";
    estargz.compression = "estargz";
  };
  compressorFor =
    name: compressor:
    let
      # The names of the programs, and of the file extensions, that have another name here.
      aliases = {
        gzip = "gz";
        zst = "zstd";
      };
    in
    choose name "compressor" compressors (
      if builtins.isString compressor then aliases.${compressor} or compressor else compressor
    );

  certificateBundle = "${lib.getOutput "out" pkgs.cacert}/etc/ssl/certs/ca-bundle.crt";

  # The file name extension of an image.
  extensionFor =
    name: format: compressor:
    choose name "format" {
      # Only a docker-archive is compressed as a whole; the other formats compress each layer.
      docker-archive = ".tar${
        compressor.extension or (throw (
          "nixdock: image ${name}: the compressor ${compressor.compression} is for layers, not for whole"
          + " files: choose another format than docker-archive"
        ))
      }";
      archive = ".tar";
      oci-archive = ".tar";
      oci-layout = "";
    } format;

  # The trees in an argument such as contents: lists may be nested, and null stands for no tree.
  treesOf =
    name: argument: contents:
    checks.trees name argument (lib.filter (tree: tree != null) (lib.flatten contents));

  # The hash part of a derivation's store path, which changes with the inputs.
  hashPart =
    drv: lib.head (lib.splitString "-" (baseNameOf (builtins.unsafeDiscardStringContext drv.outPath)));

  # The tag that evaluation decides for an image made from these files, or null: then it is the hash
  # part of the derivation that makes it.
  chosenTag = name: tag: files: if tag == null then deferred.tagOf files else checks.tag name tag;

  # For scripts that find their attributes as words in variables of the environment, also where
  # `config.structuredAttrsByDefault` is set.
  unstructured.__structuredAttrs = false;

  # A derivation of a script that is run where its inputs are; a binary cache may have the result,
  # unlike that of runCommandLocal, for machines that can't build it.
  runNearby =
    name: attrs: script:
    pkgs.runCommand name ({ preferLocalBuild = true; } // attrs) script;

  # A derivation whose script runs nixdock.
  runNixdock =
    name: attrs: script:
    runNearby name (
      attrs // { nativeBuildInputs = [ package ] ++ attrs.nativeBuildInputs or [ ]; }
    ) script;

  # Writes the image of a stream to the store.
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
      (
        {
          inherit (stream) imageName;
          # The result is a file and no program.
          passthru = removeAttrs stream.passthru [ "isExe" ] // {
            inherit stream;
          };
        }
        // attrs
      )
      ''
        nixdock build ${stream.conf} -o $out --format ${format} --compression ${chosen.compression}
      '';

  # A program for the build machine that runs a command of nixdock with its own arguments.
  commandProgram =
    baseName: name: command:
    programOf baseName name "${command} \"$@\"";

  # One with arguments of this text of the shell.
  programOf =
    baseName: name: arguments:
    pkgs.buildPackages.writeShellScriptBin "${name}-${baseName}" ''
      exec ${lib.getExe package} ${arguments}
    '';

  # The option of programs that make the layers which the image's file has. Those in a docker-archive
  # are not compressed, so that a registry gets them as the programs compress them by default.
  compressionOption =
    imageName: format: compressor:
    lib.optionalString (
      format != "docker-archive"
    ) " --compression ${(compressorFor imageName compressor).compression}";

  # The programs that bring an image to where it runs, by the names that nix2container has, too, and
  # those that judge it before. `source` is a resolved spec, from which the image is made on its way,
  # or an image in a file; `compression` is an option, or nothing.
  transferPrograms =
    baseName: source: compression:
    let
      program = commandProgram baseName;
    in
    loadPrograms baseName source ""
    // rec {
      push = program "push" "push ${source}${compression}";
      copyTo = program "copy" "copy ${source}${compression}";
      copyToRegistry = push;
      serve = program "serve" "serve ${source}${compression}";
      check = program "check" "check ${source}";
      # Its argument is the old image, which comes before the new one.
      diff = programOf baseName "diff" "diff \"$@\" ${source}";
    };

  # Those of them that load an image; `options` are options of `nixdock load`.
  loadPrograms =
    baseName: source: options:
    let
      program = commandProgram baseName;
    in
    {
      load = program "load" "load ${source}${options}";
      run = program "run" "run ${source}${options}";
      copyToDockerDaemon = program "copy-to-docker-daemon" "load ${source} --into docker${options}";
      copyToPodman = program "copy-to-podman" "load ${source} --into podman${options}";
    };

  # A shell command that reports the arguments for dockerTools' virtual machine, if any are set.
  noteIgnored =
    sizes:
    let
      given = lib.attrNames (whenGiven sizes);
    in
    lib.optionalString (given != [ ]) ''
      echo 'nixdock: ignoring ${lib.concatStringsSep " and " given}: nixdock uses no virtual machine' >&2
    '';

  writeSpec = name: spec: pkgs.writeText name (builtins.toJSON ({ version = 1; } // spec));

  # Removes options without a value: a spec omits them.
  whenGiven = lib.filterAttrs (_: value: value != null && value != "");

  # Before the first build, the file of the previous plan does not exist yet.
  missingPlan =
    name: previous:
    "nixdock: image ${name}: layering.previous: there is no ${toString previous}, so this image is planned without a previous one; "
    + (
      if lib.hasPrefix "${builtins.storeDir}/" (toString previous) then
        "a flake has only files that git knows: write the file with the image's updatePlan, and `git add` it"
      else
        "write the file with the image's updatePlan"
    );

  # The files with previous plans that exist: `previous` is one, several or none.
  previousPlans =
    name: previous:
    lib.concatMap (
      plan:
      if (builtins.isPath plan || deferred.isSource plan) && !builtins.pathExists plan then
        lib.warn (missingPlan name plan) [ ]
      else
        [ "${plan}" ]
    ) (if previous == null then [ ] else lib.toList previous);

  # The layering section of a spec. Files and store paths may be given as paths or as derivations.
  layeringSpec =
    name: layering: pipeline:
    let
      isFile = value: !(builtins.isList value);
      file = value: "${value}";
      files = value: map file (lib.toList value);
      group =
        value:
        # A derivation is a path, also if it has attributes of these names.
        if builtins.isList value || lib.isStringLike value then
          { paths = files value; }
        else
          let
            unknown = lib.attrNames (
              removeAttrs value [
                "paths"
                "closureOf"
                "closure_of"
              ]
            );
          in
          if unknown == [ ] then
            {
              paths = files (value.paths or [ ]);
              closure_of = files (value.closureOf or value.closure_of or [ ]);
            }
          else
            throw "nixdock: image ${name}: layering.groups: a group has no ${lib.head unknown}, but paths and closureOf";
      # Options for other strategies, or another strategy, are errors of nixdock.
      given =
        if pipeline == null then
          layering
        else if layering.pipeline or null == null then
          { strategy = "pipeline"; } // layering // { inherit pipeline; }
        else
          throw "nixdock: image ${name}: give layeringPipeline or layering.pipeline, but not both";
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
        // lib.optionalAttrs (given ? volatile) { volatile = files given.volatile; }
        // lib.optionalAttrs (given ? groups) { groups = map group (lib.toList given.groups); }
        // whenGiven {
          previous =
            let
              found = previousPlans name (given.previous or null);
            in
            if found == [ ] then
              null
            else if lib.length found == 1 then
              lib.head found
            else
              found;
          plan = if given.plan or null == null then null else file given.plan;
        }
        // lib.optionalAttrs (given ? pipeline) {
          pipeline = if isFile given.pipeline then file given.pipeline else given.pipeline;
        };
    };
}
