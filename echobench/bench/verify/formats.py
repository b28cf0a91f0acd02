"""Writes a verification for programs: JSON, CSV, TAP and JUnit XML."""

from __future__ import annotations

import csv
import io
import itertools
import json
from xml.etree import ElementTree

from .outcomes import FAIL, NA, NOTE, OUTCOME, Outcome, Verification
from .peer import endpoint


def as_json(found: Verification) -> str:
    """Write what ``verification.schema.json`` describes."""
    return json.dumps(found.as_dict(), indent=1, allow_nan=False) + "\n"


def as_csv(found: Verification) -> str:
    """Write a line for each outcome, with the fields of ``outcomes`` in ``verification.schema.json``."""
    first = [found.started, found.host, found.port]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["started", "host", "port", *OUTCOME])
    writer.writerows([*first, *(each[name] for name in OUTCOME)] for each in found.as_dict()["outcomes"])
    return text.getvalue()


def as_tap(found: Verification) -> str:
    """Write version 13 of the Test Anything Protocol (testanything.org)."""
    lines = ["TAP version 13", f"1..{len(found.outcomes)}"]
    for number, each in enumerate(found.outcomes, 1):
        result = "not ok" if each.verdict == FAIL else "ok"
        line = f"{result} {number} - {_plain(f'{each.address} {each.clause.id}: {each.clause.title}')}"
        if each.verdict == NA:
            line += f" # SKIP {_plain(each.seen)}"
        lines.append(line)
        if each.verdict == FAIL:  # a YAML block; a JSON string is a YAML string too
            lines += ["  ---", f"  message: {_quoted(each.seen)}", f"  basis: {_quoted(each.clause.basis)}", "  ..."]
        elif each.verdict == NOTE:
            lines.append(f"# note: {each.seen}")
    return "\n".join(lines) + "\n"


def _plain(text: str) -> str:
    """Remove the character that would start a directive."""
    return text.replace("#", "")


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def as_junit(found: Verification) -> str:
    """Write JUnit XML, with a suite for each address and transport."""
    root = ElementTree.Element("testsuites", {"name": "echobench verify", **_counts(found.outcomes)})
    for (address, transport), group in itertools.groupby(found.outcomes, _suite):
        outcomes = tuple(group)
        where = f"{transport} {endpoint(address, found.port)}"
        about = {"name": where, "timestamp": found.started[:19]}
        suite = ElementTree.SubElement(root, "testsuite", {**about, **_counts(outcomes)})
        for each in outcomes:
            case = ElementTree.SubElement(
                suite, "testcase", name=each.clause.id, classname=where, time=f"{each.seconds:.3f}"
            )
            if each.verdict == FAIL:
                failure = ElementTree.SubElement(case, "failure", message=each.seen, type="FAIL")
                failure.text = f"{each.clause.title}\n{each.clause.basis}\n{each.seen}"
            elif each.verdict == NA:
                ElementTree.SubElement(case, "skipped", message=each.seen)
            else:
                ElementTree.SubElement(case, "system-out").text = each.seen
    ElementTree.indent(root)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{ElementTree.tostring(root, encoding="unicode")}\n'


def _suite(each: Outcome) -> tuple[str, str]:
    return each.address, each.clause.transport


def _counts(outcomes: tuple[Outcome, ...]) -> dict[str, str]:
    return {
        "tests": str(len(outcomes)),
        "failures": str(sum(each.verdict == FAIL for each in outcomes)),
        "errors": "0",  # a check that could not be made counts as skipped
        "skipped": str(sum(each.verdict == NA for each in outcomes)),
        "time": f"{sum(each.seconds for each in outcomes):.3f}",
    }
