"""Run a composite action as GitHub's runner does: steps, conditions, inputs, outputs."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

_EXPRESSION = re.compile(r"\$\{\{(.*?)\}\}", re.DOTALL)
# A literal, a function without arguments, a name of a context, or an operator.
_TOKEN = re.compile(r"\s*('(?:[^']|'')*'|cancelled\(\)|[a-zA-Z][\w.-]*|&&|\|\||==|!=|!|\(|\))")


@dataclass
class Job:
    """A job with one step, which uses the action in `action`; `github` is the context.

    A log of all that the steps write is in `log`, and what they did is in `ran`.
    """

    action: Path
    directory: Path
    github: Mapping[str, str]
    env: Mapping[str, str]
    ran: list[str] = field(default_factory=list)
    log: str = ""
    failed: bool = False

    @property
    def summary(self) -> str:
        return self._file("summary").read_text()

    def use(self, **inputs: str) -> dict[str, str]:
        """Run the action with inputs, whose names have `_` for `-`, and return its outputs."""
        action = yaml.safe_load((self.action / "action.yml").read_text())
        given = {name.replace("_", "-"): value for name, value in inputs.items()}
        assert given.keys() <= action["inputs"].keys()
        contexts = {f"github.{name}": value for name, value in self.github.items()}
        for name, about in action["inputs"].items():
            assert name in given or not about.get("required"), name
            value = given.get(name, self._text(about.get("default", ""), contexts))
            contexts[f"inputs.{name}"] = value
        for step in action["runs"]["steps"]:
            contexts |= self._step(step, contexts)
        return {
            name: self._text(about["value"], contexts) for name, about in action["outputs"].items()
        }

    def _step(self, step: Mapping[str, Any], contexts: Mapping[str, str]) -> dict[str, str]:
        condition = step.get("if", "")
        # Without a function that asks for the job's status, a step wants success.
        if self.failed and "cancelled()" not in condition:
            return {}
        if condition and not _evaluated(condition, contexts):
            return {}
        output = self._file("output")
        output.write_text("")
        for name in ("summary", "env", "path"):
            self._file(name).touch()
        assert step["shell"] == "bash"
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
            cwd=self.directory,
            env={
                **self.env,
                **{name: self._text(text, contexts) for name, text in step["env"].items()},
                "CI": "true",
                "GITHUB_ACTIONS": "true",
                "GITHUB_ACTION_PATH": str(self.action),
                "GITHUB_OUTPUT": str(output),
                "GITHUB_STEP_SUMMARY": str(self._file("summary")),
                "GITHUB_WORKSPACE": str(self.directory),
                "RUNNER_TEMP": str(self._file("").parent),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            check=False,
            timeout=500,
        )
        self.ran.append(step["name"])
        self.log += done.stdout
        self.failed = self.failed or done.returncode != 0
        lines = output.read_text().splitlines()
        named = f"steps.{step.get('id')}.outputs."
        return {named + name: value for name, _, value in (line.partition("=") for line in lines)}

    def _file(self, name: str) -> Path:
        temporary = Path(self.env["HOME"]) / "_temp"
        temporary.mkdir(exist_ok=True)
        return temporary / f"_runner_{name}"

    @staticmethod
    def _text(text: object, contexts: Mapping[str, str]) -> str:
        return _EXPRESSION.sub(lambda found: str(_evaluated(found[1], contexts)), str(text))


def _evaluated(expression: str, contexts: Mapping[str, str]) -> Any:
    """Evaluate an expression; what a context does not have is the empty text."""
    python = {"&&": "and", "||": "or", "!": "not", "cancelled()": "False"}
    words = []
    at = 0
    text = expression.strip()
    while at < len(text):
        found = _TOKEN.match(text, at)
        assert found, f"{text[at:]!r} in {expression!r}"
        at = found.end()
        word = found[1]
        is_name = word[0].isalpha() and word not in python
        words.append(repr(contexts.get(word, "")) if is_name else python.get(word, word))
    return eval(" ".join(words), {"__builtins__": {}})


def environment(home: Path, *programs: Path) -> dict[str, str]:
    """Return the environment of a runner, whose PATH begins with the directories `programs`."""
    home.mkdir(exist_ok=True)
    path = os.pathsep.join([*map(str, programs), os.environ["PATH"]])
    return {"HOME": str(home), "XDG_CACHE_HOME": str(home), "PATH": path, "LANG": "C.UTF-8"}
