# Checks of the examples that need no daemon. Each check is a derivation that reads images in the
# sandbox and fails to build if an image differs from its arguments.
{ pkgs, nixdock }:
let
  inherit (pkgs) lib;
  inherit (nixdock) examples package;

  check =
    name: script:
    pkgs.runCommand "nixdock-test-${name}"
      {
        nativeBuildInputs = [
          package
          pkgs.buildPackages.jq
        ];
      }
      ''
        # Prints the metadata of an image as JSON.
        shown() { nixdock inspect --json "$1"; }
        expect() {
          if [ "$2" != "$3" ]; then
            printf '%s: expected %s, found %s\n' "$1" "$2" "$3" >&2
            exit 1
          fi
        }
        ${script}
        touch $out
      '';

  # exportBash is a root file system, not an image; cross and index would need a cross compiler.
  images = removeAttrs examples [
    "cross"
    "exportBash"
    "index"
  ];

  # Checks an image, and removes the file of a stream at once, because it is as large as the image.
  checkImage = pkgs.buildPackages.writeShellScript "check-image" ''
    set -e
    file=$1
    if [ "$2" = stream ]; then
      file=$(mktemp)
      "$1" > "$file"
    fi
    nixdock verify "$file"
    if [ -n "$3" ]; then
      name=$(nixdock inspect --json "$file" | jq -r '.images[0].tags[0]')
      if [ "$name" != "$3" ]; then
        echo "$1: expected the name $3, found $name" >&2
        exit 1
      fi
    fi
    if [ "$2" = stream ]; then
      rm "$file"
    fi
  '';
  fileOf =
    image:
    if image.isExe or false then
      pkgs.runCommand "${image.imageName}.tar" { } "${image} > $out"
    else
      image;

  each = lib.concatMapStrings (line: "${line}\n");
  query = image: filter: "$(shown ${fileOf images.${image}} | jq -rc ${lib.escapeShellArg filter})";
  expectation =
    image: filter: value:
    ''expect ${lib.escapeShellArg "${image}: ${filter}"} ${lib.escapeShellArg value} "${query image filter}"'';
in
{
  # The digests, sizes and counts of each image are right, and its name is that of its attributes.
  verify = check "verify" ''
    printf '%s\0' ${
      lib.concatMapStringsSep " " (
        image:
        lib.escapeShellArgs [
          "${image}"
          (if image.isExe or false then "stream" else "file")
          (if image ? imageTag then "${image.imageName}:${image.imageTag}" else "")
        ]
      ) (lib.attrValues images)
    } | xargs -0 -P "''${NIX_BUILD_CORES:-1}" -n 3 ${checkImage}
  '';

  dates = check "dates" (
    each (
      map (name: expectation name ".images[0].created" "1970-01-01T00:00:01Z") [
        "bash"
        "layered-image"
      ]
      ++ map
        (name: ''
          created=${query name ".images[0].created"}
          if [[ "$created" < 2001 ]]; then
            echo "${name}: expected the time of the build, found $created" >&2
            exit 1
          fi
        '')
        [
          "unstableDate"
          "unstableDateLayered"
        ]
    )
  );

  layers = check "layers" ''
    ${expectation "two-layered-image" ".images[0].layers | length" "2"}
    ${expectation "bulk-layer" ".images[0].layers | length" "2"}
    ${expectation "layered-bulk-layer" ".images[0].layers | length" "4"}

    layersOf() { shown "$1" | jq -r '.images[0].layers[].diff_id'; }
    layersOf ${images.layered-image} > below
    for above in ${images.layered-on-top} ${images.layered-on-top-layered}; do
      layersOf $above | head -n "$(wc -l < below)" | diff below -
    done
    layersOf ${images.another-layered-image} > other
    if ! grep -qFxf below other; then
      echo 'layered-image and another-layered-image: expected a shared layer, found none' >&2
      exit 1
    fi
  '';

  environment = check "environment" (
    each (
      map
        (
          name:
          expectation name ".images[0].config.Env" (
            builtins.toJSON [
              "FROM_PARENT=true"
              "LAST_LAYER=child"
              "FROM_CHILD=true"
            ]
          )
        )
        [
          "environmentVariables"
          "environmentVariablesLayered"
        ]
    )
  );

  architecture = check "architecture" ''
    expect 'architecture of layered-image-with-architecture' \
      ${query "build-image-with-architecture" ".images[0].architecture"} \
      ${query "layered-image-with-architecture" ".images[0].architecture"}
    if [ ${query "bash" ".images[0].architecture"} = \
      ${query "build-image-with-architecture" ".images[0].architecture"} ]; then
      echo 'build-image-with-architecture: expected another architecture than that of bash' >&2
      exit 1
    fi
  '';

  # Images without store paths have none; other images have the whole closure.
  store =
    let
      held = "[.images[0].layers[].store_paths[]] | sort";
      closure = pkgs.closureInfo {
        rootPaths = [
          pkgs.coreutils
          pkgs.hello
        ];
      };
    in
    check "store" ''
      ${expectation "helloOnRootNoStore" held "[]"}
      ${expectation "helloOnRootNoStoreFakechroot" held "[]"}
      sort ${closure}/store-paths > expected
      shown ${images.bulk-layer} | jq -r '${held} | .[]' | diff expected -
    '';

  export = check "export" ''
    tar -tf ${examples.exportBash} > files
    grep -qFx ./bin/bash files
  '';
}
