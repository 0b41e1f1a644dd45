"""The house rules of the package: which module may import which, and what a module must have."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import networkx as nx

ROOT = Path(__file__).parents[2]
LONGEST = 300

# The folders of nixdock and its modules outside of them, each with those that it may import.
# `__init__` is the public face.
MAY_IMPORT = {
    "errors": "",
    "system": "errors",
    "coding": "errors system",
    "oci": "errors system native coding",
    "native": "errors system",
    "tar": "errors system native",
    "nix": "errors system",
    "network": "errors system",
    "stores": "errors system native coding tar nix network",
    "spec": "errors system oci tar nix",
    "layering": "errors system nix",
    "layers": "errors system native coding oci tar nix stores",
    "read": "errors system coding oci tar nix layers",
    "write": "errors system oci tar layers",
    "registry": "errors system coding network oci nix layers read",
    "rootfs": "errors system coding oci tar spec layers read registry",
    "build": "errors system oci tar nix stores spec layering layers read registry rootfs",
    "diff": "errors system oci nix layering read registry",
    "view": "errors system oci nix layering read diff",
    "browse": "errors system view",
    "page": "errors system view",
    "sbom": "errors system oci tar nix spec layering read",
    "policy": "errors system tar layers read diff sbom",
    "provenance": "errors system oci nix spec",
    "merge": "errors system coding oci layers read write registry",
    "transfer": "errors system coding network oci tar layers read write registry",
    "attach": "errors system oci read registry transfer",
    "signing": "errors system oci registry attach provenance",
    "index": "errors system oci layers transfer",
    "runtime": "errors system oci layers read write registry transfer",
    "demo": "errors system oci nix spec",
    "face": "errors system oci tar nix stores spec layering layers read write rootfs build diff"
    " view sbom policy provenance merge registry transfer attach signing index runtime",
    "__init__": "errors nix oci spec layering layers read rootfs build diff view sbom policy"
    " registry transfer attach signing index runtime face",
    "cli": "errors system oci tar nix spec layering read registry diff view browse page sbom"
    " runtime demo __init__",
    "__main__": "cli",
}
# The public face and the command line load modules by name, so that starting is fast.
LOAD_BY_NAME = {"nixdock", "nixdock.cli"}
# Programs, which nothing imports.
PROGRAMS = {"nixdock.__main__", "nixdock.demo.src.rebuild"}
# The one that starts programs, and the program that rebuilds the demo's closure.
START_PROGRAMS = {"nixdock.system.commands", "nixdock.demo.src.rebuild"}
# Packing forks worker processes, and a server the process that packs; a script's process enters its
# namespaces and becomes the script.
FORK = {
    "nixdock.system.children",
    "nixdock.rootfs.rootless.enter",
    "nixdock.rootfs.rootless.isolate",
}


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {module_name(path): path for path in sorted((ROOT / "nixdock").rglob("*.py"))}
TREES = {module: ast.parse(path.read_bytes()) for module, path in FILES.items()}


def imported_names(module: str) -> Iterator[str]:
    """Give all names that a module imports, also in functions and for types alone, in full."""
    parts = module.split(".")
    package = parts if FILES[module].name == "__init__.py" else parts[:-1]
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            yield from (".".join([*above, *filter(None, [node.module]), alias.name])
                        for alias in node.names)  # fmt: skip


def imported_modules(module: str) -> set[str]:
    """Return the modules of nixdock that a module imports."""
    names = {name for name in imported_names(module) if name.partition(".")[0] == "nixdock"}
    return {name if name in FILES else name.rpartition(".")[0] for name in names}


IMPORTS = {module: imported_modules(module) for module in FILES}


def folder(module: str) -> str:
    return module.split(".")[1] if "." in module else "__init__"


def calls(module: str) -> Iterator[tuple[str, list[ast.expr]]]:
    """Give the functions that a module calls, as they are written, and their arguments."""
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node.args


def circles(graph: dict[str, Iterable[str]]) -> list[set[str]]:
    return [each for each in nx.strongly_connected_components(nx.DiGraph(graph)) if len(each) > 1]


def test_imports_go_one_way() -> None:
    assert {folder(module) for module in FILES} == set(MAY_IMPORT), "say what a new folder imports"
    assert [
        f"{module} imports {other}"
        for module, others in IMPORTS.items()
        for other in sorted(others)
        if folder(other) not in {folder(module), *MAY_IMPORT[folder(module)].split()}
    ] == []


def test_nothing_imports_in_circles() -> None:
    assert circles({name: others.split() for name, others in MAY_IMPORT.items()}) == []
    assert circles({module: others - {module} for module, others in IMPORTS.items()}) == []
    assert set().union(*IMPORTS.values()) <= set(FILES)


def test_no_import_is_hidden() -> None:
    loaders = {"importlib.import_module", "import_module", "__import__", "exec", "eval"}
    hide = {module for module in FILES if loaders & {function for function, _ in calls(module)}}
    assert hide <= LOAD_BY_NAME


def test_modules_have_names_of_their_own_in_folders() -> None:
    flat = {path.name for path in (ROOT / "nixdock").glob("*.py")}
    assert flat == {"__init__.py", "__main__.py", "errors.py"}
    names = {module.rpartition(".")[2]: module for module in FILES}
    assert {names[name] for name in names.keys() & sys.stdlib_module_names} <= {"nixdock.__main__"}


def test_modules_are_short() -> None:
    lengths = {module: len(path.read_text().splitlines()) for module, path in FILES.items()}
    # The public face is a list of names, with two lines of code.
    del lengths["nixdock"]
    assert {module: length for module, length in lengths.items() if length > LONGEST} == {}


def test_modules_say_what_they_are_for_and_what_is_public() -> None:
    assert [module for module, tree in TREES.items() if not ast.get_docstring(tree)] == []
    modules = {module for module, path in FILES.items() if path.name != "__init__.py"} - PROGRAMS
    assert [
        module
        for module in sorted(modules)
        if not any(ast.unparse(node).startswith("__all__") for node in TREES[module].body)
    ] == []


def test_values_are_structs_where_these_can_do_what_is_needed() -> None:
    """A dataclass takes thirty times as long to define, whenever a command starts."""
    needed = ("compare=False", "hash=False", "repr=False", "cached_property")
    for module, tree in TREES.items():
        for node in (each for each in ast.walk(tree) if isinstance(each, ast.ClassDef)):
            # With older releases of msgspec, Python 3.13 crashes over structs with a `__dict__`.
            assert "dict" not in {keyword.arg for keyword in node.keywords}, node.name
            if any("dataclass" in ast.unparse(each) for each in node.decorator_list):
                text = ast.unparse(node)
                # The base of `Docker`, which has cached properties.
                is_base = node.name == "DockerLike"
                assert is_base or any(word in text for word in needed), f"{module}.{node.name}"


def test_layers_are_not_asked_for_their_class() -> None:
    assert [
        f"{module}: {ast.unparse(arguments[1])}"
        for module in FILES
        for function, arguments in calls(module)
        if function == "isinstance" and "Layer" in ast.unparse(arguments[1])
    ] == []


def test_one_module_makes_temporary_files_and_directories() -> None:
    """It removes what killed processes leave behind, if only they have made all of it."""
    imported = {module: {n.partition(".")[0] for n in imported_names(module)} for module in FILES}
    using = {module for module in FILES if "tempfile" in imported[module]} - PROGRAMS
    assert using == {"nixdock.system.scratch"}


def test_few_modules_start_processes() -> None:
    imported = {module: {n.partition(".")[0] for n in imported_names(module)} for module in FILES}
    assert {module for module in FILES if "subprocess" in imported[module]} <= START_PROGRAMS
    forks = {"os.fork", "os.system", "os.popen", "os.posix_spawn", "os.execv", "os.execve"}
    become = {module for module in FILES if "os.execvp" in {name for name, _ in calls(module)}}
    assert become <= START_PROGRAMS
    assert {
        module
        for module in FILES
        if "multiprocessing" in imported[module] or forks & {name for name, _ in calls(module)}
    } <= FORK


def test_no_key_lies_in_the_repository() -> None:
    """What is here gets into the source distribution. Tests make keys in temporary directories."""
    assert [each.name for each in ROOT.iterdir() if each.suffix in {".key", ".pem"}] == []
