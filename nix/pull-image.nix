# pullImage fetches an image from a registry by its digest.
{
  common,
}:
let
  inherit (common) checks lib pkgs;

  # Store path names can't contain the separators of an image reference.
  fixName = lib.replaceStrings [ "/" ":" ] [ "-" "-" ];

  # The list of nixpkgs, or a copy of it for versions of nixpkgs without the list.
  proxyVariables =
    lib.fetchers.proxyImpureEnvVars or [
      "http_proxy"
      "https_proxy"
      "ftp_proxy"
      "all_proxy"
      "no_proxy"
    ];

  # The hash, in each form that the fetchers of nixpkgs accept.
  outputHashOf =
    imageName: args:
    let
      given = lib.filter (key: args ? ${key}) [
        "hash"
        "sha256"
        "outputHash"
      ];
      value = args.${lib.head given};
      algorithm = if args ? sha256 then "sha256" else args.outputHashAlgo or null;
    in
    assert lib.assertMsg (
      lib.length given == 1
    ) "nixdock.pullImage: ${imageName}: give one of hash, sha256 and outputHash, not ${toString (lib.length given)}";
    # Nix needs the algorithm of an empty hash; the build then reports the correct hash.
    {
      outputHash = value;
      outputHashAlgo = if value == "" && algorithm == null then "sha256" else algorithm;
    };

  pullImage =
    {
      imageName,
      imageDigest,
      os ? "linux",
      arch ? common.defaultArchitecture,
      variant ? common.defaultVariant,
      finalImageName ? imageName,
      finalImageTag ? "latest",
      tlsVerify ? true,
      name ? fixName "docker-image-${finalImageName}-${finalImageTag}.tar",
      hash ? null,
      sha256 ? null,
      outputHash ? null,
      outputHashAlgo ? null,
    }@args:
    let
      hashes = outputHashOf imageName (lib.filterAttrs (_: value: value != null) args);

      file =
        pkgs.runCommand name
          (
            {
              # An image that Nix has built contains the names of store paths, of which this build may
              # need some, too. What is fetched by its hash refers to none. Nix reads that from
              # structured attributes.
              __structuredAttrs = true;
              unsafeDiscardReferences.out = true;

              inherit imageDigest;
              imageName = finalImageName;
              imageTag = finalImageTag;
              passthru = common.transferPrograms (fixName finalImageName) "docker-archive:${file}" "";

              source = checks.source imageName imageDigest;
              destination = "${finalImageName}:${finalImageTag}";
              platform = [
                "--override-os=${os}"
                "--override-arch=${arch}"
              ]
              ++ lib.optional (variant != "" && variant != null) "--override-variant=${variant}";
              verification = lib.boolToString tlsVerify;

              nativeBuildInputs = [ pkgs.buildPackages.skopeo ];
              SSL_CERT_FILE = common.certificateBundle;
              impureEnvVars = proxyVariables ++ [ "NIX_SSL_CERT_FILE" ];

              outputHashMode = "flat";
              inherit (hashes) outputHash;
            }
            // lib.optionalAttrs (hashes.outputHashAlgo != null) { inherit (hashes) outputHashAlgo; }
          )
          ''
            export SSL_CERT_FILE
            # The sandbox may not contain the file.
            if [ -r "''${NIX_SSL_CERT_FILE:-}" ]; then export SSL_CERT_FILE=$NIX_SSL_CERT_FILE; fi
            # The digest already identifies the image, so skopeo needs no policy for signatures.
            # skopeo prints no progress bars to a pipe.
            skopeo --insecure-policy --tmpdir="$TMPDIR" "''${platform[@]}" \
              copy --src-tls-verify="$verification" "$source" "docker-archive://$out:$destination" | cat
          '';
    in
    assert checks.types ".pullImage: ${imageName}" "a string" builtins.isString {
      inherit arch imageDigest imageName os;
    };
    file;
in
{
  inherit pullImage;
}
