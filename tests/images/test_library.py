"""The Nix library: arguments, attributes, and what its derivations hold."""

from __future__ import annotations

import json
import re
import tarfile
from pathlib import Path

import pytest

from nixdock.nix.reference_graph import parse_closure
from nixdock.nix.store_path import StorePath
from nixdock.read.opening import open_image
from nixdock.tar.reader import TarReader

from ..nix.harness import NixError
from .conftest import LIBRARY, Library

pytestmark = [pytest.mark.nix, pytest.mark.xdist_group("nix")]

# Of dockerTools, and beside them `buildIndex`, `package`, `packageMeta` and `planFamily`.
LIBRARY_NAMES = [
    "binSh",
    "buildImage",
    "buildImageWithNixDb",
    "buildIndex",
    "buildLayeredImage",
    "buildLayeredImageWithNixDb",
    "buildNixShellImage",
    "caCertificates",
    "examples",
    "exportImage",
    "fakeNss",
    "mergeDrvs",
    "mergeImages",
    "nix-prefetch-docker",
    "package",
    "packageMeta",
    "planFamily",
    "pullImage",
    "shadowSetup",
    "streamLayeredImage",
    "streamNixShellImage",
    "tarsum",
    "tests",
    "usrBinEnv",
]

# Of dockerTools.streamLayeredImage: every argument and its default.
STREAM_DEFAULTS = {
    "tag", "fromImage", "contents", "config", "architecture", "variant", "created", "mtime", "uid",
    "gid", "uname", "gname", "maxLayers", "extraCommands", "fakeRootCommands", "enableFakechroot",
    "includeStorePaths", "includeNixDB", "passthru", "meta", "layeringPipeline", "debug",
}  # fmt: skip


# nixdock's own.
SHARED_DEFAULTS = {
    "annotations", "defaultAnnotations", "inheritConfig", "labels", "layerAnnotations", "perms",
    "provenance",
}  # fmt: skip
OWN_DEFAULTS = {"fromImageName", "fromImageTag", "layering"} | SHARED_DEFAULTS

# Of dockerTools.buildImage.
BUILD_DEFAULTS = {
    "tag", "fromImage", "fromImageName", "fromImageTag", "copyToRoot", "keepContentsDirlinks",
    "config", "architecture", "variant", "extraCommands", "uid", "gid", "runAsRoot", "diskSize",
    "buildVMMemorySize", "created", "compressor", "includeNixDB", "contents", "meta",
}  # fmt: skip


def test_takes_the_arguments_of_docker_tools(library: Library) -> None:
    arguments = library.evaluate("pkgs.lib.functionArgs nixdock.streamLayeredImage")
    assert arguments == {"name": False, **dict.fromkeys(STREAM_DEFAULTS | OWN_DEFAULTS, True)}
    arguments = library.evaluate("pkgs.lib.functionArgs nixdock.buildImage")
    own = SHARED_DEFAULTS | {"format"}
    assert arguments == {"name": False, **dict.fromkeys(BUILD_DEFAULTS | own, True)}


def test_attributes_of_build_image(library: Library) -> None:
    attributes = library.evaluate(
        """let i = nixdock.buildImage {
                 name = "Registry.Example/Some/Hello"; meta.description = "d"; };
               names = map (compressor: (i.override { inherit compressor; }).name)
                 [ "none" "gz" "zstd" ];
           in { inherit (i) imageName; inherit names; description = i.meta.description;
                tag = pkgs.lib.hasPrefix "/nix/store/${i.imageTag}-"
                  (builtins.unsafeDiscardStringContext i.outPath);
                again = (i.override { tag = "Kept"; }).imageTag;
                layer = i.layer.name; arguments = i.buildArgs.name; }"""
    )
    assert attributes == {
        "imageName": "registry.example/some/hello",
        "names": [f"docker-image-Hello.tar{extension}" for extension in ("", ".gz", ".zst")],
        "description": "d",
        "tag": True,
        "again": "Kept",
        "layer": "docker-layer-Hello",
        "arguments": "Registry.Example/Some/Hello",
    }


def test_attributes_of_a_stream(library: Library) -> None:
    attributes = library.evaluate(
        """let s = nixdock.streamLayeredImage {
             name = "Registry.Example/Some/Hello"; passthru.mine = 1; meta.description = "d"; };
           in { inherit (s) imageName isExe mine; drv = s.name; conf = s.conf.name;
                tag = pkgs.lib.hasPrefix "/nix/store/${s.imageTag}-"
                  (builtins.unsafeDiscardStringContext s.conf.outPath);
                description = s.meta.description;
                again = (s.override { tag = "Kept"; }).imageTag;
                exe = pkgs.lib.hasSuffix "-nixdock-stream" "${s.streamScript}"; }"""
    )
    assert attributes == {
        "imageName": "registry.example/some/hello",
        "isExe": True,
        "mine": 1,
        "drv": "stream-Hello",
        "conf": "Hello-conf.json",
        "tag": True,
        "description": "d",
        "again": "Kept",
        "exe": True,
    }


def test_attributes_of_an_image(library: Library) -> None:
    attributes = library.evaluate(
        """let i = nixdock.buildLayeredImage { name = "a/Hello"; };
               names = map (compressor: (i.override { inherit compressor; }).name)
                 [ "none" "gz" "zstd" ];
           in { inherit (i) imageName; inherit names; same = i.imageTag == i.stream.imageTag;
                layout = (i.override { format = "oci-layout"; }).name; }"""
    )
    assert attributes == {
        "imageName": "a/hello",
        "names": ["Hello.tar", "Hello.tar.gz", "Hello.tar.zst"],
        "same": True,
        "layout": "Hello",
    }


def test_attributes_are_all_documented(library: Library) -> None:
    names = library.evaluate(
        """let images = [
               (nixdock.buildImage { name = "x"; })
               (nixdock.buildLayeredImage { name = "x"; })
               (nixdock.streamLayeredImage { name = "x"; })
               (nixdock.buildIndex { name = "x"; images = [ ./. ]; })
               (nixdock.pullImage { imageName = "x"; imageDigest = "sha256:0"; hash = ""; })
             ];
           in pkgs.lib.concatMap (image: builtins.attrNames image.passthru) images"""
    )
    assert isinstance(names, list)
    assert set(names) <= documented_names("caches", "docker-tools", "nix")


def test_arguments_are_all_documented(library: Library) -> None:
    names = library.evaluate(
        """builtins.concatMap (value: builtins.attrNames (pkgs.lib.functionArgs value))
             (builtins.filter pkgs.lib.isFunction (builtins.attrValues nixdock))"""
    )
    assert isinstance(names, list)
    assert set(names) <= documented_names("docker-tools", "nix")


def documented_names(*pages: str) -> set[str]:
    texts = [(LIBRARY.parent / "docs" / f"{page}.md").read_text() for page in pages]
    return set(re.findall(r"`(\w+)`", "".join(texts)))


def test_nested_lists_and_null_in_contents(library: Library) -> None:
    """As symlinkJoin and Nix's own lists in the environment of a builder take them."""
    layered = """(nixdock.streamLayeredImage {{ name = "x"; contents = {}; }}).conf"""
    flat = library.instantiated(layered.format("[ pkgs.hello pkgs.bash ]"))
    nested = "[ [ pkgs.hello null ] (pkgs.lib.optionals false [ 1 ]) [ [ pkgs.bash ] ] null ]"
    assert library.instantiated(layered.format(nested)) == flat
    empty = library.instantiated(layered.format("[ ]"))
    assert library.instantiated(layered.format("null")) == empty
    built = """(nixdock.buildImage {{ name = "x"; copyToRoot = {}; }}).layer"""
    assert library.instantiated(built.format(nested)) == library.instantiated(
        built.format("[ pkgs.hello pkgs.bash ]")
    )


def test_labels_of_the_config_may_be_null(library: Library) -> None:
    image = (
        'nixdock.streamLayeredImage { name = "x"; config.Labels = null; meta.description = "y"; }'
    )
    conf = json.loads(library.build(f"({image}).conf").read_bytes())
    assert conf["annotations"]["org.opencontainers.image.description"] == "y"


def test_an_image_passes_on_the_attributes_of_its_stream(library: Library) -> None:
    """All but the one that says that the result is a program."""
    found = library.evaluate(
        """let i = nixdock.buildLayeredImage {
                 name = "x"; passthru = { mine = 1; tests.runs = pkgs.hello; }; };
               s = nixdock.buildNixShellImage { drv = pkgs.hello; };
           in { inherit (i) mine; tests = i.tests.runs == pkgs.hello; again = i.passthru.mine;
                overridden = (i.override { tag = "t"; }).mine;
                same = i.conf == i.stream.conf && i.streamScript == i.stream.streamScript;
                shell = s.conf == s.stream.conf;
                programs = [ (i.isExe or false) (s.isExe or false) i.stream.isExe ]; }"""
    )
    assert found == {
        "mine": 1,
        "again": 1,
        "overridden": 1,
        "tests": True,
        "same": True,
        "shell": True,
        "programs": [False, False, True],
    }


@pytest.mark.parametrize("builder", ["streamLayeredImage", "buildLayeredImage"])
def test_attributes_of_the_caller_win_over_programs(library: Library, builder: str) -> None:
    """As with dockerTools, whose images have no programs that could hide them."""
    names = ["check", "push", "run", "pushRemote", "updatePlan", "imageTag"]
    passthru = " ".join(f'{name} = "mine";' for name in names)
    found = library.evaluate(
        f"""let i = nixdock.{builder} {{ name = "x"; tag = "t"; passthru = {{ {passthru} }}; }};
            in {{ inherit (i) {" ".join(names)}; load = i.load.name; }}"""
    )
    assert found == dict.fromkeys(names, "mine") | {"imageTag": "t", "load": "load-x"}


@pytest.mark.parametrize("builder", ["buildLayeredImage", "buildImage"])
def test_programs_compress_layers_as_the_file_does(library: Library, builder: str) -> None:
    """Before the user's own options, which win. Layers in a docker-archive are not compressed."""
    found = library.evaluate(
        f"""let
          compressed = nixdock.{builder} {{
            name = "x"; format = "oci-layout"; compressor = "zst"; }};
          archive = nixdock.{builder} {{ name = "x"; compressor = "zstd"; }};
          programs = {{ inherit (compressed) copyTo copyToRegistry push pushRemote serve; }};
          others = {{
            inherit (compressed) load run;
            archived = archive.push; archivedRemote = archive.pushRemote; }};
          options = program: builtins.elemAt (builtins.match
            ".*/bin/nixdock [a-z]+ [^ ]*[.]json(.*@.)\n+" program.text) 0;
        in builtins.mapAttrs (_: options) (programs // others)"""
    )
    compressed = ["copyTo", "copyToRegistry", "push", "pushRemote", "serve"]
    others = ["archived", "archivedRemote", "load", "run"]
    assert found == {
        **dict.fromkeys(compressed, ' --compression zstd "$@"'),
        **dict.fromkeys(others, ' "$@"'),
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ('compressor = "xz";', "compressor must be one of: .estargz gz none zstd zstd:chunked."),
        ("maxLayers = 1;", "maxLayers must be greater than 1"),
        ('format = "vhd";', "format must be one of: .*, not vhd"),
    ],
)
def test_refuses(library: Library, arguments: str, message: str) -> None:
    expression = f'(nixdock.buildLayeredImage {{ name = "x"; {arguments} }}).drvPath'
    with pytest.raises(NixError, match=message):
        library.evaluate(expression)


def test_overlay_adds_the_library(library: Library) -> None:
    names = library.nix.evaluate(
        f"builtins.attrNames (pkgs.extend (import {LIBRARY}/overlay.nix)).nixdock"
    )
    assert names == LIBRARY_NAMES


def test_an_overlay_takes_the_place_of_docker_tools(library: Library) -> None:
    """Images are the same by either name; what nixdock has no namesake for stays."""
    found = library.evaluate(
        f"""let
          before = _: _: {{ dockerTools = {{ buildImage = "old"; shellScript = "old"; }}; }};
          overlay = import {LIBRARY}/docker-tools-overlay.nix;
          after = (pkgs.extend before).extend overlay;
          image = tools: (tools.buildImage {{ name = "x"; copyToRoot = pkgs.busybox; }}).drvPath;
        in {{
          same = image after.dockerTools == image nixdock && image after.nixdock == image nixdock;
          examples = after.dockerTools.examples.bash.drvPath == nixdock.examples.bash.drvPath;
          inherit (after.dockerTools) shellScript;
          names = builtins.attrNames after.dockerTools;
          prefetch = after.nix-prefetch-docker.drvPath == nixdock.nix-prefetch-docker.drvPath;
          alone = (pkgs.extend overlay).dockerTools ? buildImage;
        }}"""
    )
    assert found == {
        "same": True,
        "examples": True,
        "shellScript": "old",
        "names": sorted([*LIBRARY_NAMES, "override", "shellScript"]),
        "prefetch": True,
        "alone": True,
    }


def test_an_override_of_docker_tools_stays_nixdock(library: Library) -> None:
    """With the given packages in the place of those that nixdock runs or puts into images."""
    found = library.evaluate(
        f"""let
          before = _: _: {{ dockerTools.override = _: {{ buildImage = "old"; }}; }};
          overlay = import {LIBRARY}/docker-tools-overlay.nix;
          tools = ((pkgs.extend before).extend overlay).dockerTools;
          fakeroot = pkgs.hello // {{ name = "mine"; }};
          inputs = tools: map (input: input.name)
            (tools.buildImage {{ name = "x"; runAsRoot = "true"; }}).layer.nativeBuildInputs;
          image = tools: (tools.buildLayeredImage {{ name = "x"; }}).drvPath;
          first = tools.override {{ inherit fakeroot; }};
        in {{
          same = image (tools.override {{ }}) == image nixdock;
          replaced = builtins.elem "mine" (inputs first);
          kept = builtins.elem "mine"
            (inputs (first.override (old: {{ skopeo = old.fakeroot; }})));
          contents = (tools.override {{ bashInteractive = pkgs.busybox; }}).binSh != tools.binSh;
          package = (tools.override {{ libdeflate = pkgs.hello; }}).package != tools.package;
          derivations = tools ? overrideDerivation;
        }}"""
    )
    assert found == {
        "same": True,
        "replaced": True,
        "kept": True,
        "contents": True,
        "package": True,
        "derivations": False,
    }


def test_cross_builds_run_programs_of_the_build_platform(library: Library) -> None:
    """Also for a package set that is not spliced, such as the argument of an overlay."""
    expression = f"""let
        host = name: throw "${{name}} of the host platform runs in a build";
        cross = pkgs.extend (_: _: {{ buildPackages = pkgs; }}
          // pkgs.lib.genAttrs [ "fakeroot" "skopeo" "jq" ] host);
        tools = import {LIBRARY} {{ pkgs = cross; }};
        base = tools.pullImage {{ imageName = "x"; imageDigest = "sha256:0"; hash = ""; }};
      in map (drv: drv.drvPath) [
        (tools.buildImage {{ name = "x"; runAsRoot = "true"; }})
        (tools.buildLayeredImage {{ name = "x"; fakeRootCommands = "true"; fromImage = base; }})
        tools.tests.dates
        tools.nix-prefetch-docker
      ]"""
    assert len(library.nix.evaluate(expression)) == 4


# Of dockerTools' examples: all that need neither the Internet nor NixOS.
EXAMPLES = [
    "another-layered-image", "bash", "bashLayeredUncompressed", "bashLayeredWithUser",
    "bashLayeredZstdCompressed", "bashNoTag", "bashNoTagLayered", "bashNoTagStreamLayered",
    "bashUncompressed", "bashZstdCompressed", "build-image-with-architecture",
    "build-image-with-path", "bulk-layer", "cross", "editors", "environmentVariables",
    "environmentVariablesLayered", "environmentVariablesParent", "exportBash", "filesInStore",
    "helloOnRoot", "helloOnRootNoStore", "helloOnRootNoStoreFakechroot", "image-with-certs",
    "imageViaFakeChroot", "layered-bulk-layer", "layered-image",
    "layered-image-with-architecture", "layered-image-with-path", "layered-on-top",
    "layered-on-top-layered", "layeredImageWithFakeRootCommands", "layeredStoreSymlink",
    "layersOrder", "layersUnpackOrder", "mergeVaryingCompressor", "mergedBashAndRedis",
    "mergedBashFakeRoot", "mergedBashNoTagAndRedis", "nginx", "nginxStream", "nix", "nix-layered",
    "nix-shell-basic", "nix-shell-build-derivation", "nix-shell-command", "nix-shell-hook",
    "nix-shell-inputs", "nix-shell-nonexistent-home", "nix-shell-pass-as-file", "nix-shell-run",
    "nix-shell-writable-home", "nixLayered", "no-store-paths", "prefixedImage",
    "prefixedLayeredImage", "redis", "runAsRootExtraCommands", "runAsRootParentImage",
    "two-layered-image", "unstableDate", "unstableDateLayered",
]  # fmt: skip


def test_has_the_examples_of_docker_tools(library: Library) -> None:
    # Beside them, it has one of what dockerTools can't do.
    names = library.evaluate("builtins.attrNames nixdock.examples")
    assert names == sorted([*EXAMPLES, "index"])


def test_takes_pkgs_by_name(library: Library) -> None:
    names = library.nix.evaluate(f"builtins.attrNames (import {LIBRARY} {{ inherit pkgs; }})")
    assert names == LIBRARY_NAMES


def test_the_image_is_reproducible(library: Library) -> None:
    expression = """nixdock.buildLayeredImage {
      name = "check"; contents = [ pkgs.coreutils ]; extraCommands = "mkdir -m 1777 tmp";
      config.Cmd = [ "${pkgs.hello}/bin/hello" ]; compressor = "%s"; format = "%s"; }"""
    for compressor, form in (("gz", "docker-archive"), ("zstd", "archive"), ("none", "oci-layout")):
        library.build(expression % (compressor, form))
        library.build(expression % (compressor, form), "--check")


def test_a_binary_cache_may_have_an_image(library: Library, tmp_path: Path) -> None:
    """A machine that can't build for Linux, or lacks the closure, fetches what another built."""
    image = """nixdock.buildLayeredImage {
      name = "cached"; contents = [ pkgs.hello nixdock.binSh nixdock.fakeNss ]; }"""
    stream = "(IMAGE).stream".replace("IMAGE", image)
    paths = [library.build(image), library.build(stream)]
    cache = f"file://{tmp_path}/cache"
    # The closures have all of Python: to compress them would take a minute.
    to = ("--to", f"{cache}?compression=none")
    library.nix.nix("copy", "--no-check-sigs", *to, *map(str, paths))
    bytes_of = paths[0].read_bytes()
    library.nix.store("--delete", *map(str, paths))
    options = ("--option", "require-sigs", "false", "--max-jobs", "0")
    from_cache = ("--option", "substituters", cache, *options)
    assert library.build(image, *from_cache).read_bytes() == bytes_of
    assert library.build(stream, *from_cache) == paths[1]


def test_the_configs_closure_is_in_the_image_and_its_file_is_not(library: Library) -> None:
    conf = library.build(
        """(nixdock.streamLayeredImage {
             name = "x"; config.Env = [ "H=${pkgs.hello}" ]; contents = [ pkgs.busybox ];
             extraCommands = "ln -s ${pkgs.tzdata}/share tz"; }).conf"""
    )
    paths = [Path(p) for layer in json.loads(conf.read_text())["store_layers"] for p in layer]
    assert sorted(paths) == sorted(library.closure_of("[ pkgs.hello pkgs.busybox pkgs.tzdata ]"))


def test_extra_commands_are_a_script(library: Library) -> None:
    """Quotes, dollars and parentheses survive, and files can be made and changed."""
    image = library.build(
        """nixdock.buildLayeredImage {
             name = "x"; compressor = "none"; includeStorePaths = false;
             extraCommands = ''
               v="it's (a) $((1 + 1))"
               echo "$v" '"quoted" $v' > "file with space"
               mkdir -m 1777 tmp
               mkdir -m 0700 secret
             ''; }"""
    )
    with tarfile.open(image) as archive:
        layer = archive.extractfile("000/layer.tar")
        assert layer is not None
        with tarfile.open(fileobj=layer) as tar:
            modes = {member.name: member.mode for member in tar}
            content = tar.extractfile("/file with space")
            assert content is not None
            assert content.read() == b'it\'s (a) 2 "quoted" $v\n'
    # tarfile takes the slash off the root.
    assert modes == {"": 0o755, "/file with space": 0o644, "/secret": 0o700, "/tmp": 0o1777}


def test_failing_extra_commands_fail_the_build(library: Library) -> None:
    with pytest.raises(NixError, match="extra_commands failed with exit status 7"):
        library.build('nixdock.buildLayeredImage { name = "x"; extraCommands = "exit 7"; }')


def test_uid_and_times_reach_the_store_layers(library: Library) -> None:
    image = library.build(
        """nixdock.buildLayeredImage {
             name = "x"; compressor = "none"; contents = [ pkgs.busybox ]; tag = "T.1";
             uid = 12; gid = "34"; uname = "u"; gname = "g"; mtime = "2001-02-03T04:05:06Z";
             created = "2020-01-01T00:00:00+01:00"; architecture = "arm64"; variant = "v8"; }"""
    )
    with tarfile.open(image) as archive:
        manifest = archive.extractfile("manifest.json")
        assert manifest is not None
        (entry,) = json.load(manifest)
        config_file = archive.extractfile(entry["Config"])
        assert config_file is not None
        config = json.load(config_file)
        layer = archive.extractfile(entry["Layers"][0])
        assert layer is not None
        with tarfile.open(fileobj=layer) as tar:
            owners = {(m.uid, m.gid, m.uname, m.gname, m.mtime) for m in tar}
    assert entry["RepoTags"] == ["x:T.1"]
    assert config["created"] == "2019-12-31T23:00:00Z"
    assert (config["architecture"], config["variant"]) == ("arm64", "v8")
    assert owners == {(12, 34, "u", "g", 981173106)}


def with_nixpkgs(library: Library) -> tuple[str, ...]:
    return ("--override-input", "nixpkgs", f"path:{library.nix.pkgs}", "--no-write-lock-file")


def test_the_flake_builds_with_its_nixpkgs_overridden(library: Library, flake: str) -> None:
    override = with_nixpkgs(library)
    shown = json.loads(library.nix.nix("flake", "show", "--json", *override, flake))
    # Newer versions of Nix show the outputs in a tree of inventory.
    outputs = shown.get("inventory", shown)
    assert set(outputs) >= {
        *("apps", "checks", "devShells", "lib", "overlays", "packages", "templates")
    }
    names = library.nix.nix(
        "eval", "--json", *override, f"{flake}#lib.x86_64-linux", "--apply", "builtins.attrNames"
    )
    assert "buildLayeredImage" in json.loads(names)
    library.nix.nix("build", "--no-link", *override, f"{flake}#checks.x86_64-linux.image")
    helped = library.nix.nix("run", *override, flake, "--", "--help")
    assert "Turn Nix closures into container images" in helped


def test_nix_finds_nothing_wrong_in_the_flake(library: Library, flake: str) -> None:
    """All outputs evaluate, and apps have the metadata that newer versions of Nix ask for."""
    log = library.nix.log("nix", "flake", "check", "--no-build", *with_nixpkgs(library), flake)
    warnings = [line for line in log.splitlines() if line.startswith("warning:")]
    assert [
        text for text in warnings if "lock file" not in text and "output 'lib'" not in text
    ] == []
    app = f"{flake}#apps.x86_64-linux.default.meta.description"
    described = library.nix.nix("eval", "--raw", *with_nixpkgs(library), app)
    assert described == "Turn a Nix closure into container images"


def test_scripts_as_root_run_in_the_sandbox(library: Library) -> None:
    image = library.build(
        """nixdock.buildImage {
             name = "x"; copyToRoot = pkgs.busybox;
             runAsRoot = "#!/bin/busybox sh\nmkdir /a; chown 12:13 /a; chmod 4711 /a";
           }"""
    )
    with open_image(image) as opened:
        (layer,) = opened.images[0].layers
        with layer.open_tar() as stream:
            members = {member.name.strip(b"/"): member for member in TarReader(stream)}
    made = members[b"a"]
    assert (made.uid, made.gid, made.mode & 0o7777) == (12, 13, 0o4711)


def test_graphs_are_read_in_each_form_of_nix(library: Library) -> None:
    """Also without the option, which only new versions of Nix have and want to be given."""
    hello = library.nix.build("pkgs.hello")
    expected = {str(path) for path in library.nix.closure(hello)}
    for option in ((), ("--json-format", "1"), ("--json-format", "2")):
        try:
            graph = library.nix.nix("path-info", "--json", "--recursive", *option, hello)
        except NixError as error:
            assert option
            assert "json-format" in str(error)
        else:
            closure = parse_closure(graph.encode())
            assert {str(info.path) for info in closure} == expected
            assert closure[StorePath(hello)].nar_hash is not None
