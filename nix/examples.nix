# Images that show what the library does, by the names they have in `dockerTools.examples`.
#
# Not here are those that need a registry on the Internet (nixFromDockerHub, testNixFromDockerHub,
# onTopOfPulledImage) and the one that is made of NixOS modules (etc).
{ pkgs, nixdock }:
let
  inherit (pkgs) lib;

  # What is copied to an image's root are trees: the programs of several packages make one.
  root =
    name: paths:
    pkgs.buildEnv {
      inherit name paths;
      pathsToLink = [ "/bin" ];
    };

  shell = "${pkgs.bashInteractive}/bin/bash";

  # A program that needs no store path but its own.
  staticBusybox = pkgs.pkgsStatic.busybox or pkgs.busybox;

  # Another machine's packages.
  foreign =
    if pkgs.stdenv.hostPlatform.isAarch64 then
      pkgs.pkgsCross.gnu64
    else
      pkgs.pkgsCross.aarch64-multiplatform;
  foreignArchitecture = if pkgs.stdenv.hostPlatform.isAarch64 then "amd64" else "arm64";

  # What Nix wants of a root file system.
  nixRoot = ''
    mkdir -p root etc/nix
    mkdir -m 1777 tmp
    echo 'root:x:0:0::/root:${shell}' > etc/passwd
    echo 'root:x:0:' > etc/group
    echo 'build-users-group =' > etc/nix/nix.conf
  '';
  nixEnvironment = [
    "NIX_PAGER=cat"
    "USER=root"
    "HOME=/root"
  ];

  nginxArguments =
    let
      conf = pkgs.writeText "nginx.conf" ''
        user nobody nobody;
        daemon off;
        error_log /dev/stdout info;
        pid /dev/null;
        events { }
        http {
          access_log /dev/stdout;
          server {
            listen 80;
            root ${pages};
          }
        }
      '';
      pages = pkgs.writeTextDir "index.html" "<html><body><h1>Hello from nginx</h1></body></html>\n";
    in
    {
      name = "nginx";
      tag = "latest";
      contents = [
        nixdock.fakeNss
        pkgs.nginx
      ];
      # Whatever it is configured to do, it makes these when it starts.
      extraCommands = ''
        mkdir -m 1777 tmp
        mkdir -p var/log/nginx var/cache/nginx var/lib/nginx
      '';
      config = {
        Cmd = [
          "${pkgs.nginx}/bin/nginx"
          "-e"
          "stderr"
          "-c"
          conf
        ];
        ExposedPorts."80/tcp" = { };
      };
    };

  nixArguments = {
    name = "nix-layered";
    contents = [
      pkgs.bashInteractive
      pkgs.coreutils
      pkgs.nix
    ];
    extraCommands = nixRoot;
    config.Env = nixEnvironment;
  };

  onTopArguments = {
    tag = "latest";
    extraCommands = ''
      mkdir example-output
      chmod 777 example-output
    '';
    config = {
      Env = [ "PATH=${pkgs.coreutils}/bin" ];
      WorkingDir = "/example-output";
      Cmd = [
        shell
        "-c"
        "echo hello > foo; cat foo"
      ];
    };
  };

  childArguments = {
    tag = "latest";
    config.Env = [
      "FROM_CHILD=true"
      "LAST_LAYER=child"
    ];
  };

  helloArguments = {
    name = "hello";
    tag = "latest";
    contents = [ (root "hello-root" [ pkgs.hello ]) ];
    config.Cmd = [ "hello" ];
  };
in
rec {
  # The least there is: packages, and what to run.
  bash = nixdock.buildImage {
    name = "bash";
    tag = "latest";
    copyToRoot = root "bash-root" [
      pkgs.bashInteractive
      pkgs.coreutils
    ];
    config.Cmd = [ "/bin/bash" ];
    meta.description = "GNU's shell in an image";
  };

  # Without a tag, the image gets one that changes with what is in it.
  bashNoTag = nixdock.buildImage {
    name = "bash-no-tag";
    copyToRoot = root "bash-root" [ pkgs.bashInteractive ];
    config.Cmd = [ "/bin/bash" ];
  };
  bashNoTagLayered = nixdock.buildLayeredImage {
    name = "bash-no-tag-layered";
    contents = [ pkgs.bashInteractive ];
    config.Cmd = [ "/bin/bash" ];
  };
  bashNoTagStreamLayered = nixdock.streamLayeredImage {
    name = "bash-no-tag-stream-layered";
    contents = [ pkgs.bashInteractive ];
    config.Cmd = [ "/bin/bash" ];
  };

  # Other ways of compressing the file.
  bashUncompressed = bash.override {
    name = "bash-uncompressed";
    compressor = "none";
  };
  bashZstdCompressed = bash.override {
    name = "bash-zstd";
    compressor = "zstd";
  };
  bashLayeredUncompressed = nixdock.buildLayeredImage {
    name = "bash-layered-uncompressed";
    tag = "latest";
    compressor = "none";
    contents = [ pkgs.bashInteractive ];
  };
  bashLayeredZstdCompressed = nixdock.buildLayeredImage {
    name = "bash-layered-zstd";
    tag = "latest";
    compressor = "zstd";
    contents = [ pkgs.bashInteractive ];
  };

  # A user other than root, whom the image knows by name.
  bashLayeredWithUser = nixdock.buildLayeredImage {
    name = "bash-layered-with-user";
    tag = "latest";
    contents = [
      pkgs.bashInteractive
      pkgs.coreutils
      (nixdock.fakeNss.override {
        extraPasswdLines = [ "somebody:x:1000:1000:Somebody:/home/somebody:${shell}" ];
        extraGroupLines = [ "somebody:x:1000:" ];
      })
    ];
    extraCommands = "mkdir -p home/somebody";
    perms = [
      {
        path = "/home/somebody";
        uid = 1000;
        gid = 1000;
        mode = "0700";
      }
    ];
    config = {
      User = "somebody";
      Cmd = [ "/bin/bash" ];
    };
  };

  # A service with a user and a directory of its own, on top of another image.
  redis = nixdock.buildImage {
    name = "redis";
    tag = "latest";
    fromImage = bash;
    copyToRoot = root "redis-root" [ pkgs.redis ];
    runAsRoot = ''
      ${nixdock.shadowSetup}
      groupadd -r redis
      useradd -r -g redis -d /data -M redis
      mkdir /data
      chown redis:redis /data
    '';
    config = {
      Cmd = [ "/bin/redis-server" ];
      WorkingDir = "/data";
      Volumes."/data" = { };
      Healthcheck = {
        Test = [
          "CMD"
          "/bin/redis-cli"
          "ping"
        ];
        Interval = 30000000000;
        Timeout = 10000000000;
        Retries = 3;
      };
    };
  };

  # A server, and the files that it wants to write to.
  nginx = nixdock.buildLayeredImage nginxArguments;
  nginxStream = nixdock.streamLayeredImage nginxArguments;

  # Several packages, all of them in /bin.
  editors = nixdock.buildImage {
    name = "editors";
    tag = "latest";
    copyToRoot = root "editors-root" [
      pkgs.bashInteractive
      pkgs.coreutils
      pkgs.gawk
      pkgs.gnused
    ];
  };

  # Nix, and a database in which it finds the image's store paths.
  nix = nixdock.buildImageWithNixDb {
    name = "nix";
    tag = "latest";
    copyToRoot = root "nix-root" [
      pkgs.bashInteractive
      pkgs.coreutils
      pkgs.nix
    ];
    extraCommands = nixRoot;
    config.Env = nixEnvironment;
  };
  nixLayered = nixdock.buildLayeredImageWithNixDb nixArguments;
  nix-layered = nixdock.streamLayeredImage (
    nixArguments
    // {
      tag = "latest";
      includeNixDB = true;
    }
  );

  # Both kinds of script, with all that shells give a meaning to.
  runAsRootExtraCommands = nixdock.buildImage {
    name = "run-as-root-extra-commands";
    tag = "latest";
    copyToRoot = root "scripts-root" [ pkgs.coreutils ];
    runAsRoot = ''(echo "it's root (\$1 = $((2 - 1)))" > /from-run-as-root)'';
    extraCommands = ''(echo 'it says "hello" (\$2)' > from-extra-commands)'';
  };

  # The time at which the image is built, at the price of its being another one each time.
  unstableDate = nixdock.buildImage {
    name = "unstable-date";
    tag = "latest";
    copyToRoot = root "date-root" [ pkgs.coreutils ];
    created = "now";
  };
  unstableDateLayered = nixdock.buildLayeredImage {
    name = "unstable-date-layered";
    tag = "latest";
    contents = [ pkgs.coreutils ];
    created = "now";
  };

  # Images of many layers share those of the packages that both have.
  layered-image = nixdock.buildLayeredImage {
    name = "layered-image";
    tag = "latest";
    extraCommands = "echo layered > extraCommands";
    config.Cmd = [ "${pkgs.hello}/bin/hello" ];
    contents = [
      pkgs.hello
      pkgs.bashInteractive
      pkgs.coreutils
    ];
  };
  another-layered-image = nixdock.buildLayeredImage {
    name = "another-layered-image";
    tag = "latest";
    config.Cmd = [ "${pkgs.hello}/bin/hello" ];
    contents = [
      pkgs.hello
      pkgs.coreutils
      pkgs.gawk
    ];
  };

  # Either kind of image on top of one of many layers.
  layered-on-top = nixdock.buildImage (
    onTopArguments
    // {
      name = "layered-on-top";
      fromImage = layered-image;
    }
  );
  layered-on-top-layered = nixdock.buildLayeredImage (
    onTopArguments
    // {
      name = "layered-on-top-layered";
      fromImage = layered-image;
    }
  );

  # A script that finds its base image's files, and its shell.
  runAsRootParentImage = nixdock.buildImage {
    name = "run-as-root-parent-image";
    tag = "latest";
    fromImage = bash;
    runAsRoot = "cp /bin/bash /copied-bash";
  };

  # Of a file that several layers have, the topmost is seen.
  layersOrder =
    let
      layer =
        number: below:
        nixdock.buildImage (
          {
            name = "layers-order";
            tag = "layer${toString number}";
            extraCommands = ''
              mkdir tmp
              for above in ${toString (lib.range number 3)}; do
                echo layer${toString number} > tmp/layer$above
              done
            '';
          }
          // below
        );
      first = layer 1 { copyToRoot = root "order-root" [ pkgs.coreutils ]; };
    in
    layer 3 { fromImage = layer 2 { fromImage = first; }; };

  # Scripts see what those below have left.
  layersUnpackOrder =
    let
      append =
        letter: below:
        nixdock.buildImage {
          name = "layers-unpack-order-${letter}";
          tag = "latest";
          fromImage = below;
          copyToRoot = root "order-root" [
            pkgs.bashInteractive
            pkgs.coreutils
          ];
          runAsRoot = "printf ${letter} >> /layer-order";
        };
    in
    lib.foldl' (below: letter: append letter below) null [
      "a"
      "b"
      "c"
    ];

  # The environment of the base image is added to, and changed.
  environmentVariablesParent = nixdock.buildImage {
    name = "parent";
    tag = "latest";
    copyToRoot = root "environment-root" [ pkgs.coreutils ];
    config.Env = [
      "FROM_PARENT=true"
      "LAST_LAYER=parent"
    ];
  };
  environmentVariables = nixdock.buildImage (
    childArguments
    // {
      name = "child";
      fromImage = environmentVariablesParent;
    }
  );
  environmentVariablesLayered = nixdock.buildLayeredImage (
    childArguments
    // {
      name = "child-layered";
      fromImage = environmentVariablesParent;
    }
  );

  # As few layers as can be: one for all packages, and one for the image's own files.
  two-layered-image = nixdock.buildLayeredImage {
    name = "two-layered-image";
    tag = "latest";
    config.Cmd = [ "${pkgs.hello}/bin/hello" ];
    contents = [
      pkgs.bashInteractive
      pkgs.hello
    ];
    maxLayers = 2;
  };

  # More packages than layers: none is lost.
  bulk-layer = nixdock.buildLayeredImage {
    name = "bulk-layer";
    tag = "latest";
    contents = [
      pkgs.coreutils
      pkgs.hello
    ];
    maxLayers = 2;
  };
  layered-bulk-layer = nixdock.buildLayeredImage {
    name = "layered-bulk-layer";
    tag = "latest";
    fromImage = two-layered-image;
    contents = [
      pkgs.coreutils
      pkgs.hello
    ];
    maxLayers = 4;
  };

  # A program that is copied rather than linked to, and needs no other.
  no-store-paths = nixdock.buildLayeredImage {
    name = "no-store-paths";
    tag = "latest";
    extraCommands = ''
      mkdir bin
      cp ${staticBusybox}/bin/busybox bin/
      ln -s busybox bin/sh
      # The one thing that names a store path.
      ln -s ${staticBusybox} origin
    '';
    config.Cmd = [
      "/bin/busybox"
      "ls"
      "/nix/store"
    ];
  };

  # Scripts that name files in the store, and a database that knows those.
  filesInStore = nixdock.buildImageWithNixDb {
    name = "file-in-store";
    tag = "latest";
    copyToRoot = root "files-root" [
      pkgs.coreutils
      pkgs.nix
      (pkgs.writeScriptBin "myscript" ''
        #!${pkgs.runtimeShell}
        cat ${pkgs.writeText "somefile" "some data"}
      '')
    ];
    extraCommands = nixRoot;
    config = {
      Env = nixEnvironment;
      Cmd = [ "/bin/myscript" ];
    };
  };

  # Another machine's programs, by the same function over that machine's packages.
  cross = (import ./. foreign).buildImage {
    name = "hello-cross";
    tag = "latest";
    copyToRoot = [ foreign.hello ];
  };

  # A package that is a link to another one stays what it is.
  layeredStoreSymlink =
    let
      target = pkgs.writeTextDir "dir/target" "Content of a file behind a link.";
      symlink = pkgs.runCommand "symlink" { } "ln -s ${target} $out";
    in
    nixdock.buildLayeredImage {
      name = "layered-store-symlink";
      tag = "latest";
      contents = [
        pkgs.bashInteractive
        pkgs.coreutils
        symlink
      ];
    }
    // {
      passthru = { inherit symlink target; };
    };

  # Names with a registry's in front.
  prefixedImage = nixdock.buildImage {
    name = "registry-1.docker.io/image";
    tag = "latest";
    config.Cmd = [ "${pkgs.hello}/bin/hello" ];
  };
  prefixedLayeredImage = nixdock.buildLayeredImage {
    name = "registry-1.docker.io/layered-image";
    tag = "latest";
    config.Cmd = [ "${pkgs.hello}/bin/hello" ];
  };

  # Owners that only root could give.
  layeredImageWithFakeRootCommands = nixdock.buildLayeredImage {
    name = "layered-image-with-fake-root-commands";
    tag = "latest";
    contents = [ staticBusybox ];
    fakeRootCommands = ''
      mkdir -p ./home/alice
      chown 1000 ./home/alice
      ln -s ${pkgs.hello} ./hello
    '';
  };

  # Several images in one file.
  mergedBashAndRedis = nixdock.mergeImages [
    bash
    redis
  ];
  mergedBashNoTagAndRedis = nixdock.mergeImages [
    bashNoTag
    redis
  ];
  mergedBashFakeRoot = nixdock.mergeImages [
    bash
    layeredImageWithFakeRootCommands
  ];
  mergeVaryingCompressor = nixdock.mergeImages [
    redis
    bashUncompressed
    bashZstdCompressed
  ];

  # With the store; without it; and without it, made as if by root.
  helloOnRoot = nixdock.streamLayeredImage helloArguments;
  helloOnRootNoStore = nixdock.streamLayeredImage (
    helloArguments
    // {
      name = "hello-no-store";
      includeStorePaths = false;
    }
  );
  helloOnRootNoStoreFakechroot = nixdock.streamLayeredImage (
    helloArguments
    // {
      name = "hello-no-store-fakechroot";
      includeStorePaths = false;
      enableFakechroot = true;
      fakeRootCommands = "mkdir -m 1777 /tmp";
    }
  );

  # A script whose / is the image's.
  imageViaFakeChroot = nixdock.streamLayeredImage {
    name = "image-via-fake-chroot";
    tag = "latest";
    config.Cmd = [ "hello" ];
    enableFakechroot = true;
    fakeRootCommands = ''
      mkdir -p /bin
      ln -s ${lib.getExe pkgs.hello} /bin/hello
    '';
  };

  # What programs that speak to others through TLS look for.
  image-with-certs = nixdock.buildLayeredImage {
    name = "image-with-certs";
    tag = "latest";
    contents = [
      pkgs.coreutils
      nixdock.caCertificates
    ];
  };

  # An image's root file system.
  exportBash = nixdock.exportImage { fromImage = bash; };

  # Files of this source, as they are.
  build-image-with-path = nixdock.buildImage {
    name = "build-image-with-path";
    tag = "latest";
    copyToRoot = [
      staticBusybox
      ./example
    ];
  };
  layered-image-with-path = nixdock.streamLayeredImage {
    name = "layered-image-with-path";
    tag = "latest";
    contents = [
      staticBusybox
      ./example
    ];
  };

  # An image that says it is for another machine.
  build-image-with-architecture = nixdock.buildImage {
    name = "build-image-with-architecture";
    tag = "latest";
    architecture = foreignArchitecture;
    copyToRoot = [ ./example ];
  };
  layered-image-with-architecture = nixdock.streamLayeredImage {
    name = "layered-image-with-architecture";
    tag = "latest";
    architecture = foreignArchitecture;
    contents = [ ./example ];
  };
}
// (
  # Shells of derivations.
  let
    shellImage =
      name: arguments:
      nixdock.streamNixShellImage (
        {
          name = "nix-shell-${name}";
          tag = "latest";
        }
        // arguments
      );
    make = attrs: pkgs.stdenv.mkDerivation ({ dontUnpack = true; } // attrs);
    variable = make {
      name = "variable";
      foo = "foo";
    };
    showInteractivity = ''
      case "$-" in
        *i*) echo This shell is interactive ;;
        *) echo This shell is not interactive ;;
      esac
    '';
  in
  {
    # A package whose builder can be run in the image.
    nix-shell-basic = shellImage "basic" { drv = pkgs.hello; };

    nix-shell-hook = shellImage "hook" {
      drv = pkgs.mkShell { shellHook = "echo 'This is the shell hook!'; exit"; };
    };

    nix-shell-inputs = shellImage "inputs" {
      drv = pkgs.mkShell { nativeBuildInputs = [ pkgs.hello ]; };
      command = "hello";
    };

    nix-shell-pass-as-file = shellImage "pass-as-file" {
      drv = pkgs.mkShell {
        str = "this is a string";
        passAsFile = [ "str" ];
      };
      command = ''cat "$strPath"'';
    };

    # Commands in a shell that does not wait for others; and in one that would.
    nix-shell-run = shellImage "run" {
      drv = variable;
      run = showInteractivity;
    };
    nix-shell-command = shellImage "command" {
      drv = variable;
      command = showInteractivity;
    };

    nix-shell-writable-home = shellImage "writable-home" {
      drv = variable;
      command = ''
        touch "$HOME"/test-file
        echo "Home is writable: $HOME"
      '';
    };
    nix-shell-nonexistent-home = shellImage "nonexistent-home" {
      drv = variable;
      homeDirectory = "/homeless-shelter";
      command = ''[ -e "$HOME" ] || echo "There is no $HOME"'';
    };

    nix-shell-build-derivation = shellImage "build-derivation" {
      drv = make {
        name = "derivation-to-build";
        buildPhase = "echo built > result";
        installPhase = "mkdir $out; cp result $out/";
      };
      command = "buildDerivation; cat $out/result";
    };
  }
)
