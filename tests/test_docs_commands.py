"""Every command in the documentation is one that the command line takes; those that only read are run."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from autoprec import Study
from autoprec.cli import app
from command_line import autoprec
from tiny_study import write_study

TOP = Path(__file__).parent.parent
PAGES = [TOP / "README.md", TOP / "CONTRIBUTING.md", *(TOP / "docs").rglob("*.md")]
SHELL = {"|", ">", "&&", ";"}
STANDS_FOR = {"TRIAL": "17", "N": "2", "COMMAND": "front"}
READS = {"blocks", "compare", "front", "sensitivity", "show", "studies", "trials"}


def fenced(page: Path) -> Iterator[list[str]]:
    """The commands of a page's examples, as words."""
    for block in re.findall(r"```bash\n(.*?)```", page.read_text(), re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            yield from commands(line)


def named(page: Path) -> Iterator[list[str]]:
    """The commands that a page's text names with options or arguments."""
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    for code in re.findall(r"`([^`]*)`", text):
        yield from (words for words in commands(code.replace("\n", " ")) if len(words) > 1)


def commands(line: str) -> Iterator[list[str]]:
    """The words behind `autoprec` in a line of shell, where it runs autoprec."""
    if not re.match(r"([A-Z_]+=\S+ )?(autoprec|scripts/run) [a-z-]", line):
        return
    words = shlex.split(line, comments=True)
    start = 1 + next(place for place, word in enumerate(words) if word in {"autoprec", "scripts/run"})
    end = next((place for place, word in enumerate(words) if word in SHELL), len(words))
    yield [STANDS_FOR.get(word, word) for word in words[start:end]]


def parse(words: list[str]) -> None:
    """Let the command line parse the words of a command, and run nothing."""
    command: Any = typer.main.get_command(app)
    context = command.make_context("autoprec", list(words))
    while hasattr(command, "commands"):
        rest = [*context._protected_args, *context.args]
        name, command, rest = command.resolve_command(context, rest)
        context = command.make_context(name, rest, parent=context)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(TOP)))
def test_the_command_line_takes_every_command_of_a_page(page: Path) -> None:
    for words in [*fenced(page), *named(page)]:
        try:
            parse(words)
        except typer.Exit:  # --help and the like answer while they are parsed
            continue
        except typer.TyperException as error:
            pytest.fail(f"autoprec {shlex.join(words)}: {error.format_message()}")


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the study `demo`, searched twice."""
    folder = tmp_path_factory.mktemp("work")
    (folder / "studies").mkdir()
    study = write_study(folder / "studies").rename(folder / "studies" / "demo.toml")
    for _ in range(2):
        Study.load(study).search(2)
    return folder


def test_commands_of_the_documentation_that_read_a_study_run(studies: Path) -> None:
    commands = {shlex.join(here(words)) for page in PAGES for words in fenced(page) if words[0] in READS}
    assert len(commands) > 6
    for line in sorted(commands):
        told = autoprec(*shlex.split(line), folder=studies)
        assert told.returncode == 0, f"autoprec {line}: {told.stderr}"


def here(words: list[str]) -> list[str]:
    """A command on the study that is there, and one of its trials."""
    stands_for = {"12": "0", "17": "0", "encoder": "demo", "my_study": "demo@1", "baseline": "demo@2"}
    stands_for["neck.*=int8*"] = "a*=int8*"
    words = [stands_for.get(word, word) for word in words]
    return words if words[0] == "compare" else [word.partition("@")[0] for word in words]
