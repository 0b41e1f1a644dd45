# Files that programs expect to find outside of the store, and trees made of others.
{
  common,
}:
let
  inherit (common) lib pkgs;

  lines = lib.concatMapStrings (line: "${line}\n");
in
{
  # root, nobody and whoever else is given, so that names are found for their ids and the reverse.
  fakeNss = lib.makeOverridable (
    {
      extraPasswdLines ? [ ],
      extraGroupLines ? [ ],
    }:
    pkgs.runCommandLocal "fake-nss"
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

  # For scripts that start with #!/usr/bin/env.
  usrBinEnv = pkgs.runCommandLocal "usr-bin-env" { } ''
    mkdir -p $out/usr/bin
    ln -s ${pkgs.coreutils}/bin/env $out/usr/bin
  '';

  # For scripts that start with #!/bin/sh, and for system(3).
  binSh = pkgs.runCommandLocal "bin-sh" { } ''
    mkdir -p $out/bin
    ln -s ${pkgs.bashInteractive}/bin/bash $out/bin/sh
  '';

  # The bundle of certificates in the places where programs of one distribution or other look.
  caCertificates = pkgs.runCommandLocal "ca-certificates" { } ''
    mkdir -p $out/etc/ssl/certs $out/etc/pki/tls/certs
    for file in ssl/certs/ca-bundle.crt ssl/certs/ca-certificates.crt pki/tls/certs/ca-bundle.crt; do
      ln -s ${common.certificateBundle} $out/etc/$file
    done
  '';

  # Commands for a script that runs in the image's root, after which those of shadow can be used.
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

  # One tree of many, later ones over earlier ones; or, with onlyDeps, a file that refers to them.
  mergeDrvs =
    {
      derivations,
      onlyDeps ? false,
    }:
    pkgs.runCommandLocal "merge-drvs" { inherit derivations onlyDeps; } ''
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
        # What comes from the store can't be written to.
        chmod -R u+w $out
      done
    '';
}
