"""The reference in docs/ leaves nothing out: what is generated, and what is written by hand beside it."""

from __future__ import annotations

import ast
import inspect
import re
from typing import get_args

import pytest
import reference
from reference import options, schemas, sources, tables
from rigs.places import DOCS

import echobench
from echobench.bench.compare.analysis import gate
from echobench.bench.run import verdicts
from echobench.bench.sweep.result import ENDS
from echobench.bench.sweep.search import Outcome
from echobench.bench.verify.outcomes import VERDICTS

FOLDER = DOCS / "reference"


def page(name):
    """A page as Sphinx gets it."""
    return reference.fill((FOLDER / f"{name}.md").read_text())


def section(name, title):
    """What stands below a page's heading of the second level, as long as it goes."""
    return page(name).partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def codes(text):
    """The first cells of a text's tables that are code, without what makes them bold."""
    return re.findall(r"^\| [*]*`([^`]+)`[*]* \|", text, re.MULTILINE)


def test_every_block_is_filled():
    for path in FOLDER.glob("*.md"):
        assert "{generated}" not in page(path.stem), path.name


@pytest.mark.parametrize("words", ["nonsense", "options nonsense", "options", "fields blast twice"])
def test_what_cannot_be_generated_ends_the_build(words):
    with pytest.raises(ValueError, match="nothing can be generated for"):
        reference.fill(f"```{{generated}} {words}\n```")


def test_what_is_written_by_hand_stays():
    text = "# Title\n\n```text\n{generated} options blast\n```\n"
    assert reference.fill(text) == text


@pytest.mark.parametrize("command", sources.COMMANDS)
def test_every_option_of_a_command_is_on_its_page(command):
    terms = re.findall(r"^(`-.+)\n: .", page(command), re.MULTILINE)
    there = [name for term in terms for name in re.findall(r"`(-[^`]+)`", term)]
    for option in sources.COMMANDS[command].params:
        for name in [*option.opts, *option.secondary_opts]:
            assert there.count(name) == 1 or name[0] != "-", name


def test_every_option_of_the_server_is_on_its_page_once():
    text = page("server")
    server = sources.Options()
    names = {name.rstrip("=") for name in server.longOpt} - {"help", "version"}
    assert names == set(options.server_options())
    for name in names:
        assert len(re.findall(rf"^(`-.`, )?`--{name}`( `VALUE`)?\n: .", text, re.MULTILINE)) == 1, name


def test_what_an_option_takes_is_in_the_words_of_its_parser():
    found = options.server_options()
    assert found["port"].startswith("`-p`, `--port` `VALUE`\n")
    assert "Takes a whole number from 0 to 65535. [default: 7]" in found["port"]
    assert "Takes auto or batched or portable. [default: auto]" in found["udp-engine"]
    assert "Takes a number of microseconds from 0 to 1000, or auto or off." in found["spin"]
    assert "Takes a file's name." in found["certificate"]
    assert "Takes an address of this machine." in found["interface"]


def test_what_one_would_type_is_code():
    """Else its quotes become typographic ones, and two hyphens a dash."""
    found = page("compare")
    assert "or `'name=OPTIONS'` with" in found
    assert "that replaces `{host}`: where" in found
    assert "`::` is all IPv6, `0.0.0.0` all IPv4" in page("server")
    assert "needs `--certificate`." in page("server")


def test_every_reason_is_explained():
    """In its docstring, and where users read it."""
    assert set(tables.members(echobench.Reason)) == {reason.name for reason in echobench.Reason}
    assert codes(section("server", "Reasons")) == [reason.value for reason in echobench.Reason]


def test_a_member_without_a_docstring_ends_the_build(monkeypatch):
    monkeypatch.setattr(inspect, "getsource", lambda kind: 'class Reason:\n    A = "a"\n    B = "b"\n    """Said."""\n')
    with pytest.raises(ValueError, match=r"Reason\.A has no docstring"):
        tables.members(echobench.Reason)


def test_every_fault_is_explained():
    found = codes(section("faults", "Faults"))
    assert found == [f"{name}={kind.example}" for name, kind in sources.FAULTS.items()]


def test_every_load_is_there():
    assert codes(section("compare", "Loads")) == list(sources.PROFILES)


def test_every_clause_is_there_by_its_transport():
    for transport in ("tcp", "udp"):
        ids = [each.id for each in sources.CLAUSES if each.transport == transport]
        assert codes(section("clauses", transport.upper())) == ids


@pytest.mark.parametrize("command", sources.SCHEMAS)
def test_every_field_is_there(command):
    """Also of objects in objects: as many rows as there are fields, and each by its name and with its words."""
    rows = re.findall(r"^\| `([^`]+)` \| [a-z ]+ \| (.+) \|$", section("stored-files", command), re.MULTILINE)

    def walk(field):
        for name, each in field.get("properties", {}).items():
            yield name, each["description"]
            yield from walk(each.get("items", each))

    whole = sources.schema(command)
    fields = [*walk(whole), *(pair for each in whole.get("$defs", {}).values() for pair in walk(each))]
    assert sorted(name for name, _ in rows) == sorted(name for name, _ in fields)
    for name, description in fields:
        assert any(row == name and text.startswith(description) for row, text in rows), name


def test_values_that_a_description_does_not_name_are_listed():
    text = schemas.fields("blast")
    assert "| `transport` | string | The transport of the messages. One of `tcp`, `udp`, `tls`. |" in text


def test_every_verdict_of_blast_is_there_with_its_level():
    rooms = {inspect.getmodule(each) for each in verdicts.ALL}
    calls = [
        node for room in rooms for node in ast.walk(ast.parse(inspect.getsource(room))) if isinstance(node, ast.Call)
    ]
    made = [call for call in calls if getattr(call.func, "id", None) == "Verdict"]
    said = [{word.arg: getattr(word.value, "value", None) for word in call.keywords} for call in made]
    assert len(said) == len(verdicts.ALL)
    rows = re.findall(r"^\| `([^`]+)` \| (\w+) \| .+ \| .+ \|$", section("verdicts", "blast"), re.MULTILINE)
    assert sorted(rows) == sorted((each["name"], each["level"]) for each in said)


def test_every_verdict_of_compare_is_there():
    text, _, against = section("verdicts", "compare").partition("### ")
    known = sources.schema("compare")["properties"]["rows"]["items"]["properties"]["verdict"]["enum"]
    assert sorted(codes(text)) == sorted(known)
    assert codes(against) == list(gate.STATUS)


def test_every_outcome_of_sweep_is_there():
    assert codes(section("verdicts", "sweep")) == [*get_args(Outcome), *ENDS]


def test_every_verdict_of_verify_is_there():
    assert codes(section("verify", "Verdicts")) == list(VERDICTS)


def test_every_public_name_is_on_the_page_of_the_api():
    text = page("api")
    for name in set(echobench.__all__) - {"__version__"}:
        assert re.search(rf"^\.\. auto(class|exception|function):: echobench\.{name}(\(.*)?$", text, re.MULTILINE), name
    assert "echobench.__version__" in text
