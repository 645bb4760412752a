"""What the pages show is run: Python code as it stands; commands as far as their names and options go."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import inspect
import json
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

import pssmr
from pssmr import structures
from pssmr.cli.application import app
from pssmr.errors import Error
from pssmr.testing import LocalCluster

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)


def blocks(page: Path, *languages: str) -> list[str]:
    """The code of a page in these languages."""
    return [
        inspect.cleandoc("\n" + text) if indent else text
        for indent, language, text in FENCE.findall(page.read_text())
        if language in languages
    ]


class Everything(structures.Structures):
    """What the pages' clients talk to: the bank of the README, the shop of the tutorial, and all structures."""

    accounts = pssmr.Map[str, int]()
    stock = pssmr.Map[str, int]()

    @pssmr.command(writes=[accounts])
    def transfer(self, source: str, target: str, amount: int) -> int:
        """Always has enough."""
        return 100 - amount

    @pssmr.command(writes=[stock])
    def deliver(self, item: str, amount: int) -> int:
        """As in the tutorial."""
        self.stock[item] = self.stock.get(item, 0) + amount
        return self.stock[item]

    @pssmr.command(writes=[stock])
    def sell(self, item: str, amount: int) -> int:
        """Sells what there is."""
        if self.stock.get(item, 0) < amount:
            raise pssmr.Refused(f"too little {item}")
        return self.deliver(item, -amount)

    @pssmr.query(reads=[stock])
    def left(self, item: str) -> int:
        """As in the tutorial."""
        return self.stock.get(item, 0)


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with LocalCluster(Everything, replicas=1, in_process=True) as running:
        yield running


class Prepared:
    """What the code of a page finds, beside what the page's own code has made."""

    def __init__(self, client: pssmr.Client, async_client: pssmr.AsyncClient) -> None:
        self.names: dict[str, Any] = {
            "pssmr": pssmr,
            "structures": structures,
            "client": client,
            "async_client": async_client,
            "copy_everything": lambda *, fencing_token: fencing_token,
            "__name__": "page",
        }

    async def run(self, code: str, where: str) -> None:
        """Runs a block; `await` may stand at the top, as it does in a notebook."""
        compiled = compile(code, where, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        with contextlib.redirect_stdout(None):
            if compiled.co_flags & inspect.CO_COROUTINE:
                await eval(compiled, self.names)
            else:
                await asyncio.to_thread(exec, compiled, self.names)


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=lambda page: page.name)
async def test_the_python_code_of_a_page_runs(
    page: Path, cluster: LocalCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("DIR", "shop-cluster"):
        (tmp_path / name).symlink_to(cluster.cluster.parent)
    monkeypatch.chdir(tmp_path)
    async with cluster.async_client(timeout=60) as async_client:
        with cluster.client(timeout=60) as client:
            prepared = Prepared(client, async_client)
            for number, code in enumerate(blocks(page, "python")):
                await prepared.run(code, f"{page.name}, block {number}")
            for name, test in list(prepared.names.items()):
                if name.startswith("test_") and inspect.isfunction(test):
                    await asyncio.to_thread(test)


def test_what_the_first_page_calls_gives_what_it_says() -> None:
    page = ROOT / "README.md"
    names: dict[str, Any] = {"__name__": "page"}
    exec(blocks(page, "python")[0], names)
    bank, checked = names["Bank"](), 0
    for command, line in re.findall(r"^(pssmr call .*?)# (.*)$", page.read_text(), re.MULTILINE):
        _, _, _, name, *arguments = shlex.split(command.partition("--cluster")[0])
        result = getattr(bank, name)(*(int(each) if each.isdigit() else each for each in arguments))
        assert str(result) == line.rpartition(" ")[2], command
        checked += 1
    assert checked == 2


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_data_on_a_page_can_be_read(page: Path) -> None:
    for text in blocks(page, "toml"):
        tomllib.loads(text)
    for text in blocks(page, "json"):
        json.loads(text)
    for text in blocks(page, "yaml"):
        list(yaml.safe_load_all(text))


def commands_of(page: Path) -> Iterator[list[str]]:
    """Each use of the `pssmr` command on a page: in blocks, and in running text."""
    text = page.read_text()
    lines = [line for block in blocks(page, "sh") for line in block.replace("\\\n", " ").splitlines()]
    lines += [found for found in re.findall(r"`(pssmr [^`\n]+)`", text) if not found.startswith("pssmr.")]
    for line in lines:
        words = shlex.split(line, comments=True)
        if words[:1] == ["pssmr"]:
            yield words[1:]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_on_a_page_exist_and_have_their_options(page: Path) -> None:
    group: Any = typer.main.get_command(app)
    for words in commands_of(page):
        command = group
        if not words[0].startswith("-"):
            assert words[0] in group.commands, f"{page.name}: pssmr {' '.join(words)}"
            command = group.commands[words[0]]
            if isinstance(command, typer.core.TyperGroup) and len(words) > 1:
                assert words[1] in command.commands, f"{page.name}: pssmr {' '.join(words)}"
                command = command.commands[words[1]]
        known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
        for word in words:
            option = word.partition("=")[0]
            if re.fullmatch(r"--?[a-z][a-z-]*", option) and option != "--help":
                assert option in known, f"{page.name}: pssmr {' '.join(words)}"


def test_a_page_whose_code_fails_is_noticed(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("1. Do:\n\n    ```python\n    1 / 0\n    ```\n\n```sh\npssmr nonsense  # really\n```\n")
    assert blocks(page, "python") == ["1 / 0"]
    assert list(commands_of(page)) == [["nonsense"]]
    with pytest.raises(ZeroDivisionError):
        asyncio.run(Prepared(None, None).run(blocks(page, "python")[0], "page"))  # type: ignore[arg-type]
    assert issubclass(pssmr.Refused, Error)
