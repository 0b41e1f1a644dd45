# Examples of the library, under the names that they have in `dockerTools.examples`.
#
# Omitted are the examples that need a registry on the Internet (nixFromDockerHub,
# testNixFromDockerHub, onTopOfPulledImage) or NixOS modules (etc).
{ pkgs, nixdock }:
let
  inherit (pkgs) lib;

  # A tree for copyToRoot with the programs of several packages.
  root =
    name: paths:
    pkgs.buildEnv {
      inherit name paths;
      pathsToLink = [ "/bin" ];
    };

  shell = "${pkgs.bashInteractive}/bin/bash";

  # A static program, which refers to no other store path.
  staticBusybox = pkgs.pkgsStatic.busybox or pkgs.busybox;

  # Packages for another architecture.
  foreign =
    if pkgs.stdenv.hostPlatform.isAarch64 then
      pkgs.pkgsCross.gnu64
    else
      pkgs.pkgsCross.aarch64-multiplatform;
  foreignArchitecture = if pkgs.stdenv.hostPlatform.isAarch64 then "amd64" else "arm64";

  # Nix needs these files in the root file system.
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
      # nginx writes to these directories at startup, with any configuration.
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
  # A minimal image: packages and a command.
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

  # Without the tag argument, an image gets a tag that changes with its contents.
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

  # Other compressors.
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

  # A user other than root, with a name.
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

  # A service with its own user and directory, on top of a base image.
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

  # A server with the directories that it writes to.
  nginx = nixdock.buildLayeredImage nginxArguments;
  nginxStream = nixdock.streamLayeredImage nginxArguments;

  # Several packages, whose programs are all in /bin.
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

  # Nix, with a database of the image's store paths.
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

  # Both kinds of script, with characters that are special in a shell.
  runAsRootExtraCommands = nixdock.buildImage {
    name = "run-as-root-extra-commands";
    tag = "latest";
    copyToRoot = root "scripts-root" [ pkgs.coreutils ];
    runAsRoot = ''(echo "it's root (\$1 = $((2 - 1)))" > /from-run-as-root)'';
    extraCommands = ''(echo 'it says "hello" (\$2)' > from-extra-commands)'';
  };

  # The creation time is the time of the build, so no two builds give the same image.
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

  # Layered images share the layers of the packages that both contain.
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

  # Images of both kinds on top of a layered image.
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

  # A script that uses the files and the shell of the base image.
  runAsRootParentImage = nixdock.buildImage {
    name = "run-as-root-parent-image";
    tag = "latest";
    fromImage = bash;
    runAsRoot = "cp /bin/bash /copied-bash";
  };

  # A file in an upper layer hides the same file in the layers below.
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

  # Each script sees the files from the scripts of the layers below.
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

  # The image adds to the environment of its base image and overrides a variable.
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

  # The smallest number of layers: one for all packages, and one for the image's own files.
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

  # An image with more packages than layers still contains all packages.
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

  # A static program, copied instead of symlinked.
  no-store-paths = nixdock.buildLayeredImage {
    name = "no-store-paths";
    tag = "latest";
    extraCommands = ''
      mkdir bin
      cp ${staticBusybox}/bin/busybox bin/
      ln -s busybox bin/sh
      # Only this symlink refers to a store path.
      ln -s ${staticBusybox} origin
    '';
    config.Cmd = [
      "/bin/busybox"
      "ls"
      "/nix/store"
    ];
  };

  # A script that refers to a file in the store, and a database that contains the file.
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

  # Packages for another architecture, with the library over their package set.
  cross = (import ./. foreign).buildImage {
    name = "hello-cross";
    tag = "latest";
    copyToRoot = [ foreign.hello ];
  };

  # Images for two architectures in one index: whoever pulls it gets theirs.
  index = nixdock.buildIndex {
    name = "hello-index";
    tag = "latest";
    images = map (
      { library, hello }:
      library.streamLayeredImage {
        name = "hello-index";
        tag = "latest";
        config.Cmd = [ "${hello}/bin/hello" ];
      }
    ) [
      {
        library = nixdock;
        inherit (pkgs) hello;
      }
      {
        library = import ./. foreign;
        inherit (foreign) hello;
      }
    ];
  };

  # A store path that is a symlink stays a symlink.
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

  # Image names with a registry.
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

  # File owners that only root can set.
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

  # Several images in one archive.
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

  # An image with store paths; one without; and one without, whose commands run as root.
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

  # A script that runs with the image's root as /.
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

  # The certificates that programs need for TLS.
  image-with-certs = nixdock.buildLayeredImage {
    name = "image-with-certs";
    tag = "latest";
    contents = [
      pkgs.coreutils
      nixdock.caCertificates
    ];
  };

  # The root file system of an image.
  exportBash = nixdock.exportImage { fromImage = bash; };

  # Files from the source tree.
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

  # Images that declare another architecture.
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
  # Images with the build environment of a derivation.
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
    # A package that can be built in the image.
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

    # Commands in a non-interactive shell, and in an interactive one.
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
