"""The documentation: it builds as a site, and what it shows exists and is run."""

import ast
import functools
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cli_page
import click
import documented
import exit_codes_page
import pytest
from documented import PAGES, Command, commands, jobs
from documented_commands import COVERAGE, Coverage
from lateen_api.cli import main
from lateen_api.discriminated import VARIANTS
from lateen_api.schema import job_schema
from lateen_api.validation import validate_job

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
COMMANDS = [command for page in PAGES for command in commands(page)]
CODE = [path for folder in ("crds", "operator", "trainer") for path in sorted((ROOT / folder).rglob("*.py"))]

PRIVATE_WORDS = ("anew", "whoever", "nobody", "somebody", "mend", "mended", "stations?", "told", "the house")
"""Words that the project's vocabulary replaces."""


def test_the_site_builds_without_a_broken_link_or_anchor(tmp_path: Path):
    pytest.importorskip("material", reason="the site is built by the extra `docs`: make setup")
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", "tests/site/mkdocs.yml", "-d", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    pages = [path for path in PAGES if path.is_relative_to(DOCS)]
    assert all((tmp_path / path.relative_to(DOCS)).with_suffix(".html").exists() for path in pages)


@pytest.mark.parametrize("page", [path for path in PAGES if not path.is_relative_to(DOCS)], ids=str)
def test_links_of_pages_outside_the_site_exist(page: Path):
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
        assert "://" in target or (page.parent / target).exists(), target


@pytest.mark.parametrize("module", [cli_page, exit_codes_page])
def test_generated_pages_are_current(module):
    """By a process of its own: click remembers a command's help option from its first use, here by another test."""
    program = f"import sys, {module.__name__} as page; sys.stdout.write(page.page())"
    made = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT / "tests"
    )
    assert module.PAGE.read_text() == made.stdout, "run `make crd`"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_block_has_a_language(page: Path):
    """Else a command could hide from the tests below."""
    assert documented.languages(page) <= {"bash", "yaml", "json", "text"}


@pytest.mark.parametrize(("name", "job"), [*jobs()], ids=lambda value: value if isinstance(value, str) else "")
def test_jobs_of_pages_have_fields_that_exist(name: str, job: dict):
    validate_job({**job, "metadata": {"name": "job"}}, name)


def covering(command: Command) -> Coverage | None:
    page = command.page.as_posix()
    return next(
        (one for one in COVERAGE if one.page in page and re.fullmatch(one.pattern, command.text)),
        None,
    )


def test_every_command_is_run_by_a_test_or_has_a_reason():
    uncovered = [f"{command.page.name}: {command.text}" for command in COMMANDS if covering(command) is None]
    assert not uncovered, "add them to tests/documented_commands.py"
    assert len(COMMANDS) > 60


def test_every_entry_covers_a_command():
    used = {covering(command) for command in COMMANDS}
    assert [one.pattern for one in COVERAGE if one not in used] == []


@pytest.mark.parametrize("entry", COVERAGE, ids=lambda entry: entry.pattern[:40])
def test_the_test_that_an_entry_names_exists(entry: Coverage):
    assert bool(entry.test) != bool(entry.reason)
    if entry.test:
        file, _, function = entry.test.partition("::")
        assert f"def {function}" in (ROOT / file).read_text()


@pytest.mark.parametrize(
    "command",
    [c for c in COMMANDS if re.match(r"(\.venv/bin/)?lateen ", c.text)],
    ids=lambda command: command.text[:60],
)
def test_commands_and_options_of_lateen_exist(command: Command):
    arguments = shlex.split(command.text.partition(" | ")[0])[1:]
    found: click.Command = main
    context = click.Context(main, info_name="lateen")
    while isinstance(found, click.Group):
        name = arguments.pop(0)
        inner = found.get_command(context, name)
        assert inner is not None, name
        found, context = inner, click.Context(inner, info_name=name, parent=context)
    # Raises for an unknown option or one that lacks its value.
    found.make_parser(context).parse_args(arguments)


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.text.startswith("make ")], ids=lambda c: c.text)
def test_targets_of_make_exist(command: Command):
    target = command.text.split()[1]
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


def test_files_that_commands_and_pages_name_exist():
    named = re.compile(
        r"(?<![\w/.-])((?:docs|charts|images|tests|crds|operator|trainer)/[\w./-]+\.(?:py|md|ya?ml|Dockerfile))"
    )
    missing = {
        f"{page.name}: {path}"
        for page in PAGES
        for path in named.findall(page.read_text())
        if not (ROOT / path).exists()
    }
    assert not missing


@functools.cache
def texts_of_the_code() -> str:
    """All string literals, joined where Python joins them; a gap in an f-string is one character."""
    return "\n".join(
        _literal(node) for path in CODE for node in ast.walk(ast.parse(path.read_text())) if _literal(node)
    )


def _literal(node: ast.AST) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(part.value if isinstance(part, ast.Constant) else "\0" for part in node.values)
    return ""


def messages() -> Iterator[str]:
    """The quoted messages of the page: the first cell of each row."""
    for row in (DOCS / "troubleshooting.md").read_text().splitlines():
        if row.startswith("| `"):
            yield row.split("`")[1]


@pytest.mark.parametrize("message", [*messages()])
def test_a_quoted_message_is_in_the_code(message: str):
    if message in ("exceeded quota", "violates PodSecurity", "failed calling webhook", "in API group"):
        # The API server's own words, by which lateen recognises them.
        assert message in (ROOT / "operator/lateen_operator/cluster/refusals.py").read_text()
    for part in message.split(" … "):
        assert part in texts_of_the_code()


def test_fields_that_the_page_on_levanter_names_exist():
    page = (DOCS / "from-levanter.md").read_text()
    known = set(_fields(job_schema()["properties"]["spec"], "spec"))
    named = set(re.findall(r"`(spec\.[\w.]+)", page))
    assert named and named <= known


def _fields(schema, path: str) -> Iterator[str]:
    for inner in (schema, *schema.get(VARIANTS, {}).values()):
        for name, field in inner.get("properties", {}).items():
            yield f"{path}.{name}"
            yield from _fields(field, f"{path}.{name}")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_use_the_words_of_the_vocabulary(page: Path):
    found = re.findall(rf"\b(?:{'|'.join(PRIVATE_WORDS)})\b", page.read_text(), re.IGNORECASE)
    assert found == []
