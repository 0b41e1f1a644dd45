# Files that programs expect outside the Nix store, and a function that merges directory trees.
{
  common,
}:
let
  inherit (common) lib pkgs;

  lines = lib.concatMapStrings (line: "${line}\n");
in
{
  # User and group databases with root, nobody and the given entries, so that programs can map names
  # to ids and back.
  fakeNss = lib.makeOverridable (
    {
      extraPasswdLines ? [ ],
      extraGroupLines ? [ ],
    }:
    common.runNearby "fake-nss"
      {
        passwd = lines (
          [ "root:x:0:0:root user:/var/empty:/bin/sh" ]
          ++ extraPasswdLines
          ++ [ "nobody:x:65534:65534:nobody:/var/empty:/bin/sh" ]
        );
        group = lines ([ "root:x:0:" ] ++ extraGroupLines ++ [ "nobody:x:65534:" ]);
      }
      ''
        mkdir -p $out/etc $out/var/empty
        printf '%s' "$passwd" > $out/etc/passwd
        printf '%s' "$group" > $out/etc/group
        echo 'hosts: files dns' > $out/etc/nsswitch.conf
      ''
  ) { };

  # Scripts that start with #!/usr/bin/env need this symlink.
  usrBinEnv = common.runNearby "usr-bin-env" { } ''
    mkdir -p $out/usr/bin
    ln -s ${pkgs.coreutils}/bin/env $out/usr/bin
  '';

  # Scripts that start with #!/bin/sh and callers of system(3) need this symlink.
  binSh = common.runNearby "bin-sh" { } ''
    mkdir -p $out/bin
    ln -s ${pkgs.bashInteractive}/bin/bash $out/bin/sh
  '';

  # Several symlinks, because each distribution has the certificate bundle at another path.
  caCertificates = common.runNearby "ca-certificates" { } ''
    mkdir -p $out/etc/ssl/certs $out/etc/pki/tls/certs
    for file in ssl/certs/ca-bundle.crt ssl/certs/ca-certificates.crt pki/tls/certs/ca-bundle.crt; do
      ln -s ${common.certificateBundle} $out/etc/$file
    done
  '';

  # Commands for runAsRoot or fakeRootCommands, which create the files that useradd needs.
  shadowSetup = ''
    export PATH=${pkgs.shadow}/bin:$PATH
    mkdir -p /etc/pam.d
    if [ ! -f /etc/passwd ]; then
      echo 'root:x:0:0::/root:${pkgs.runtimeShell}' > /etc/passwd
      echo 'root:!x:::::::' > /etc/shadow
      chmod 600 /etc/shadow
    fi
    if [ ! -f /etc/group ]; then
      echo 'root:x:0:' > /etc/group
      echo 'root:x::' > /etc/gshadow
      chmod 600 /etc/gshadow
    fi
    if [ ! -f /etc/pam.d/other ]; then
      printf '%s\n' \
        'account sufficient pam_unix.so' \
        'auth sufficient pam_rootok.so' \
        'password requisite pam_unix.so nullok yescrypt' \
        'session required pam_unix.so' > /etc/pam.d/other
    fi
    if [ ! -f /etc/login.defs ]; then
      touch /etc/login.defs
    fi
  '';

  # Merges derivations into one tree, in which later files replace earlier ones. With onlyDeps, the
  # result is a file that only refers to the derivations.
  mergeDrvs =
    {
      derivations,
      onlyDeps ? false,
    }:
    common.runNearby "merge-drvs" (common.unstructured // { inherit derivations onlyDeps; }) ''
      if [ -n "$onlyDeps" ]; then
        echo $derivations > $out
        exit 0
      fi
      mkdir $out
      for derivation in $derivations; do
        echo "merging $derivation"
        if [ -d "$derivation" ]; then
          cp -drf --preserve=mode "$derivation/." $out/
        else
          tar -C $out -xpf "$derivation"
        fi
        # Directories from the store are read-only.
        chmod -R u+w $out
      done
    '';
}
