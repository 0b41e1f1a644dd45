# packageMeta writes what the package set says of packages, for `nixdock sbom --meta`.
{ common }:
let
  inherit (common) lib pkgs;

  # Evaluation may fail for a package that is broken or unfree; others are still described.
  tried =
    value: default:
    let
      result = builtins.tryEval (builtins.deepSeq value value);
    in
    if result.success then result.value else default;

  isPackage = value: tried (lib.isDerivation value && value ? outPath) false;

  plain = path: builtins.unsafeDiscardStringContext "${path}";

  # The derivations among the arguments of a derivation: what it may refer to at run time is in
  # these, unless a string names it.
  inputsOf = drv: lib.filter isPackage (lib.flatten (lib.attrValues (drv.drvAttrs or { })));

  nodesOf =
    drvs:
    lib.concatMap (
      drv:
      let
        key = tried (plain drv) null;
      in
      lib.optional (key != null) { inherit key drv; }
    ) drvs;

  # A patch may be a path, or a derivation that fetches it.
  patchName = patch: patch.name or (baseNameOf (plain (toString patch)));

  # What is not JSON, such as a function, is left out.
  wanted = [
    "description"
    "homepage"
    "identifiers"
    "license"
  ];

  describe = drv: {
    name = drv.name;
    pname = drv.pname or "";
    version = drv.version or "";
    outputs = lib.genAttrs (drv.outputs or [ "out" ]) (output: plain (drv.${output} or drv));
    meta = lib.filterAttrs (_: value: tried (builtins.toJSON value) null != null) (
      lib.filterAttrs (name: _: lib.elem name wanted) (drv.meta or { })
    );
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
