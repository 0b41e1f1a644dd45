# The nixdock program, built with the Python of nixpkgs.
{
  lib,
  stdenv,
  python3Packages,
  libdeflate,
  # For `nixdock browse`.
  withBrowser ? false,
  # For binary caches with NARs that are compressed by Brotli.
  withBrotli ? false,
}:
let
  # What nixdock was tested with. It checks the bytes, too, before it compresses anything.
  oldestLibdeflate = "1.23";
  root = ./..;
  parts = [
    "LICENSE"
    "README.md"
    "hatch_build.py"
    "manual"
    "nixdock"
    "pyproject.toml"
  ];
in
assert lib.assertMsg (lib.versionAtLeast libdeflate.version oldestLibdeflate)
  "nixdock: libdeflate is ${libdeflate.version}, but only ${oldestLibdeflate} and later give gzip layers the same bytes as elsewhere; use a newer nixpkgs, or override nixdock's argument libdeflate";
python3Packages.buildPythonApplication {
  pname = "nixdock";
  version = "0.1.0";
  pyproject = true;

  # The source has only the package's files, so that changes to other files rebuild no image.
  src = builtins.path {
    name = "nixdock-source";
    path = root;
    filter =
      path: _:
      let
        relative = lib.removePrefix "${toString root}/" (toString path);
      in
      builtins.elem (builtins.head (lib.splitString "/" relative)) parts
      && baseNameOf path != "__pycache__"
      # What a build beside the source made.
      && !lib.hasSuffix ".so" (baseNameOf path);
  };

  build-system = [ python3Packages.hatchling ];
  # The native packer, which is optional elsewhere.
  env.NIXDOCK_BUILD_NATIVE = if stdenv.hasCC then "require" else "skip";
  # libdeflate comes from nixpkgs, which does not have this wheel of it.
  pythonRemoveDeps = [ "deflate" ];
  dependencies = [
    python3Packages.bcrypt
    python3Packages.click
    python3Packages.cryptography
    python3Packages.msgspec
    python3Packages.networkx
    python3Packages.orjson
    python3Packages.pynacl
    python3Packages.rich
    python3Packages.urllib3
    python3Packages.waitress
  ]
  ++ lib.optional withBrowser python3Packages.textual
  ++ lib.optional withBrotli python3Packages.brotli
  ++ lib.optional (lib.versionOlder python3Packages.python.version "3.14") (
    python3Packages.backports-zstd
      or (throw "nixdock needs python3Packages.backports-zstd, which nixpkgs has since 25.11; use a newer nixpkgs")
  );

  optional-dependencies = {
    brotli = [ python3Packages.brotli ];
    browse = [ python3Packages.textual ];
  };

  # The pinned library, whatever the caller's environment says.
  makeWrapperArgs = [
    "--set"
    "NIXDOCK_LIBDEFLATE"
    "${lib.getLib libdeflate}/lib/libdeflate${
      if stdenv.hostPlatform.isDarwin then ".0.dylib" else ".so.0"
    }"
  ];

  # The manual is made by the program, which has to run for that.
  postInstall = lib.optionalString (stdenv.buildPlatform.canExecute stdenv.hostPlatform) ''
    PYTHONPATH=$out/${python3Packages.python.sitePackages}:$PYTHONPATH \
      python3 -B -m manual.install $out/share
  '';

  # The tests need Nix, Docker and Podman, which the build sandbox does not provide.
  doCheck = false;
  pythonImportsCheck = [ "nixdock.cli" ];

  meta = {
    description = "Turn a Nix closure into container images";
    license = lib.licenses.mit;
    mainProgram = "nixdock";
    platforms = lib.platforms.unix;
  };
}
