# The nixdock program, built with the Python of nixpkgs.
{
  lib,
  stdenv,
  python3Packages,
  libdeflate,
}:
let
  root = ./..;
  parts = [
    "LICENSE"
    "README.md"
    "nixdock"
    "pyproject.toml"
  ];
in
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
      && baseNameOf path != "__pycache__";
  };

  build-system = [ python3Packages.hatchling ];
  dependencies = [
    python3Packages.click
    python3Packages.msgspec
    python3Packages.networkx
    python3Packages.orjson
    python3Packages.rich
  ]
  ++ lib.optional (lib.versionOlder python3Packages.python.version "3.14") (
    python3Packages.backports-zstd
      or (throw "nixdock needs python3Packages.backports-zstd, which nixpkgs has since 25.11; use a newer nixpkgs")
  );

  makeWrapperArgs = [
    "--set-default"
    "NIXDOCK_LIBDEFLATE"
    "${lib.getLib libdeflate}/lib/libdeflate${
      if stdenv.hostPlatform.isDarwin then ".0.dylib" else ".so.0"
    }"
  ];

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
