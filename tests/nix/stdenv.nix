# mkDerivation on the set's own bash and its own tools.
{
  lib,
  system,
  debs,
  config ? { },
}:
let
  bash = debs.bash;
  initialPath = [
    debs.coreutils
    debs.findutils
    debs.diffutils
    debs.sed
    debs.grep
    debs.gawk
    debs.tar
    debs.gzip
    debs.xz-utils
    debs.patch
    bash
  ];
  shell = "${bash}/bin/bash";

  # No tool of the set is needed to make this: the set's builders source it.
  setupDrv = derivation {
    name = "stdenv-test";
    inherit system;
    builder = shell;
    args = [
      "-euc"
      ''
        mkdir "$out"
        {
          printf 'export SHELL=%q NIX_STORE=%q\n' "$builder" "$NIX_STORE"
          printf 'initialPath=%q\n' "$initialPath"
          while IFS= read -r line || [ -n "$line" ]; do printf '%s\n' "$line"; done <"$setup"
        } >"$out/setup"
      ''
    ];
    PATH = "${debs.coreutils}/bin";
    setup = ./build/setup.sh;
    inherit initialPath;
  };

  platform = rec {
    inherit system;
    config = "x86_64-unknown-linux-gnu";
    isLinux = lib.hasSuffix "-linux" system;
    isDarwin = lib.hasSuffix "-darwin" system;
    isUnix = true;
    isx86_64 = lib.hasPrefix "x86_64-" system;
    isAarch64 = lib.hasPrefix "aarch64-" system;
    isx86 = isx86_64;
    isAarch = isAarch64;
    is32bit = false;
    is64bit = true;
    isMusl = false;
    isGnu = true;
    isStatic = false;
    linuxArch = if isAarch64 then "arm64" else "x86_64";
    go = {
      GOARCH = if isAarch64 then "arm64" else "amd64";
      GOARM = "";
      GOOS = "linux";
    };
    parsed = {
      cpu.name = lib.head (lib.splitString "-" system);
      kernel.name = "linux";
    };
    emulatorAvailable = _: true;
    canExecute = other: other.system == system;
    extensions = {
      sharedLibrary = ".so";
      executable = "";
    };
  };

  # Known to Nix or to this function, and no part of what the builder sees.
  meant = [
    "meta"
    "passthru"
    "pos"
    "env"
    "checkInputs"
    "nativeCheckInputs"
    "installCheckInputs"
    "nativeInstallCheckInputs"
    "depsBuildBuild"
    "strictDeps"
    "__darwinAllowLocalNetworking"
  ];

  make =
    rerun: attrs:
    let
      structured = attrs.__structuredAttrs or false;
      env = attrs.env or { };
      name =
        if attrs ? name then
          attrs.name
        else if attrs ? pname then
          "${attrs.pname}-${attrs.version or (throw "mkDerivation: pname ${attrs.pname} without version")}"
        else
          throw "mkDerivation: give name, or pname and version";
      doCheck = attrs.doCheck or false;
      doInstallCheck = attrs.doInstallCheck or false;
      bad = lib.filter (
        key:
        !(
          lib.isString env.${key}
          || lib.isDerivation env.${key}
          || lib.isBool env.${key}
          || lib.isInt env.${key}
        )
      ) (lib.attrNames env);
      clash = lib.filter (key: attrs ? ${key}) (lib.attrNames env);
      args =
        (if structured then { inherit env; } else env)
        // removeAttrs attrs meant
        // {
          inherit name;
          inherit stdenv;
          system = attrs.system or system;
          builder = attrs.realBuilder or shell;
          args =
            attrs.args or [
              "-e"
              (attrs.builder or ./build/builder.sh)
            ];
          nativeBuildInputs =
            (attrs.nativeBuildInputs or [ ])
            ++ lib.optionals doCheck (attrs.nativeCheckInputs or [ ] ++ attrs.checkInputs or [ ])
            ++ lib.optionals doInstallCheck (
              attrs.nativeInstallCheckInputs or [ ] ++ attrs.installCheckInputs or [ ]
            );
          buildInputs = attrs.buildInputs or [ ];
          propagatedBuildInputs = attrs.propagatedBuildInputs or [ ];
          outputs = attrs.outputs or [ "out" ];
          # The set's own store paths alone say what a build may see.
          ${if attrs ? outputHashAlgo || attrs ? outputHash then "outputHashMode" else null} =
            attrs.outputHashMode or "flat";
        }
        // lib.optionalAttrs structured { __structuredAttrs = true; };
      meta = {
        inherit name;
        available = true;
        broken = false;
        unsupported = false;
        outputsToInstall = [ (lib.head (attrs.outputs or [ "out" ])) ];
        # Where a wrapper around mkDerivation has already said so, it knows better.
      } // attrs.meta or { };
    in
    assert lib.assertMsg (
      bad == [ ]
    ) "The ‘env’ attribute set can only contain derivation, string, boolean or integer attributes: ${toString bad}";
    assert lib.assertMsg (
      clash == [ ]
    ) "The ‘env’ attribute set cannot contain any attributes passed to derivation: ${toString clash}";
    lib.extendDerivation true (
      {
        inherit meta;
        passthru = attrs.passthru or { };
        overrideAttrs = rerun;
        inputDerivation = derivation (removeAttrs args [ "outputHash" "outputHashAlgo" "outputHashMode" ] // {
          name = "${name}-inputs";
          outputs = [ "out" ];
          args = [
            "-c"
            "export > $out"
          ];
        });
      }
      // lib.optionalAttrs (attrs ? pname) { inherit (attrs) pname; }
      // lib.optionalAttrs (attrs ? version) { inherit (attrs) version; }
      // attrs.passthru or { }
    ) (derivation args);

  fromFunction =
    f:
    let
      final = f (final // { finalPackage = package; });
      # nixpkgs accepts `old: …`, `final: old: …` and a plain set.
      rerun =
        change:
        fromFunction (
          self:
          let
            old = f self;
            toOverlay =
              if !lib.isFunction change then
                _: _: change
              else
                new: prev:
                let
                  once = change prev;
                in
                if lib.isFunction once then change new prev else once;
          in
          old // toOverlay self old
        );
      package = make rerun final;
    in
    package;

  stdenv = lib.extendDerivation true {
    inherit
      initialPath
      shell
      system
      ;
    hostPlatform = platform;
    buildPlatform = platform;
    targetPlatform = platform;
    inherit (platform)
      isLinux
      isDarwin
      isx86_64
      isAarch64
      is64bit
      is32bit
      ;
    # The host's, for what asks for it: see python-packages.nix.
    hasCC = true;
    mkDerivation = attrs: fromFunction (lib.toFunction attrs);
    meta = { };
  } setupDrv;
in
stdenv
