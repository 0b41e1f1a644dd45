# Checks of arguments at evaluation: a mistake is named before anything is built.
{ pkgs }:
let
  inherit (pkgs) lib;

  # As in Python's nixdock.oci.reference, and the grammar of the distribution-spec.
  component = "[a-z0-9]+(([.]|_|__|-+)[a-z0-9]+)*";
  label = "[a-z0-9]+(-+[a-z0-9]+)*";
  host = "(localhost|${label}([.]${label})+)(:[0-9]+)?|${label}:[0-9]+";
  repository = "((${host})/)?${component}(/${component})*";

  # What GOARCH may be.
  architectures = [
    "386"
    "amd64"
    "arm"
    "arm64"
    "loong64"
    "mips"
    "mips64"
    "mips64le"
    "mipsle"
    "ppc64"
    "ppc64le"
    "riscv64"
    "s390x"
    "wasm"
  ];

  # The names of Nix and of `uname -m`.
  otherNames = {
    aarch64 = "arm64";
    armv6l = ''arm" and variant = "v6'';
    armv7l = ''arm" and variant = "v7'';
    i386 = "386";
    i686 = "386";
    loongarch64 = "loong64";
    powerpc64le = "ppc64le";
    x86_64 = "amd64";
  };

  # Where a value has a function, by its name, or none.
  functionsIn =
    name: value:
    if lib.isStringLike value then
      [ ]
    else if lib.isFunction value then
      [ name ]
    else if builtins.isAttrs value then
      lib.concatMap (key: functionsIn "${name}.${key}" value.${key}) (lib.attrNames value)
    else if builtins.isList value then
      lib.concatMap (functionsIn name) value
    else
      [ ];

  # A wrong value in an error. JSON has no functions, which sets may have, too.
  shown =
    value:
    if lib.isDerivation value then
      "the derivation ${value.name}"
    else if lib.isFunction value then
      "a function; in a list, a call needs parentheses"
    else if builtins.isAttrs value && !lib.isStringLike value then
      "an attribute set"
    else
      builtins.toJSON value;
in
rec {
  isImageName = name: builtins.match repository (lib.toLower name) != null;

  # Checks the name of an image, and returns it in lower case, as images have it.
  imageName =
    name:
    let
      lower = lib.toLower name;
    in
    if !isImageName name then
      throw (
        "nixdock: ${builtins.toJSON name} is not the name of an image: expected [HOST[:PORT]/]NAME[/NAME...], where each NAME is letters and digits, joined by '.', '_', '__' or dashes"
        + lib.optionalString (
          builtins.match "${repository}:[^/]*" lower != null
        ) "; give the tag as the argument tag"
      )
    else
      lower;

  # Checks a tag, and returns it as a string. Nix writes 1.10 as 1.100000, so that only whole numbers
  # are tags.
  tag =
    name: tag:
    let
      text = if builtins.isInt tag then toString tag else tag;
    in
    if
      builtins.isString text && builtins.match "[A-Za-z0-9_][A-Za-z0-9._-]{0,127}" text != null
    then
      text
    else
      throw "nixdock: image ${name}: ${builtins.toJSON tag} is not a tag: expected at most 128 letters, digits, '_', '.' and '-', without '.' or '-' at the start";

  # Checks the ID of a user or group, which dockerTools accepts as a string, too, and returns it as a
  # number.
  id =
    name: argument: id:
    if builtins.isString id && builtins.match "0|[1-9][0-9]*" id != null then
      builtins.fromJSON id
    else if builtins.isInt id then
      id
    else
      throw "nixdock: image ${name}: ${argument} must be a number, not ${builtins.toJSON id}";

  # Checks that arguments, by name, have values of the type that `isRight` tells, which has the name
  # `type`. `place` names whose arguments they are.
  types =
    place: type: isRight: arguments:
    lib.all (
      argument:
      isRight arguments.${argument}
      || throw "nixdock${place}: ${argument} must be ${type}, not ${shown arguments.${argument}}"
    ) (lib.attrNames arguments);

  architecture =
    name: architecture:
    if lib.elem architecture architectures then
      architecture
    else
      throw (
        "nixdock: image ${name}: architecture must be one of Go's names, not ${builtins.toJSON architecture}: "
        + (
          if builtins.isString architecture && otherNames ? ${architecture} then
            ''write architecture = "${otherNames.${architecture}}"''
          else
            lib.concatStringsSep ", " architectures
        )
      );

  # Checks a config, which becomes JSON, and its commands. A string would be the name of a program, spaces included.
  config =
    name: config:
    let
      wrong = lib.filter (
        key:
        lib.elem (lib.toLower key) [
          "cmd"
          "entrypoint"
          "shell"
        ]
        && builtins.isString config.${key}
        && lib.hasInfix " " config.${key}
      ) (lib.attrNames config);
      key = lib.head wrong;
      words = lib.filter (word: word != "") (lib.splitString " " config.${key});
      functions = functionsIn "config" config;
    in
    if functions != [ ] then
      throw "nixdock: image ${name}: ${lib.head functions} has ${shown (_: null)}"
    else if wrong == [ ] then
      config
    else
      throw "nixdock: image ${name}: config.${key} is one string with spaces, which no shell splits; write a list of arguments: [ ${
        lib.concatMapStringsSep " " builtins.toJSON words
      } ]";

  # Checks what an image has at /, and returns it: a list of packages and other trees of files.
  trees =
    name: argument:
    map (
      tree:
      if !lib.isStringLike tree then
        throw "nixdock: image ${name}: ${argument} has packages and paths, not ${shown tree}"
      else if builtins.isString tree && !lib.hasPrefix "/" tree then
        throw "nixdock: image ${name}: ${argument} has packages and paths, not the text ${builtins.toJSON tree}; write the package itself, such as pkgs.hello"
      else
        tree
    );

  # Checks what pullImage fetches: a repository without a tag, and the digest in it.
  source =
    imageName: imageDigest:
    if builtins.match ".*:[^/]*" imageName != null then
      throw "nixdock.pullImage: ${imageName}: imageName is a repository without a tag, because imageDigest says which image it is; give the tag as finalImageTag"
    else if builtins.match "[a-z0-9]+:[0-9a-f]+" imageDigest == null then
      throw "nixdock.pullImage: ${imageName}: imageDigest is the digest of a manifest, such as sha256:0123..., not ${builtins.toJSON imageDigest}; nix-prefetch-docker prints it"
    else
      "docker://${imageName}@${imageDigest}";

  # Checks the file of an image, and returns it as a string. `place` names the argument.
  imageFile =
    place: file:
    if !lib.isStringLike file then
      throw "nixdock${place} is a file, not ${shown file}"
    else if file.isExe or false then
      throw "nixdock${place} is the stream script ${file.name}, not an image; use buildLayeredImage instead of streamLayeredImage"
    else if builtins.isString file && !lib.hasPrefix "/" file then
      throw "nixdock${place} is a file, not a reference such as ${builtins.toJSON file}; use pullImage to fetch an image from a registry"
    else
      "${file}";

  # Checks that builds can enter namespaces. `instead` says what to do without.
  onLinux =
    name: argument: instead: value:
    if pkgs.stdenv.buildPlatform.isLinux then
      value
    else
      throw "nixdock: image ${name}: ${argument} needs Linux, because it enters a namespace; ${instead}";
}
