"""Each code block of a README is one that its program takes: options, params, modules, targets exist."""

from __future__ import annotations

import ast
import itertools
import re
import shlex
import subprocess
from importlib.util import find_spec
from typing import NamedTuple

import click
import pytest
import typer
from dvc.cli.parser import get_main_parser
from ruamel.yaml import YAML

from infocl.cli.main import app
from infocl.config.file import PARAMS_FILE, read_yaml
from pipelines import serve
from pipelines.command_line import app as flows
from tests.workspace import ROOT

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# Programs that the environment does not bring, or whose own tests run them.
OTHERS = {
    "cp",
    "curl",
    "cut",
    "export",
    "git",
    "mkdir",
    "node",
    "npm",
    "pre-commit",
    "sha256sum",
    "source",
    "srun",
    "torchrun",
}
PIPELINES = {command.name for command in flows.registered_commands}


class Block(NamedTuple):
    place: str  # README and line
    language: str
    text: str


def blocks() -> list[Block]:
    listed = subprocess.run(
        ["git", "ls-files", "*README.md", "CONTRIBUTING.md"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [
        Block(f"{name}:{text[: found.start()].count(chr(10)) + 1}", found[1], found[2])
        for name in listed.stdout.splitlines()
        if (text := (ROOT / name).read_text())
        for found in FENCE.finditer(text)
        if found[1]
    ]


def commands(text: str) -> list[list[str]]:
    """The simple commands of a shell script as words, with all that stands in [brackets]."""
    inner = re.findall(r"\$\(([^()]*)\)", text)
    plain = re.sub(r"\$\([^()]*\)", "", text).replace("\\\n", " ")
    found = []
    for line in [*plain.splitlines(), *inner]:
        words = shlex.split(line, comments=True)
        optional = [
            word.strip("[]") if word.startswith("[-") or word.endswith("]") else word for word in words
        ]
        found += _split([word if "=[" in word else new for word, new in zip(words, optional, strict=True)])
    return found


def _split(words: list[str]) -> list[list[str]]:
    parts: list[list[str]] = [[]]
    for word in words:
        if word in ("&&", "|", ";"):
            parts.append([])
        elif parts[-1] or not re.match(r"[A-Za-z_]+=", word):  # not a variable set for the command
            parts[-1].append(word)
    return [part for part in parts if part]


def parse_click(program: click.Command, words: list[str]) -> None:
    context = program.make_context(program.name, list(words))
    if isinstance(program, click.Group):
        name, command, rest = program.resolve_command(context, words)
        assert command is not None, name
        parse_click(command, rest)


def parse_infocl(words: list[str]) -> None:
    group = flows if words[0] in PIPELINES else app
    parse_click(typer.main.get_command(group), words)


def parse_dvc(words: list[str]) -> None:
    try:
        given = get_main_parser().parse_args(words)
    except SystemExit as error:
        pytest.fail(f"dvc {shlex.join(words)}: {error}")
    for override in getattr(given, "set_param", None) or []:
        value = read_yaml(ROOT / PARAMS_FILE)
        *parents, last = override.partition("=")[0].removeprefix("+").split(".")
        for key in parents if override.startswith("+") else [*parents, last]:  # + adds a key
            assert key in value, f"-S {override}: params.yaml has no {key}"
            value = value[key]
    for target in getattr(given, "targets", None) or []:
        assert not target.endswith(".yaml") or (ROOT / target).exists(), target


def parse_python(words: list[str]) -> None:
    assert words[0] == "-m", words
    module, rest = words[1], words[2:]
    assert find_spec(module), module
    if module == "pipelines.serve":
        server = typer.Typer()
        server.command()(serve.main)
        parse_click(typer.main.get_command(server), rest)


def parse_make(words: list[str]) -> None:
    for word in words:
        name, _, given = word.partition("=")
        used = rf"\$\(.*\b{name}\b" if given else f"^{name}:"
        assert re.search(used, (ROOT / "Makefile").read_text(), re.MULTILINE), word


def parse_prefect(words: list[str]) -> None:
    from prefect.cli._app import _app

    command = list(itertools.dropwhile(lambda word: word.startswith("-"), words))  # past global options
    _app.parse_args(command, exit_on_error=False, print_error=False)


def parse_gto(words: list[str]) -> None:
    from gto.cli import app as gto

    parse_click(gto if isinstance(gto, click.Command) else typer.main.get_command(gto), words)


PROGRAMS = {
    "dvc": parse_dvc,
    "gto": parse_gto,
    "infocl": parse_infocl,
    "make": parse_make,
    "prefect": parse_prefect,
    "python": parse_python,
    "python3": parse_python,
}


def check_shell(text: str) -> None:
    subprocess.run(
        ["bash", "-n"], input=re.sub(r"\[(--?\w)|(\w)\](?=\s)", r"\1\2", text), text=True, check=True
    )
    if text.startswith("#!"):
        return
    for name, *words in commands(text):
        assert name in PROGRAMS or name in OTHERS, f"{name} is not known here"
        if name in PROGRAMS:
            PROGRAMS[name](words)


CHECKS = {"bash": check_shell, "python": ast.parse, "yaml": YAML(typ="safe").load}


@pytest.mark.parametrize("block", blocks(), ids=lambda block: block.place)
def test_a_code_block_is_one_that_its_program_takes(block):
    CHECKS[block.language](block.text)
