"""Every program of the course shows what its chapter says, and every solution solves its exercise."""

from __future__ import annotations

import ast
import inspect
import os
import re
import signal
import subprocess
import sys

import attrs
import pytest
import reference
from rigs import faulty
from rigs.places import DOCS

from echobench.bench.learn.chapters import chapters
from echobench.bench.learn.grading import grade
from echobench.bench.learn.running import Running
from echobench.bench.verify.clauses import CLAUSES

COURSE = chapters()
LONG = 20.0  # seconds that a good program has, on a busy machine

WIDE = 90  # columns of a code block
NAMES = ("server", "mended", "closed", "step_*")
SHOWN = {path for name in NAMES for path in DOCS.glob(f"examples/course/*/{name}.py")}

PROGRAMS = [(chapter, each) for chapter in COURSE for each in chapter.programs if each.checks]
EXERCISES = [(chapter, each) for chapter in COURSE for each in chapter.exercises]


def shows(chapter, program, file):
    """Check a file as a reader would, with more patience for what must be green."""
    if not program.here:
        pytest.skip(f"{file.name} is for {program.platform}")
    patient = [attrs.evolve(each, timeout=LONG) if each.verdict == "green" else each for each in program.checks]
    for found in grade(chapter, attrs.evolve(program, checks=patient), file):
        said = f"{found.check.name}: {found.seen}\n{found.output}"
        assert ("green" if found.green else "red") == found.check.verdict, said
        assert re.search(found.check.says, found.seen), said


def named(value):
    return value.name if hasattr(value, "folder") else value.file if hasattr(value, "file") else value.program.file


@pytest.mark.slow
@pytest.mark.parametrize(("chapter", "program"), PROGRAMS, ids=named)
def test_a_program_shows_what_its_chapter_says(chapter, program):
    shows(chapter, program, chapter.folder / program.file)


@pytest.mark.slow
@pytest.mark.parametrize(("chapter", "exercise"), EXERCISES, ids=named)
def test_an_exercise_has_something_to_mend(chapter, exercise):
    assert [each for each in exercise.program.checks if each.verdict == "red"]
    shows(chapter, exercise.program, chapter.folder / exercise.program.file)


@pytest.mark.slow
@pytest.mark.parametrize(("chapter", "exercise"), EXERCISES, ids=named)
def test_a_solution_solves_its_exercise(chapter, exercise):
    green = [attrs.evolve(each, verdict="green", says="") for each in exercise.program.checks]
    shows(chapter, attrs.evolve(exercise.program, checks=green), chapter.folder / exercise.solution)


@pytest.mark.parametrize("chapter", COURSE, ids=named)
def test_a_chapter_is_whole(chapter):
    """It has a page, all files that its data name and no others, and a mended server of the zoo."""
    page = reference.fill((DOCS / "course" / f"{chapter.name}.md").read_text())
    assert page.startswith(f"# {chapter.number}. {chapter.title}\n")
    assert chapter.question in page
    for each in chapter.exercises:
        assert f"### {each.number}. {each.title}\n" in page
        assert f"$ echobench learn {chapter.number} --check exercise_{each.number}.py\n" in page
    checks = [check for each in (*chapter.programs, *(e.program for e in chapter.exercises)) for check in each.checks]
    named = {each.file for each in chapter.programs} | {each.probe or each.run for each in checks} - {None}
    named |= {each.program.file for each in chapter.exercises} | {each.solution for each in chapter.exercises}
    assert {path.name for path in chapter.folder.glob("*.py")} == named
    assert len(chapter.exercises) == 3
    assert [each for each in chapter.exercises if each.zoo]


@pytest.mark.parametrize("clause", [each.id for each in CLAUSES if not each.id.startswith("udp-size-")])
def test_the_course_says_which_line_makes_a_clause_green(clause):
    named = re.compile(rf"[*`]{clause}[*`]")
    real = [path.read_text().partition("## In the real server")[2] for path in DOCS.glob("course/[0-9]*.md")]
    assert any(named.search(text.partition("## Every clause")[0]) for text in real), "in a chapter of its own"
    table = (DOCS / "course/13-many-cores.md").read_text().partition("## Every clause")[2]
    assert named.search(table), "in the table at the end"


@pytest.mark.parametrize("path", sorted(SHOWN), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_page_shows_a_program_without_scrolling(path):
    """On a desktop; docs/_static/code.css has the size of the letters."""
    assert not [line for line in path.read_text().splitlines() if len(line) > WIDE]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the probe reads /proc")
def test_a_crowd_waits_for_a_server_that_has_no_time():
    """However long that is: it is counted when it does nothing more, and not when it could not do anything."""
    folder = DOCS / "examples/course/02-threads"
    with Running(folder / "mended.py") as server:
        os.kill(server.pid, signal.SIGSTOP)
        command = [sys.executable, str(folder / "crowd.py"), str(server.port), str(server.pid)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as crowd:
            with pytest.raises(subprocess.TimeoutExpired):
                crowd.wait(3)
            os.kill(server.pid, signal.SIGCONT)
            said, _ = crowd.communicate(timeout=100)
    assert said.startswith("1,000 idle clients: 501 threads")


def test_a_difference_is_that_of_two_programs():
    shown = reference.generate("difference", "01-blocking", "server.py", "mended.py").splitlines()
    assert (shown[0], shown[-1]) == ("```diff", "```")
    assert "-            serve(client)" in shown
    assert "+            threading.Thread(target=serve, args=[client], daemon=True).start()" in shown
    assert not [line for line in shown if line.startswith(("---", "+++", "@@", '-"""', '+"""'))]


@pytest.mark.parametrize("chapter", COURSE, ids=named)
def test_programs_are_short_enough_to_read(chapter):
    for program in chapter.programs:
        assert len((chapter.folder / program.file).read_text().splitlines()) <= 80, program.file


@pytest.mark.parametrize(("chapter", "exercise"), [pair for pair in EXERCISES if pair[1].zoo], ids=named)
def test_a_server_of_the_zoo_is_the_one_of_our_tests(chapter, exercise):
    """Its function, if it is one, has the same statements here and there."""
    theirs = getattr(faulty, exercise.zoo)
    if inspect.isfunction(theirs):
        tree = ast.parse((chapter.folder / exercise.program.file).read_text())
        (ours,) = (each for each in tree.body if getattr(each, "name", "") == exercise.zoo)
        (there,) = ast.parse(inspect.getsource(theirs)).body
        assert ast.dump(ours) == ast.dump(there)
