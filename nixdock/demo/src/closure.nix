# The closure for `nixdock demo`: four store paths that Nix builds in its sandbox with the host's
# compilers. The profile is its root. `architecture` is the platform of the program, in Go's names.
#
# The store paths depend on every byte of the sources and scripts, including the comments in
# nixdock-demo.c. After a change, run rebuild.py, and update the digests in the tests.
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
        # The arm64 program is cross-compiled, so that one machine can build both closures.
        system = "x86_64-linux";
        builder = "/usr/bin/sh";
        args = [
          "-euc"
          script
        ];
        PATH = "/usr/bin";
        # The host's compilers; the sandbox contains nothing else of the host.
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

  # These flags leave out what depends on the compiler's version or defaults. The linker flags make
  # the program a single segment, which also keeps it small on machines with pages of 64 KiB.
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
