# The part of nixpkgs' `lib` the project uses, with the same names and meanings.
let
  inherit (builtins)
    attrNames
    concatStringsSep
    elem
    filter
    foldl'
    functionArgs
    getAttr
    hasAttr
    head
    intersectAttrs
    isAttrs
    isFunction
    isList
    isString
    length
    listToAttrs
    map
    mapAttrs
    match
    removeAttrs
    replaceStrings
    stringLength
    substring
    tail
    ;

  lib = rec {
    inherit (builtins)
      add
      all
      any
      attrNames
      attrValues
      bitAnd
      bitOr
      bitXor
      catAttrs
      ceil
      compareVersions
      concatLists
      concatMap
      concatStringsSep
      deepSeq
      div
      elem
      elemAt
      filter
      floor
      foldl'
      fromJSON
      genList
      getAttr
      groupBy
      hasAttr
      hashString
      head
      intersectAttrs
      isAttrs
      isBool
      isFloat
      isInt
      isList
      isPath
      isString
      length
      lessThan
      listToAttrs
      mapAttrs
      match
      mul
      partition
      pathExists
      readFile
      replaceStrings
      seq
      sort
      split
      stringLength
      sub
      substring
      tail
      toJSON
      trace
      tryEval
      typeOf
      unsafeDiscardStringContext
      unsafeGetAttrPos
      zipAttrsWith
      ;

    # Functions.
    id = x: x;
    const = x: _: x;
    flip =
      f: a: b:
      f b a;
    pipe = foldl' (value: f: f value);
    fix =
      f:
      let
        self = f self;
      in
      self;
    extends =
      overlay: f: final:
      let
        prev = f final;
      in
      prev // overlay final prev;
    composeExtensions =
      first: second: final: prev:
      let
        between = first final prev;
      in
      between // second final (prev // between);
    composeManyExtensions = foldr composeExtensions (_: _: { });
    makeExtensible = makeExtensibleWithCustomName "extend";
    makeExtensibleWithCustomName =
      name: f:
      fix (
        self:
        f self
        // {
          ${name} = overlay: makeExtensibleWithCustomName name (extends overlay f);
        }
      );
    toFunction = value: if isFunction value then value else const value;
    isFunction = f: builtins.isFunction f || (isAttrs f && f ? __functor && isFunction (f.__functor f));
    functionArgs =
      f:
      if f ? __functor then f.__functionArgs or (functionArgs (f.__functor f)) else builtins.functionArgs f;
    setFunctionArgs = f: args: {
      __functor = _: f;
      __functionArgs = args;
    };
    mirrorFunctionArgs = f: setter: setFunctionArgs setter (functionArgs f);

    # Conditions.
    optional = condition: value: if condition then [ value ] else [ ];
    optionals = condition: values: if condition then values else [ ];
    optionalAttrs = condition: attrs: if condition then attrs else { };
    optionalString = condition: string: if condition then string else "";
    boolToString = b: if b then "true" else "false";
    and = x: y: x && y;
    or = x: y: x || y;
    xor = x: y: x != y;
    min = x: y: if x < y then x else y;
    max = x: y: if x > y then x else y;
    mod = base: int: base - (int * (builtins.div base int));

    # Complaints.
    warn = message: value: builtins.trace "warning: ${message}" value;
    warnIf = condition: message: if condition then warn message else id;
    warnIfNot = condition: warnIf (!condition);
    throwIf = condition: message: if condition then throw message else id;
    throwIfNot = condition: throwIf (!condition);
    assertMsg = condition: message: condition || throw message;
    assertOneOf =
      name: value: allowed:
      assertMsg (elem value allowed) "${name} must be one of ${
        generators.toPretty { } allowed
      }, but is: ${generators.toPretty { } value}";
    traceVal = value: builtins.trace value value;
    traceValSeq = value: builtins.deepSeq value (traceVal value);
    addErrorContext = builtins.addErrorContext or (_: id);

    # Strings.
    concatStrings = concatStringsSep "";
    concatMapStrings = f: list: concatStrings (map f list);
    concatMapStringsSep =
      separator: f: list:
      concatStringsSep separator (map f list);
    concatImapStringsSep =
      separator: f: list:
      concatStringsSep separator (imap1 f list);
    concatLines = concatMapStrings (line: line + "\n");
    intersperse =
      separator: list:
      if length list < 2 then
        list
      else
        tail (
          builtins.concatMap (x: [
            separator
            x
          ]) list
        );
    hasPrefix = prefix: string: substring 0 (stringLength prefix) string == prefix;
    hasSuffix =
      suffix: string:
      let
        start = stringLength string - stringLength suffix;
      in
      start >= 0 && substring start (-1) string == suffix;
    hasInfix = infix: string: replaceStrings [ infix ] [ "" ] string != string;
    removePrefix =
      prefix: string:
      if hasPrefix prefix string then substring (stringLength prefix) (-1) string else string;
    removeSuffix =
      suffix: string:
      if hasSuffix suffix string then
        substring 0 (stringLength string - stringLength suffix) string
      else
        string;
    splitString =
      separator: string:
      map (part: addContextFrom string part) (
        filter isString (builtins.split (escapeRegex separator) (builtins.unsafeDiscardStringContext string))
      );
    addContextFrom = source: string: substring 0 0 source + string;
    stringToCharacters = string: builtins.genList (at: substring at 1 string) (stringLength string);
    lowerChars = stringToCharacters "abcdefghijklmnopqrstuvwxyz";
    upperChars = stringToCharacters "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    toLower = replaceStrings upperChars lowerChars;
    toUpper = replaceStrings lowerChars upperChars;
    escape = characters: replaceStrings characters (map (c: "\\" + c) characters);
    escapeRegex = escape (stringToCharacters "\\[{()^$?*+|.");
    escapeShellArg =
      arg:
      let
        string = toString arg;
      in
      if match "[[:alnum:]%+,./:@_-]+" string == null then
        "'${replaceStrings [ "'" ] [ "'\\''" ] string}'"
      else
        string;
    escapeShellArgs = concatMapStringsSep " " escapeShellArg;
    isStringLike = value: isString value || builtins.isPath value || value ? outPath || value ? __toString;
    isStorePath =
      value:
      isStringLike value
      && substring 0 1 (toString value) == "/"
      && dirOf (toString value) == builtins.storeDir;
    isConvertibleWithToString =
      value:
      isStringLike value
      || elem (builtins.typeOf value) [
        "null"
        "int"
        "float"
        "bool"
      ]
      || (isList value && builtins.all isConvertibleWithToString value);
    strings = lib;
    trim =
      string:
      let
        found = match "[ \t\r\n]*(.*[^ \t\r\n])[ \t\r\n]*" string;
      in
      if found == null then "" else addContextFrom string (head found);
    fixedWidthString =
      width: filler: string:
      if stringLength string >= width then string else fixedWidthString width filler (filler + string);
    fixedWidthNumber = width: n: fixedWidthString width "0" (toString n);
    versionOlder = a: b: builtins.compareVersions b a == 1;
    versionAtLeast = a: b: !versionOlder a b;
    getName = value: if isString value then (builtins.parseDrvName value).name else value.pname or (getName value.name);
    getVersion =
      value: if isString value then (builtins.parseDrvName value).version else value.version or (getVersion value.name);
    fileContents = file: removeSuffix "\n" (builtins.readFile file);
    importJSON = file: builtins.fromJSON (builtins.readFile file);
    importTOML = file: builtins.fromTOML (builtins.readFile file);
    toInt =
      string:
      let
        value = builtins.fromJSON string;
      in
      if builtins.isInt value then value else throw "toInt: ${string} is not an integer";
    makeSearchPath = subDir: paths: concatStringsSep ":" (map (path: "${path}/${subDir}") (filter (x: x != null) paths));
    makeSearchPathOutput =
      output: subDir: packages:
      makeSearchPath subDir (map (getOutput output) packages);
    makeLibraryPath = makeSearchPathOutput "lib" "lib";
    makeBinPath = makeSearchPathOutput "bin" "bin";

    # Lists.
    singleton = x: [ x ];
    last =
      list:
      assert assertMsg (list != [ ]) "lists.last: list must not be empty!";
      builtins.elemAt list (length list - 1);
    init = list: take (length list - 1) list;
    take = count: sublist 0 count;
    drop = count: list: sublist count (length list) list;
    sublist =
      start: count: list:
      let
        size = length list;
      in
      builtins.genList (at: builtins.elemAt list (at + start)) (
        if start >= size then 0 else min count (size - start)
      );
    foldr =
      f: nul: list:
      if list == [ ] then nul else f (head list) (foldr f nul (tail list));
    foldl = foldl';
    imap0 = f: list: builtins.genList (at: f at (builtins.elemAt list at)) (length list);
    imap1 = f: list: builtins.genList (at: f (at + 1) (builtins.elemAt list at)) (length list);
    range = first: end: if first > end then [ ] else builtins.genList (at: first + at) (end - first + 1);
    replicate = count: x: builtins.genList (_: x) count;
    reverseList = list: builtins.genList (at: builtins.elemAt list (length list - at - 1)) (length list);
    toList = value: if isList value then value else [ value ];
    forEach = list: f: map f list;
    remove = x: filter (y: x != y);
    subtractLists = unwanted: filter (x: !elem x unwanted);
    intersectLists = wanted: filter (x: elem x wanted);
    unique = foldl' (found: x: if elem x found then found else found ++ [ x ]) [ ];
    flatten = value: if isList value then builtins.concatMap flatten value else [ value ];
    findFirst =
      predicate: default: list:
      let
        found = filter predicate list;
      in
      if found == [ ] then default else head found;
    count = predicate: list: length (filter predicate list);
    zipListsWith =
      f: a: b:
      builtins.genList (at: f (builtins.elemAt a at) (builtins.elemAt b at)) (min (length a) (length b));
    zipLists = zipListsWith (fst: snd: { inherit fst snd; });
    naturalSort = builtins.sort builtins.lessThan;
    sortOn = f: builtins.sort (a: b: f a < f b);

    # Attribute sets.
    nameValuePair = name: value: { inherit name value; };
    attrByPath =
      path: default: set:
      if path == [ ] then
        set
      else if isAttrs set && hasAttr (head path) set then
        attrByPath (tail path) default (getAttr (head path) set)
      else
        default;
    hasAttrByPath =
      path: set:
      path == [ ] || (isAttrs set && hasAttr (head path) set && hasAttrByPath (tail path) (getAttr (head path) set));
    getAttrFromPath = path: attrByPath path (throw "cannot find attribute '${concatStringsSep "." path}'");
    setAttrByPath = path: value: if path == [ ] then value else { ${head path} = setAttrByPath (tail path) value; };
    attrVals = names: set: map (name: getAttr name set) names;
    getAttrs = names: set: genAttrs names (name: getAttr name set);
    filterAttrs = predicate: set: removeAttrs set (filter (name: !predicate name set.${name}) (attrNames set));
    mapAttrs' = f: set: listToAttrs (mapAttrsToList f set);
    mapAttrsToList = f: set: map (name: f name set.${name}) (attrNames set);
    attrsToList = mapAttrsToList nameValuePair;
    concatMapAttrs = f: set: foldl' (a: b: a // b) { } (mapAttrsToList f set);
    mergeAttrsList = foldl' (a: b: a // b) { };
    mapAttrsRecursive =
      f:
      let
        walk = path: mapAttrs (name: value: if isAttrs value then walk (path ++ [ name ]) value else f (path ++ [ name ]) value);
      in
      walk [ ];
    genAttrs = names: f: listToAttrs (map (name: nameValuePair name (f name)) names);
    foldlAttrs =
      f: start: set:
      foldl' (state: name: f state name set.${name}) start (attrNames set);
    recursiveUpdateUntil =
      stop: a: b:
      let
        merge =
          path: left: right:
          left
          // mapAttrs (
            name: value:
            let
              here = path ++ [ name ];
            in
            if hasAttr name left && !stop here left.${name} value then merge here left.${name} value else value
          ) right;
      in
      merge [ ] a b;
    recursiveUpdate = recursiveUpdateUntil (_: a: b: !(isAttrs a && isAttrs b));
    recurseIntoAttrs = set: set // { recurseForDerivations = true; };
    dontRecurseIntoAttrs = set: set // { recurseForDerivations = false; };
    attrsets = lib;
    lists = lib;
    trivial = lib // {
      release = "0.0";
    };

    # Derivations.
    isDerivation = value: value.type or null == "derivation";
    getOutput = output: package: if package.outputSpecified or false then package else package.${output} or package.out or package;
    getFirstOutput =
      names: package:
      if package.outputSpecified or false then
        package
      else
        getOutput (findFirst (name: package ? ${name}) "out" names) package;
    getBin = getOutput "bin";
    getLib = getFirstOutput [
      "lib"
      "out"
    ];
    getDev = getOutput "dev";
    getMan = getOutput "man";
    getExe = package: getExe' package (package.meta.mainProgram or (getName package));
    getExe' =
      package: program:
      assert assertMsg (isString program && match ".*/.*" program == null) "lib.meta.getExe': ${toString program} must be a program's name";
      "${getBin package}/bin/${program}";
    addMetaAttrs = meta: package: package // { meta = package.meta or { } // meta; };
    setName = name: package: package // { inherit name; };
    meta = lib;
    lazyDerivation =
      { derivation, meta ? derivation.meta or { }, passthru ? { }, ... }:
      derivation // { inherit meta; } // passthru;
    extendDerivation =
      condition: passthru: drv:
      let
        outputs = drv.outputs or [ "out" ];
        common =
          drv // listToAttrs extended // { all = map (output: output.value) extended; } // passthru;
        extended = map (
          name:
          nameValuePair name (
            common
            // {
              inherit (drv.${name}) type outputName;
              outputSpecified = true;
              drvPath =
                assert condition;
                drv.${name}.drvPath;
              outPath =
                assert condition;
                drv.${name}.outPath;
            }
            // optionalAttrs (passthru ? overrideAttrs) {
              overrideAttrs = change: (passthru.overrideAttrs change).${name};
            }
          )
        ) outputs;
      in
      common
      // {
        drvPath =
          assert condition;
          drv.drvPath;
        outPath =
          assert condition;
          drv.outPath;
      };
    overrideDerivation =
      drv: change:
      let
        args = drv.drvAttrs;
      in
      extendDerivation true (
        optionalAttrs (drv ? meta) { inherit (drv) meta; } // (drv.passthru or { })
      ) (derivation (args // change (args // { inherit (drv) name; })));

    # Customisation.
    makeOverridable =
      f:
      mirrorFunctionArgs f (
        original:
        let
          result = f original;
          change = new: original // (if isFunction new then new original else new);
          again = new: makeOverridable f (change new);
          # Whatever is changed later has to survive a later `override` too.
          after = g: makeOverridable (mirrorFunctionArgs f (args: g (f args))) original;
        in
        if isAttrs result && !(result ? __functor) then
          result
          // {
            override = mirrorFunctionArgs f again;
            overrideDerivation = new: after (drv: overrideDerivation drv new);
            ${if result ? overrideAttrs then "overrideAttrs" else null} = new: after (drv: drv.overrideAttrs new);
          }
        else if isFunction result then
          (if isAttrs result then result else { })
          // setFunctionArgs result (functionArgs result)
          // {
            override = mirrorFunctionArgs f again;
          }
        else
          result
      );
    callPackageWith =
      scope: file: args:
      let
        f = if isFunction file then file else import file;
        formals = functionArgs f;
        given = intersectAttrs formals scope // args;
        missing = filter (name: !formals.${name} && !(given ? ${name})) (attrNames formals);
      in
      if missing == [ ] then
        makeOverridable f given
      else
        throw "lib.customisation.callPackageWith: Function called without required argument \"${head missing}\"";
    callPackagesWith =
      scope: file: args:
      let
        f = if isFunction file then file else import file;
        given = intersectAttrs (functionArgs f) scope // args;
        mk = name: makeOverridable (mirrorFunctionArgs f (final: (f final).${name})) given;
      in
      mapAttrs (name: _: mk name) (removeAttrs (f given) [ "recurseForDerivations" ])
      // optionalAttrs ((f given) ? recurseForDerivations) {
        inherit (f given) recurseForDerivations;
      };
    makeScope =
      newScope: f:
      let
        self = f self // {
          newScope = extra: newScope (self // extra);
          callPackage = self.newScope { };
          overrideScope = overlay: makeScope newScope (extends overlay f);
          packages = f;
        };
      in
      self;
    customisation = lib;
    fixedPoints = lib;

    # Sources.
    cleanSourceFilter =
      name: type:
      let
        base = baseNameOf (toString name);
      in
      !(
        elem base [
          ".git"
          ".svn"
          "CVS"
          ".hg"
        ]
        || hasSuffix "~" base
        || match "\\..*\\.sw[a-z]" base != null
        || hasSuffix ".o" base
        || hasSuffix ".so" base
        || (type == "symlink" && hasPrefix "result" base)
        || type == "unknown"
      );
    cleanSourceWith =
      {
        filter ? _: _: true,
        src,
        name ? null,
      }:
      let
        inner = src ? _isLibCleanSourceWith;
        origSrc = if inner then src.origSrc else src;
        keep = if inner then path: type: filter path type && src.filter path type else filter;
        given = if name != null then name else if inner then src.name else "source";
      in
      {
        _isLibCleanSourceWith = true;
        inherit origSrc;
        filter = keep;
        name = given;
        outPath = builtins.path {
          path = origSrc;
          name = given;
          filter = keep;
        };
      };
    cleanSource = src: cleanSourceWith {
      inherit src;
      filter = cleanSourceFilter;
    };
    sourceByRegex =
      src: patterns:
      cleanSourceWith {
        inherit src;
        filter =
          path: _:
          let
            relative = removePrefix (toString src + "/") (toString path);
          in
          builtins.any (pattern: match pattern relative != null) patterns;
      };
    sources = lib;
    fileset =
      let
        coerce =
          value:
          if value ? contains then
            value
          else
            let
              path = toString value;
              contains = here: _: here == path || hasPrefix (path + "/") here;
            in
            {
              inherit contains;
              enters = here: contains here null || hasPrefix (here + "/") path;
            };
      in
      rec {
        unions = values: {
          contains = path: type: builtins.any (set: (coerce set).contains path type) values;
          enters = path: builtins.any (set: (coerce set).enters path) values;
        };
        union = a: b: unions [ a b ];
        intersection = a: b: {
          contains = path: type: (coerce a).contains path type && (coerce b).contains path type;
          enters = path: (coerce a).enters path && (coerce b).enters path;
        };
        difference = a: b: {
          contains = path: type: (coerce a).contains path type && !(coerce b).contains path type;
          enters = path: (coerce a).enters path && !(coerce b).contains path "directory";
        };
        maybeMissing = path: if builtins.pathExists path then coerce path else unions [ ];
        fileFilter = predicate: path: {
          contains =
            here: type:
            (coerce path).contains here type
            && predicate {
              name = baseNameOf here;
              inherit type;
              hasExt = extension: hasSuffix ".${extension}" here;
            };
          inherit (coerce path) enters;
        };
        toSource =
          { root, fileset }:
          cleanSourceWith {
            src = root;
            filter =
              path: type:
              if type == "directory" then (coerce fileset).enters path else (coerce fileset).contains path type;
          };
      };

    # Facts.
    licenses = mapAttrs (shortName: spdxId: {
      inherit shortName spdxId;
      fullName = spdxId;
      free = true;
    }) {
      asl20 = "Apache-2.0";
      bsd3 = "BSD-3-Clause";
      gpl3Plus = "GPL-3.0-or-later";
      mit = "MIT";
    };
    maintainers = { };
    teams = { };
    platforms = rec {
      linux = [
        "aarch64-linux"
        "armv7l-linux"
        "i686-linux"
        "riscv64-linux"
        "x86_64-linux"
      ];
      darwin = [
        "aarch64-darwin"
        "x86_64-darwin"
      ];
      unix = linux ++ darwin;
      all = unix;
    };
    systems.flakeExposed = [
      "x86_64-linux"
      "aarch64-linux"
      "x86_64-darwin"
      "aarch64-darwin"
    ];
    sourceTypes = {
      fromSource = {
        shortName = "fromSource";
        isSource = true;
      };
      binaryNativeCode = {
        shortName = "binaryNativeCode";
        isSource = false;
      };
    };
    version = "0.0test";
    generators = {
      toJSON = _: builtins.toJSON;
      toPretty = _: builtins.toJSON;
      toKeyValue =
        {
          mkKeyValue ? name: value: "${name}=${toString value}",
          ...
        }:
        set:
        concatLines (mapAttrsToList mkKeyValue set);
    };

  };
in
lib
