# The packages, by the names nixpkgs has for them.
{ raw, lock }:
final: _:
let
  inherit (final) lib;
  inherit (raw) debs versions;

  # What nixpkgs' packages have beyond a derivation.
  package =
    {
      drv,
      pname,
      version,
      mainProgram ? pname,
      passthru ? { },
    }:
    lib.extendDerivation true (
      {
        inherit pname version passthru;
        meta = {
          inherit mainProgram;
          name = "${pname}-${version}";
          platforms = [ "x86_64-linux" ];
          available = true;
          outputsToInstall = [ "out" ];
        };
        override = _: package { inherit drv pname version mainProgram passthru; };
        overrideAttrs =
          change:
          let
            old = drv.drvAttrs // { inherit pname version passthru; };
            once = change old;
            new = if lib.isFunction once then change old old else once;
          in
          package {
            drv = derivation (
              removeAttrs (drv.drvAttrs // new) [
                "meta"
                "passthru"
                "pname"
                "version"
              ]
            );
            pname = new.pname or pname;
            version = new.version or version;
            inherit mainProgram;
            passthru = new.passthru or passthru;
          };
      }
      // passthru
    ) drv;

  cleanVersion = version: builtins.elemAt (builtins.match "([0-9]+:)?([^-+~]*).*" version) 1;

  deb =
    pname: name: mainProgram:
    package {
      inherit pname mainProgram;
      drv = debs.${name};
      version = cleanVersion versions.${name};
    };

  scienceNames = lock.request.science;
in
{
  bash = deb "bash" "bash" "bash";
  busybox = deb "busybox" "busybox-static" "busybox";
  coreutils = deb "coreutils" "coreutils" "coreutils";
  # Debian puts the bundle together when it installs the package.
  cacert =
    final.runCommand "cacert-${cleanVersion versions.ca-certificates}"
      {
        passthru.unbundled = debs.ca-certificates;
      }
      ''
        mkdir -p $out/etc/ssl/certs
        cat ${debs.ca-certificates}/share/ca-certificates/mozilla/*.crt >$out/etc/ssl/certs/ca-bundle.crt
      '';
  diffutils = deb "diffutils" "diffutils" "diff";
  fakeroot = deb "fakeroot" "fakeroot" "fakeroot";
  file = deb "file" "file" "file";
  findutils = deb "findutils" "findutils" "find";
  gawk = deb "gawk" "gawk" "gawk";
  gcc-unwrapped = deb "gcc" "gcc-12" "gcc-12";
  glibc = deb "glibc" "libc6" "ld.so";
  gnugrep = deb "gnugrep" "grep" "grep";
  gnumake = deb "gnumake" "make" "make";
  gnupatch = deb "gnupatch" "patch" "patch";
  gnused = deb "gnused" "sed" "sed";
  gnutar = deb "gnutar" "tar" "tar";
  gzip = deb "gzip" "gzip" "gzip";
  hello = deb "hello" "hello" "hello";
  jq = deb "jq" "jq" "jq";
  # Debian 12's is of an older generation than nixpkgs'. The wheel's module exports the functions
  # of one that is current, and a Python process can load it like any library.
  libdeflate = package {
    pname = "libdeflate";
    version = "1.25";
    drv = final.runCommand "libdeflate-1.25" { } ''
      mkdir -p $out/lib
      cp ${final.python3Packages.deflate}/lib/python3/dist-packages/deflate/_deflate.abi3.so \
        $out/lib/libdeflate.so.0
    '';
  };
  nginx = deb "nginx" "nginx" "nginx";
  nix = deb "nix" "nix-bin" "nix";
  openssl = deb "openssl" "openssl" "openssl";
  curl = deb "curl" "curl" "curl";
  redis = deb "redis" "redis-server" "redis-server";
  ruff = final.python3Packages.ruff;
  shadow = deb "shadow" "passwd" "passwd";
  skopeo = deb "skopeo" "skopeo" "skopeo";
  sqlite = deb "sqlite" "sqlite3" "sqlite3";
  tini = deb "tini" "tini" "tini";
  tzdata = deb "tzdata" "tzdata" "tzdata";
  xz = deb "xz" "xz-utils" "xz";
  zlib = deb "zlib" "zlib1g" "zlib";
  zstd = deb "zstd" "zstd" "zstd";
  patch = final.gnupatch;

  patchelf = package {
    drv = raw.patchelf;
    pname = "patchelf";
    version = versions.patchelf;
  };

  python3 =
    let
      # Each further package brings the links to its own dependencies' modules.
      env =
        paths:
        import ./build/python.nix {
          inherit debs paths;
          inherit (final) system;
          base = [ debs.python3 ];
          name = "python3-${cleanVersion versions.python3}-env";
        };
      build =
        { drv, ... }@args:
        package {
          inherit drv;
          pname = "python3";
          version = cleanVersion versions."python3.11";
          mainProgram = "python3";
          passthru = rec {
            interpreter = "${drv}/bin/python3.11";
            executable = "python3.11";
            pythonVersion = "3.11";
            implementation = "cpython";
            libPrefix = "python3.11";
            sitePackages = "lib/python3/dist-packages";
            isPy3 = true;
            pkgs = final.python3Packages;
            pythonOnBuildForHost = final.python3;
            withPackages = f: build { drv = env (f final.python3Packages); };
            buildEnv.override = { extraLibs ? [ ], ... }: build { drv = env extraLibs; };
          };
        };
    in
    build { drv = debs.python3; };
  python311 = final.python3;
  pythonNumpy = final.python3.withPackages (ps: [ ps.numpy ]);
  science = final.python3.withPackages (_: map (name: debs.${name}) scienceNames);

  python3Packages = import ./python-packages.nix {
    inherit raw package cleanVersion;
    pkgs = final;
  };
  python311Packages = final.python3Packages;

  # Everything of Debian's and PyPI's there is, by its own name.
  inherit debs;
  inherit (raw) wheels;
}
