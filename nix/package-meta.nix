# packageMeta writes what the package set says of packages, for `nixdock sbom --meta`.
{ common }:
let
  inherit (common) lib pkgs;

  # Evaluation fails for packages that are broken or unfree; the others are still described.
  tried =
    value: default:
    let
      result = builtins.tryEval (builtins.deepSeq value value);
    in
    if result.success then result.value else default;

  plain = path: builtins.unsafeDiscardStringContext "${path}";

  # The packages in a value: itself, or those of a list.
  packagesIn =
    value:
    let
      result = builtins.tryEval value;
    in
    if !result.success then
      [ ]
    else if lib.isList result.value then
      lib.concatMap packagesIn result.value
    else
      lib.optional (tried (lib.isDerivation result.value) false) result.value;

  # What a package refers to at run time is among the arguments of its derivation, unless only a
  # string names it.
  inputsOf = drv: lib.concatMap packagesIn (lib.attrValues (drv.drvAttrs or { }));

  nodesOf = lib.concatMap (
    drv:
    let
      key = tried (plain drv) null;
    in
    lib.optional (key != null) { inherit key drv; }
  );

  # The attributes that are strings: other values may be functions, which are not JSON.
  strings =
    names: lib.filterAttrs (name: value: lib.elem name names && tried (lib.isString value) false);

  # A licence, or an expression of several that an operator joins.
  licenseOf =
    license:
    if lib.isString license then
      license
    else if lib.isList license then
      map licenseOf license
    else
      strings [
        "fullName"
        "shortName"
        "spdxId"
        "url"
        "operator"
      ] license
      // lib.mapAttrs (_: licenseOf) (
        lib.filterAttrs (
          name: _:
          lib.elem name [
            "licenses"
            "license"
            "exception"
          ]
        ) license
      );

  identifiersOf =
    identifiers:
    strings [
      "cpe"
      "purl"
    ] (identifiers.v1 or { } // identifiers)
    // lib.optionalAttrs (lib.isList (identifiers.v1.purls or identifiers.purls or null)) {
      purls = identifiers.v1.purls or identifiers.purls;
    };

  metaOf =
    meta:
    strings [ "description" ] meta
    // lib.optionalAttrs (meta ? homepage) { inherit (meta) homepage; }
    // lib.optionalAttrs (meta ? license) { license = map licenseOf (lib.toList meta.license); }
    // lib.optionalAttrs (meta ? identifiers) { identifiers = identifiersOf meta.identifiers; };

  # A patch may be a path, or a derivation that fetches it.
  patchName = patch: patch.name or (baseNameOf (plain (toString patch)));

  describe = drv: {
    inherit (drv) name;
    pname = drv.pname or "";
    version = drv.version or "";
    outputs = lib.genAttrs (drv.outputs or [ "out" ]) (output: plain (drv.${output} or drv));
    meta = tried (metaOf (drv.meta or { })) { };
    patches = map patchName (lib.filter (patch: patch != null) (lib.toList (drv.patches or [ ])));
  };
in
{
  # Takes a list of packages; describes them and everything that they are built from, by their
  # paths, in the form of `nix-env --query --available --json --meta --out-path`.
  packageMeta =
    packages:
    let
      nodes = builtins.genericClosure {
        startSet = nodesOf (lib.toList packages);
        operator = node: nodesOf (inputsOf node.drv);
      };
      entries = lib.concatMap (
        node:
        let
          entry = tried (describe node.drv) null;
        in
        lib.optional (entry != null) (lib.nameValuePair node.key entry)
      ) nodes;
    in
    pkgs.writeText "package-meta.json" (builtins.toJSON (lib.listToAttrs entries));
}
