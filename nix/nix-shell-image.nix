# Images with the build environment of a derivation, as `nix-shell` and Nix's sandbox provide it.
{
  common,
  binSh,
  fakeNss,
  streamLayeredImage,
  usrBinEnv,
}:
let
  inherit (common) lib pkgs;

  # The build directory in Nix's sandbox.
  buildDirectory = "/build";

  # The string that Nix sets for a value in the environment of a builder.
  toValue =
    value:
    if builtins.isList value then
      let
        count = lib.length value;
        part =
          index:
          let
            element = lib.elemAt value index;
          in
          # Nix adds no space after an empty list.
          toValue element + lib.optionalString (index + 1 < count && element != [ ]) " ";
      in
      lib.concatStrings (lib.genList part count)
    else if builtins.isPath value || builtins.isAttrs value then
      "${value}"
    else
      toString value;

  # The environment and the command line of a derivation's builder.
  inputsOf =
    drv:
    let
      attrs = drv.drvAttrs;
      outputs = lib.genAttrs (attrs.outputs or [ "out" ]) (
        # The user builds the outputs in the image, so the image must not contain them.
        common.deferred.outputPath drv
      );
      # A derivation refers to its own outputs by placeholders.
      value =
        raw:
        builtins.replaceStrings (map builtins.placeholder (lib.attrNames outputs)) (lib.attrValues outputs)
          (toValue raw);
      named = removeAttrs (
        if attrs.__ignoreNulls or false then
          lib.filterAttrs (_: raw: raw != null) attrs
        else
          attrs
      ) [ "args" ];
      asFile = lib.filter (key: key != "") (lib.splitString " " (toValue (attrs.passAsFile or [ ])));
    in
    {
      environment =
        lib.mapAttrs (_: value) (removeAttrs named asFile)
        // lib.listToAttrs (
          map (key: {
            name = "${key}Path";
            value = "${pkgs.writeText "pass-as-text-${key}" (value named.${key})}";
          }) (lib.filter (key: named ? ${key}) asFile)
        )
        // outputs;
      command = map value ([ attrs.builder ] ++ attrs.args or [ ]);
    };

  # The name of the image. That of a derivation may have characters that this can't, as gtk+3 has.
  nameFor =
    drv:
    let
      name = "${builtins.replaceStrings [ "+" "?" "=" ] [ "-" "-" "-" ] drv.name}-env";
      words = lib.filter (word: builtins.isString word && word != "") (
        builtins.split "[^0-9A-Za-z]+" name
      );
    in
    if common.checks.isImageName name then name else lib.concatStringsSep "-" words;

  streamNixShellImage =
    {
      drv,
      name ? nameFor drv,
      tag ? null,
      uid ? 1000,
      gid ? 1000,
      homeDirectory ? buildDirectory,
      shell ? "${pkgs.bashInteractive}/bin/bash",
      # `command` runs in an interactive shell, `run` in a non-interactive one. Both exit then.
      command ? null,
      run ? null,
    }:
    assert lib.assertMsg (!(drv.drvAttrs.__structuredAttrs or false))
      "nixdock: image ${name}: ${drv.name} has __structuredAttrs, whose environment is in files that only Nix writes; set __structuredAttrs = false";
    assert lib.assertMsg (
      command == null || run == null
    ) "nixdock: image ${name}: give command or run, not both";
    let
      inputs = inputsOf drv;

      buildDerivation = pkgs.writeShellScriptBin "buildDerivation" ''
        unset IN_NIX_SHELL
        exec ${lib.escapeShellArgs inputs.command}
      '';

      path = "${dirOf shell}:${buildDerivation}/bin";

      rcfile = pkgs.writeText "nix-shell-rc" ''
        # The setup script of stdenv resets PATH.
        _path=$PATH
        export IN_NIX_SHELL=pure
        dontAddDisableDepTrack=1
        if [ -e "''${stdenv-}/setup" ]; then source "$stdenv/setup"; fi
        PATH=$PATH:$_path
        unset _path
        SHELL=${lib.escapeShellArg shell}
        BASH=$SHELL
        set +e
        if [ -n "''${PS1-}" ] && [ -z "''${NIX_SHELL_PRESERVE_PROMPT-}" ]; then
          PS1='\n\[\033[1;32m\][nix-shell:\w]\$\[\033[0m\] '
        fi
        if [ "$(type -t runHook)" = function ]; then runHook shellHook; fi
        unset NIX_ENFORCE_PURITY TZ
        shopt -u nullglob
        shopt -s execfail
        ${lib.optionalString (command != null || run != null) ''
          ${if run == null then command else run}
          exit
        ''}
      '';

      # Later variables override earlier ones, in the same order as in Nix's sandbox.
      environment = {
        SSL_CERT_FILE = common.certificateBundle;
        NIX_SSL_CERT_FILE = common.certificateBundle;
        PATH = path;
        HOME = homeDirectory;
        NIX_STORE = builtins.storeDir;
        NIX_BUILD_CORES = "1";
      }
      // inputs.environment
      // lib.genAttrs [
        "NIX_BUILD_TOP"
        "PWD"
        "TEMP"
        "TEMPDIR"
        "TMP"
        "TMPDIR"
      ] (_: buildDirectory)
      // {
        NIX_LOG_FD = "2";
        TERM = "xterm-256color";
      };

      # The user owns these directories, to build into the store and to use Nix without a daemon.
      owned = [
        "/etc/nix"
        "/nix"
        builtins.storeDir
        "/nix/var"
        "/nix/var/nix"
        buildDirectory
      ];
    in
    streamLayeredImage {
      inherit name tag;
      contents = [
        binSh
        usrBinEnv
        (fakeNss.override {
          extraPasswdLines = [
            "nixbld:x:${toString uid}:${toString gid}:Build user:${homeDirectory}:/noshell"
          ];
          extraGroupLines = [ "nixbld:!:${toString gid}:" ];
        })
      ];
      extraCommands = ''
        mkdir -p ${lib.concatMapStringsSep " " (directory: ".${directory}") owned}
        mkdir -m 1777 tmp
      '';
      perms = map (directory: {
        path = directory;
        uid = common.checks.id name "uid" uid;
        gid = common.checks.id name "gid" gid;
      }) owned;
      config = {
        User = "${toString uid}:${toString gid}";
        WorkingDir = buildDirectory;
        Cmd = if run == null then [ shell "--rcfile" rcfile ] else [ shell rcfile ];
        Env = lib.mapAttrsToList (key: value: "${key}=${value}") environment;
      };
    };

  buildNixShellImage =
    {
      drv,
      compressor ? "gz",
      ...
    }@args:
    let
      stream = streamNixShellImage (removeAttrs args [ "compressor" ]);
    in
    common.buildStream {
      inherit compressor stream;
      inherit (stream) imageName;
      fileName = "${drv.name}-env";
    } { };
in
{
  inherit buildNixShellImage streamNixShellImage;
}
