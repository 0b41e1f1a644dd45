# Images of a registry, fetched by digest.
{
  common,
}:
let
  inherit (common) lib pkgs;

  # What a store path's name may hold in place of a reference's separators.
  fixName = lib.replaceStrings [ "/" ":" ] [ "-" "-" ];

  # Of nixpkgs since it has them there, and for those from before.
  proxyVariables =
    lib.fetchers.proxyImpureEnvVars or [
      "http_proxy"
      "https_proxy"
      "ftp_proxy"
      "all_proxy"
      "no_proxy"
    ];

  # The hash in any of the ways in which nixpkgs' fetchers take it.
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
    # Nix asks for what an empty hash is a hash of, and then says which it should be.
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
    in
    pkgs.runCommand name
      (
        {
          inherit imageDigest;
          imageName = finalImageName;
          imageTag = finalImageTag;

          source = "docker://${imageName}@${imageDigest}";
          destination = "${finalImageName}:${finalImageTag}";
          platform = [
            "--override-os=${os}"
            "--override-arch=${arch}"
          ]
          ++ lib.optional (variant != "" && variant != null) "--override-variant=${variant}";
          verification = lib.boolToString tlsVerify;

          nativeBuildInputs = [ pkgs.skopeo ];
          SSL_CERT_FILE = common.certificateBundle;
          impureEnvVars = proxyVariables ++ [ "NIX_SSL_CERT_FILE" ];

          outputHashMode = "flat";
          inherit (hashes) outputHash;
        }
        // lib.optionalAttrs (hashes.outputHashAlgo != null) { inherit (hashes) outputHashAlgo; }
      )
      ''
        # Only where the sandbox shows it.
        if [ -r "''${NIX_SSL_CERT_FILE:-}" ]; then export SSL_CERT_FILE=$NIX_SSL_CERT_FILE; fi
        # No image is signed: its digest says all. Into a pipe skopeo prints no progress bars.
        skopeo --insecure-policy --tmpdir="$TMPDIR" $platform \
          copy --src-tls-verify="$verification" "$source" "docker-archive://$out:$destination" | cat
      '';
in
{
  inherit pullImage;
}
