# nixpkgs' python3Packages: wheels, Debian's modules, and builds from source.
{
  pkgs,
  raw,
  package,
  cleanVersion,
}:
let
  inherit (pkgs) lib;
  inherit (raw) debs wheels versions;
  python = pkgs.python3;

  module =
    pname: name: drv:
    package {
      inherit pname drv;
      version = cleanVersion versions.${name};
      passthru = {
        pythonModule = python;
      };
    };

  fromWheels = lib.mapAttrs (name: module name name) wheels;
  fromDebs =
    lib.mapAttrs'
      (name: drv: lib.nameValuePair (lib.removePrefix "python3-" name) (module (lib.removePrefix "python3-" name) name drv))
      (
        lib.filterAttrs (
          name: _: lib.hasPrefix "python3-" name && !lib.hasSuffix "-lib" name && name != "python3-minimal"
        ) debs
      );
  renamed = {
    scikit-learn = self.sklearn;
    scikit-image = self.skimage;
    pillow = self.pil;
  };

  build =
    isApplication:
    lib.makeOverridable (
      argument:
      pkgs.stdenv.mkDerivation (
        finalAttrs:
        let
          args = lib.toFunction argument finalAttrs;
          requires =
            (args.dependencies or [ ])
            ++ (args.propagatedBuildInputs or [ ]);
          environment = pkgs.python3.withPackages (
            _:
            (args.build-system or [ ])
            ++ lib.filter (input: input ? pythonModule) (args.nativeBuildInputs or [ ])
            ++ requires
            ++ lib.optionals (args.doCheck or true) (args.nativeCheckInputs or [ ] ++ args.checkInputs or [ ])
          );
        in
        assert lib.assertMsg (
          (args.pyproject or false) && !(args ? format)
        ) "${args.pname}: the test set builds pyproject = true only";
        removeAttrs args [
          "build-system"
          "dependencies"
          "optional-dependencies"
          "disabled"
          "pyproject"
          "pythonImportsCheck"
          "propagatedBuildInputs"
          "nativeCheckInputs"
          "checkInputs"
        ]
        // {
          nativeBuildInputs = [
            environment
            pkgs.makeWrapper
          ]
          ++ args.nativeBuildInputs or [ ]
          ++ lib.optionals (args.doCheck or true) (args.nativeCheckInputs or [ ]);
          # nixpkgs runs a package's tests on what is installed.
          doCheck = false;
          doInstallCheck = args.doCheck or true;
          requires = map toString requires;
        }
        # nixpkgs' standard environment has a compiler, of which the host's takes the place here.
        // lib.optionalAttrs (args.env.NIXDOCK_BUILD_NATIVE or "" == "require") {
          env = args.env // {
            CC = "/usr/bin/gcc -B/usr/bin/";
          };
          __impureHostDeps = [
            "/usr"
            "/bin"
            "/lib"
            "/lib64"
          ];
        }
        // {
          buildPhase =
            args.buildPhase or ''
              runHook preBuild
              ${environment}/bin/python3 -B ${./build/pyproject.py} build dist
              runHook postBuild
            '';
          installPhase =
            args.installPhase or ''
              runHook preInstall
              ${environment}/bin/python3 -B ${./build/pyproject.py} install dist/*.whl "$out" \
                ${python}/bin/python3 ''${requires[@]}
              runHook postInstall
            '';
          preFixup = (args.preFixup or "") + lib.optionalString ((args.makeWrapperArgs or [ ]) != [ ]) ''
            _list makeWrapperArgs
            _arguments=("''${_words[@]}")
            for program in "$out"/bin/*; do
              wrapProgram "$program" "''${_arguments[@]}"
            done
          '';
          installCheckPhase =
            args.installCheckPhase or args.checkPhase or ''
              runHook preInstallCheck
              export PYTHONPATH=$out/${python.sitePackages}''${PYTHONPATH:+:$PYTHONPATH} PATH=$out/bin:$PATH
              ${lib.concatMapStrings (name: ''
                (cd / && ${environment}/bin/python3 -B -c ${lib.escapeShellArg "import ${name}"})
              '') (args.pythonImportsCheck or [ ])}
              runHook postInstallCheck
            '';
          passthru = {
            optional-dependencies = args.optional-dependencies or { };
            pythonModule = if isApplication then false else python;
            dependencies = args.dependencies or [ ];
            build-system = args.build-system or [ ];
          }
          // args.passthru or { };
          meta = {
            mainProgram = args.pname;
          }
          // args.meta or { };
        }
      )
    );

  self =
    fromDebs
    // fromWheels
    // renamed
    // {
      inherit python;
      buildPythonPackage = build false;
      buildPythonApplication = build true;
      toPythonModule = drv: drv // { pythonModule = python; };
      toPythonApplication = drv: drv // { pythonModule = false; };
      callPackage = pkgs.newScope (self // { python3Packages = self; });
      pytestCheckHook = pkgs.makeSetupHook { name = "pytest-check-hook"; } (
        pkgs.writeText "pytest-check-hook.sh" ''
          postInstallCheckHooks+=(_pytestCheck)
          _pytestCheck() { python3 -B -m pytest -p no:cacheprovider ''${pytestFlags-} ''${pytestFlagsArray-}; }
        ''
      );
    };
in
lib.recurseIntoAttrs (self)
