"""The chain of `--why`."""

from __future__ import annotations

from nixdock.cli.path_lines import why_lines
from nixdock.cli.screen import PLAIN
from nixdock.face.viewing import view_plan
from nixdock.layering.plan import LayerPlan
from tests.unit.closures import closure_of, edges


def test_a_long_chain_is_not_indented_without_end() -> None:
    count = 1000
    closure = closure_of(edges("; ".join(f"p{i}->p{i + 1}" for i in range(count))))
    view = view_plan(closure, LayerPlan.of(closure, [[info.path] for info in closure]))
    lines = [*why_lines(view, f"p{count}", PLAIN)]
    steps = lines[: lines.index("")]
    assert len(steps) == count + 1
    assert [steps[1][:6], steps[2][:9]] == ["└─ p1 ", "   └─ p2 "]
    assert max(map(len, steps)) < 300
