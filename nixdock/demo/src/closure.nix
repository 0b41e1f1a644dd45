# The closure that comes with nixdock, for `nixdock demo`: store paths that Nix builds in its
# sandbox, from nothing but the host's compilers. The profile is its root.
#
# `architecture` is where the program is to run, in Go's names.
{ architecture }:
let
  gcc = {
    amd64 = "/usr/bin/x86_64-linux-gnu-gcc";
    arm64 = "/usr/bin/aarch64-linux-gnu-gcc";
  };

  build =
    name: environment: script:
    derivation (
      {
        inherit name;
        # Also for arm64, which is cross-compiled: both closures come from one machine.
        system = "x86_64-linux";
        builder = "/usr/bin/sh";
        args = [
          "-euc"
          script
        ];
        PATH = "/usr/bin";
        # Nothing else of the host is in the sandbox.
        __impureHostDeps = [
          "/usr"
          "/lib"
          "/lib64"
        ];
      }
      // environment
    );

  greeting = build "nixdock-demo-greeting.txt" { source = ./greeting.txt; } ''
    cp "$source" "$out"
  '';

  # Every flag takes away something that a compiler's version or its defaults would add; the
  # linker's make one segment of the program, so that it is as small where pages are 64 KiB.
  program =
    build "nixdock-demo"
      {
        inherit greeting;
        source = ./nixdock-demo.c;
        compiler = gcc.${architecture};
      }
      ''
        mkdir -p "$out/bin"
        "$compiler" -std=c11 -Os -Wall -Wextra -Werror \
          -ffreestanding -nostdlib -static -no-pie -fno-pie \
          -fno-stack-protector -fno-asynchronous-unwind-tables -fno-ident \
          -fno-tree-loop-distribute-patterns \
          -Wl,-s,--build-id=none,-z,noseparate-code,-z,noexecstack \
          -DGREETING="\"$greeting\"" -o "$out/bin/nixdock-demo" "$source"
      '';

  licence = build "nixdock-demo-licence" { source = ../../../LICENSE; } ''
    mkdir -p "$out/licenses/nixdock-demo"
    cp "$source" "$out/licenses/nixdock-demo/LICENSE"
  '';
in
build "nixdock-demo-profile" { inherit program licence; } ''
  mkdir "$out"
  ln -s "$program/bin" "$out/bin"
  ln -s "$licence" "$out/share"
''
