# nixpkgs' small builders, by the same names.
final: _:
let
  inherit (final) lib stdenv runtimeShell;
in
{
  runCommandWith =
    {
      stdenv ? final.stdenv,
      runLocal ? false,
      derivationArgs ? { },
      name,
    }:
    buildCommand:
    stdenv.mkDerivation (
      {
        inherit name buildCommand;
        enableParallelBuilding = true;
        passAsFile = lib.optional (!(derivationArgs.__structuredAttrs or false)) "buildCommand" ++ derivationArgs.passAsFile or [ ];
      }
      // lib.optionalAttrs runLocal {
        preferLocalBuild = true;
        allowSubstitutes = false;
      }
      // removeAttrs derivationArgs [ "passAsFile" ]
    );

  runCommand =
    name: env:
    final.runCommandWith {
      inherit name;
      derivationArgs = env;
    };
  runCommandCC = final.runCommand;
  runCommandLocal =
    name: env:
    final.runCommandWith {
      inherit name;
      runLocal = true;
      derivationArgs = env;
    };

  writeTextFile =
    {
      name ? final.lib.getName pname,
      pname ? null,
      text,
      executable ? false,
      destination ? "",
      checkPhase ? "",
      meta ? { },
      passthru ? { },
      allowSubstitutes ? false,
      preferLocalBuild ? true,
      derivationArgs ? { },
    }:
    assert lib.assertMsg (
      destination == "" || lib.hasPrefix "/" destination
    ) "destination must be an absolute path, relative to the derivation's out path";
    final.runCommand name
      (
        {
          inherit
            text
            executable
            destination
            checkPhase
            allowSubstitutes
            preferLocalBuild
            passthru
            ;
          passAsFile = [ "text" ];
          meta =
            lib.optionalAttrs (executable && lib.hasPrefix "/bin/" destination) {
              mainProgram = lib.removePrefix "/bin/" destination;
            }
            // meta;
        }
        // derivationArgs
      )
      ''
        target=$out$destination
        mkdir -p "$(dirname "$target")"
        # Without an environment variable's limit on its size.
        if [ -e "''${textPath-}" ]; then cp --no-preserve=mode "$textPath" "$target"; else printf '%s' "$text" >"$target"; fi
        if [ -n "$executable" ]; then chmod +x "$target"; fi
        eval "$checkPhase"
      '';
  writeText = name: text: final.writeTextFile { inherit name text; };
  writeTextDir =
    path: text:
    final.writeTextFile {
      inherit text;
      name = baseNameOf path;
      destination = "/${path}";
    };
  writeScript =
    name: text:
    final.writeTextFile {
      inherit name text;
      executable = true;
    };
  writeScriptBin =
    name: text:
    final.writeTextFile {
      inherit name text;
      executable = true;
      destination = "/bin/${name}";
    };
  writeShellScript =
    name: text:
    final.writeTextFile {
      inherit name;
      executable = true;
      text = ''
        #!${runtimeShell}
        ${text}
      '';
      checkPhase = ''${runtimeShell} -n "$target"'';
    };
  writeShellScriptBin =
    name: text:
    final.writeTextFile {
      inherit name;
      executable = true;
      destination = "/bin/${name}";
      text = ''
        #!${runtimeShell}
        ${text}
      '';
      checkPhase = ''${runtimeShell} -n "$target"'';
    };
  writeShellApplication =
    {
      name,
      text,
      runtimeInputs ? [ ],
      runtimeEnv ? { },
      inheritPath ? true,
      bashOptions ? [
        "errexit"
        "nounset"
        "pipefail"
      ],
      meta ? { },
      passthru ? { },
      checkPhase ? ''${runtimeShell} -n "$target"'',
      excludeShellChecks ? [ ],
      extraShellCheckFlags ? [ ],
      derivationArgs ? { },
    }:
    final.writeTextFile {
      inherit
        name
        meta
        passthru
        checkPhase
        derivationArgs
        ;
      executable = true;
      destination = "/bin/${name}";
      text = lib.concatStrings (
        [ "#!${runtimeShell}\n" ]
        ++ map (option: "set -o ${option}\n") bashOptions
        ++ lib.mapAttrsToList (key: value: "${key}=${lib.escapeShellArg value}\nexport ${key}\n") runtimeEnv
        ++ lib.optional (
          runtimeInputs != [ ]
        ) "export PATH=\"${lib.makeBinPath runtimeInputs}${lib.optionalString inheritPath ":$PATH"}\"\n"
        ++ [ "\n${text}\n" ]
      );
    };

  # First come, first served: a file already there stays.
  symlinkJoin =
    args@{
      name ? "${args.pname}-${args.version}",
      paths,
      preferLocalBuild ? true,
      allowSubstitutes ? false,
      postBuild ? "",
      ...
    }:
    final.runCommand name
      (
        removeAttrs args [
          "name"
          "postBuild"
        ]
        // {
          inherit preferLocalBuild allowSubstitutes paths;
        }
      )
      ''
        mkdir -p "$out"
        for path in $paths; do
          cp -rsn --no-preserve=mode "$path/." "$out/"
        done
        ${postBuild}
      '';

  buildEnv = lib.makeOverridable (
    {
      name ? "${args.pname}-${args.version}",
      paths,
      pathsToLink ? [ "/" ],
      extraPrefix ? "",
      ignoreCollisions ? false,
      postBuild ? "",
      nativeBuildInputs ? [ ],
      buildInputs ? [ ],
      passthru ? { },
      meta ? { },
      extraOutputsToInstall ? [ ],
      ...
    }@args:
    final.runCommand name
      {
        inherit
          extraPrefix
          meta
          nativeBuildInputs
          buildInputs
          passthru
          ;
        paths = lib.concatMap (
          path:
          [ path ] ++ map (output: path.${output}) (lib.filter (output: path ? ${output}) extraOutputsToInstall)
        ) paths;
        pathsToLink = map (path: if path == "/" then "/." else path) pathsToLink;
        preferLocalBuild = true;
        allowSubstitutes = false;
        strict = !ignoreCollisions;
      }
      ''
        mkdir -p "$out"
        for path in $paths; do
          for part in $pathsToLink; do
            if [ ! -e "$path$part" ]; then continue; fi
            target=$out$extraPrefix$part
            mkdir -p "$target"
            while IFS= read -r -d "" file; do
              if [ -e "$target/$file" ] && [ -n "$strict" ] && ! cmp -s "$target/$file" "$path$part/$file"; then
                echo "error: collision between $path$part/$file and $(readlink -f "$target/$file")" >&2
                exit 1
              fi
            done < <(cd "$path$part" && find . -name nix-support -prune -o ! -type d -printf '%P\0')
            cp -rsn --no-preserve=mode "$path$part/." "$target/"
          done
        done
        rm -rf "$out/nix-support"
        ${postBuild}
      ''
  );

  linkFarm =
    name: entries:
    let
      list =
        if lib.isAttrs entries then
          lib.mapAttrsToList (name: path: { inherit name path; }) entries
        else
          entries;
      farm = lib.listToAttrs (map (entry: lib.nameValuePair entry.name entry.path) list);
    in
    final.runCommand name
      {
        preferLocalBuild = true;
        allowSubstitutes = false;
        passthru.entries = farm;
      }
      ''
        mkdir -p "$out"
        cd "$out"
        ${lib.concatStrings (
          lib.mapAttrsToList (name: path: ''
            mkdir -p "$(dirname ${lib.escapeShellArg name})"
            ln -s ${lib.escapeShellArg "${path}"} ${lib.escapeShellArg name}
          '') farm
        )}
      '';
  linkFarmFromDrvs = name: drvs: final.linkFarm name (map (drv: { inherit (drv) name; path = drv; }) drvs);

  closureInfo =
    { rootPaths }:
    stdenv.mkDerivation {
      name = "closure-info";
      __structuredAttrs = true;
      exportReferencesGraph.closure = lib.toList rootPaths;
      preferLocalBuild = true;
      nativeBuildInputs = [ final.jq ];
      buildCommand = ''
        mkdir "$out"
        jq -r '.closure[].path' "$NIX_ATTRS_JSON_FILE" >"$out/store-paths"
        jq -r '[.closure[].narSize] | add' "$NIX_ATTRS_JSON_FILE" >"$out/total-nar-size"
        jq -r '.closure[] | .path, .narHash, .narSize, "", (.references | length), .references[]' \
          "$NIX_ATTRS_JSON_FILE" >"$out/registration"
      '';
    };
  writeClosure =
    paths:
    final.runCommand "runtime-deps"
      {
        __structuredAttrs = true;
        exportReferencesGraph.graph = paths;
        nativeBuildInputs = [ final.jq ];
      }
      ''jq -r '.graph[].path' "$NIX_ATTRS_JSON_FILE" | sort >"$out"'';

  mkShell = lib.makeOverridable (
    {
      name ? "nix-shell",
      packages ? [ ],
      inputsFrom ? [ ],
      nativeBuildInputs ? [ ],
      buildInputs ? [ ],
      propagatedBuildInputs ? [ ],
      shellHook ? "",
      ...
    }@args:
    let
      # What it is made of, but for each other.
      all =
        kind: lib.subtractLists inputsFrom (lib.concatMap (drv: drv.${kind} or [ ]) ([ args ] ++ inputsFrom));
    in
    stdenv.mkDerivation (
      removeAttrs args [
        "packages"
        "inputsFrom"
      ]
      // {
        inherit name;
        nativeBuildInputs = packages ++ all "nativeBuildInputs";
        buildInputs = all "buildInputs";
        propagatedBuildInputs = all "propagatedBuildInputs";
        shellHook = lib.concatMapStringsSep "\n" (drv: drv.shellHook or "") (inputsFrom ++ [ args ]);
        preferLocalBuild = true;
        buildCommand = args.buildCommand or "export >$out";
      }
    )
  );
  mkShellNoCC = final.mkShell;

  makeSetupHook =
    {
      name ? "hook",
      propagatedBuildInputs ? [ ],
      substitutions ? { },
      meta ? { },
      passthru ? { },
    }:
    script:
    final.runCommand name
      {
        inherit propagatedBuildInputs meta passthru;
        preferLocalBuild = true;
      }
      ''
        mkdir -p "$out/nix-support"
        cp --no-preserve=mode ${script} "$out/nix-support/setup-hook"
        ${lib.optionalString (propagatedBuildInputs != [ ]) ''
          echo ${toString propagatedBuildInputs} >"$out/nix-support/propagated-build-inputs"
        ''}
        ${lib.optionalString (substitutions != { }) ''
          substituteInPlace "$out/nix-support/setup-hook" ${
            lib.concatStringsSep " " (
              lib.mapAttrsToList (key: value: "--subst-var-by ${key} ${lib.escapeShellArg "${value}"}") substitutions
            )
          }
        ''}
      '';
  makeWrapper = final.makeSetupHook {
    name = "make-shell-wrapper-hook";
    substitutions.shell = runtimeShell;
  } ./build/make-wrapper.sh;
  makeShellWrapper = final.makeWrapper;
  makeBinaryWrapper = final.makeWrapper;

  emptyFile = final.runCommand "empty-file" {
    outputHash = "0ip26j2h11n1kgkz36rl4akv694yz65hr72q4kv4b3lxcbi65b3p";
    outputHashAlgo = "sha256";
    outputHashMode = "recursive";
    preferLocalBuild = true;
  } "touch $out";
  emptyDirectory = final.runCommand "empty-directory" {
    outputHash = "0sjjj9z1dhilhpc8pq4154czrb79z9cm044jvn75kxcjv6v5l2m5";
    outputHashAlgo = "sha256";
    outputHashMode = "recursive";
    preferLocalBuild = true;
  } "mkdir $out";
}
