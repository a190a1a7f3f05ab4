"""docs/exit-codes.md, generated from the codes and what the operator makes of them: `python -m exit_codes_page`."""

import ast
import inspect
from pathlib import Path

from lateen_api import termination
from lateen_api.termination import MEANING, ExitCode
from lateen_operator.process_exit import FailureClass, ProcessExit
from lateen_operator.verdict import classify

PAGE = Path(__file__).parents[1] / "docs" / "exit-codes.md"

_BUDGETS = {
    FailureClass.PLANNED: "`maxPreemptions`",
    FailureClass.INFRASTRUCTURE: "`maxInfrastructureFailures`",
}

_INTRODUCTION = """# Exit codes

This page is generated from the code.

## A trainer process

Codes 40 to 49 are the trainer's own. *Another attempt* says which budget of `spec.recovery` pays for it where the
platform gives no other reason: a pod that was evicted ends with 42, and `maxPreemptions` pays.

| code | name | shown as | meaning | failure class | another attempt |
|---|---|---|---|---|---|
"""

_COMMANDS = """
## Commands

| command | code | meaning |
|---|---|---|
| `lateen run` | 0 | complete |
| | 130, 143, 129 | stopped by Ctrl-C, by SIGTERM, by a closed terminal; the same command goes on |
| | 40 | the job cannot run as it is written, or the folder belongs to another run; nothing was created |
| | 41, 43, 46, … | the code with which the trainer failed |
| `lateen plan` | 40 | the job cannot run as it is written |
| `lateen status`, `logs`, `stop`, `resume` | 1 | the cluster refused or did not answer, or a watched job failed |
| | 40 | what was asked for does not exist |
| | 130 | Ctrl-C |
| `lateen checkpoints --verify` | 46 | a checkpoint is damaged |
| all | 2 | an option or argument is wrong |
| | 1 | an error that no other code names |

Output that cannot be written (a closed or full stdout) ends `lateen plan` and other commands that only print with code
1 and one line on stderr; a pipe whose reader has left, with code 1 alone. A run goes on without its output. An error
for which lateen has no message of its own is one line, too; `LATEEN_TRACEBACK=1` shows where it comes from.
"""


def page() -> str:
    """The page."""
    explained = _explanations()
    rows = [_row(code, explained[code.name]) for code in ExitCode]
    return _INTRODUCTION + "".join(rows) + _COMMANDS


def _row(code: ExitCode, explanation: str) -> str:
    verdict = classify([ProcessExit(process=0, exit_code=code, at=0.0)])
    budget = _BUDGETS.get(verdict.failure_class, "`maxFailures`") if verdict.retry else "no"
    after = "" if code is ExitCode.DONE else budget
    return f"| {int(code)} | `{code.name}` | {MEANING[code]} | {explanation} | {verdict.failure_class} | {after} |\n"


def _explanations() -> dict[str, str]:
    """The text below each member of ExitCode, which Python does not keep."""
    [members] = [node for node in ast.walk(ast.parse(inspect.getsource(termination))) if _is_exit_code(node)]
    names = [node.targets[0].id for node in members.body if isinstance(node, ast.Assign)]
    texts = [" ".join(node.value.value.split()) for node in members.body[1:] if isinstance(node, ast.Expr)]
    return dict(zip(names, texts, strict=True))


def _is_exit_code(node: ast.AST) -> bool:
    return isinstance(node, ast.ClassDef) and node.name == ExitCode.__name__


if __name__ == "__main__":
    PAGE.write_text(page())
