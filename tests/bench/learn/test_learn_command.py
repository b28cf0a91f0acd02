"""echobench learn: what it lists, copies and grades, and how it refuses what makes no sense."""

from __future__ import annotations

import os

import pytest
from click.testing import CliRunner

from echobench.bench.learn import chapters as module
from echobench.bench.learn.chapters import ChapterError, Check, chapters, read
from echobench.bench.learn.command import learn

CHAPTER = """
title = "A title"
question = "Why?"
programs = [{ file = "server.py", about = "it serves", checks = [{ clause = "tcp-answer", timeout = 2 }] }]
[[exercises]]
title = "Mend it"
text = "Do it."
checks = [
  { run = "look.py", verdict = "red", needs = "very" },
  { probe = "look.py" },
]
"""
SERVER = """
import socket, sys
with socket.create_server(("127.0.0.1", int(sys.argv[1]))) as listener:
    print("ready on port", listener.getsockname()[1], flush=True)
    while True:
        client, _ = listener.accept()
        with client:
            while data := client.recv(99):
                client.sendall({answer})
"""


@pytest.fixture
def course(tmp_path, monkeypatch):
    """A course of one chapter, and the current folder beside it."""
    folder = tmp_path / "course/03-made"
    folder.mkdir(parents=True)
    (folder / "chapter.toml").write_text(CHAPTER)
    (folder / "server.py").write_text(SERVER.format(answer="data"))
    for name in ("exercise_1.py", "solution_1.py"):
        (folder / name).write_text(SERVER.format(answer="data"))
    (folder / "look.py").write_text("import sys\nprint('seen', len(sys.argv))\nsys.exit(len(sys.argv) != 3)\n")
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path / "mine")
    monkeypatch.setattr(module, "SOURCES", tmp_path / "course")
    monkeypatch.setattr(module, "INSTALLED", tmp_path / "nowhere")
    return folder


def invoke(*words):
    done = CliRunner(env={"COLUMNS": "200"}).invoke(learn, list(words))
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.output


def test_the_course_is_listed():
    status, said = invoke()
    assert status == 0
    for each in chapters():
        assert each.title in said


def test_a_chapter_is_shown(course):
    status, said = invoke("3")
    assert status == 0
    assert [word for word in ("3. A title", "Why?", "it serves", "exercise: Mend it") if word not in said] == []


def test_programs_are_copied_and_none_is_replaced(course):
    assert invoke("3", "there")[0] == 0
    assert sorted(os.listdir("there")) == ["exercise_1.py", "look.py", "server.py"]
    status, said = invoke("3", "there")
    assert (status, "there has exercise_1.py, look.py, server.py already" in said) == (2, True)
    assert invoke("3", "solved", "--solutions")[0] == 0
    assert "solution_1.py" in os.listdir("solved")


def test_a_green_program(course):
    invoke("3", ".")
    status, said = invoke("3", "server.py", "--check")
    assert status == 0
    assert "green  tcp-answer: 18 bytes came back after" in said


def test_a_red_program_says_why(course):
    (course.parents[1] / "mine/server.py").write_text(SERVER.format(answer="data.upper()"))
    status, said = invoke("3", "--check")
    assert status == 1
    assert "red    tcp-answer: 'echobench verify\\r\\n' was sent, and 'ECHOBENCH VERIFY\\r\\n' came back" in said
    assert "required: A short line comes back" in said
    assert "by hand: echobench verify -4 127.0.0.1:PORT --clause tcp-answer --timeout 2" in said


def test_probes_and_tests_are_the_chapters_own(course):
    """The run has one argument and so a status of 1; the probe has two, which it takes, and the server runs."""
    invoke("3", ".")
    (course.parents[1] / "mine/look.py").write_text("print('anything goes')\n")
    status, said = invoke("3", "--check", "exercise_1.py")
    assert status == 1
    assert "red    look.py: seen 2" in said
    assert "green  look.py: seen 3" in said


def test_what_is_green_may_lack_words(course):
    (course / "look.py").write_text("print('quite good')")
    assert "red    look.py: quite good; it is green when it says very" in invoke("3", "--check", str(course))[1]


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("import sys\nsys.exit('no port')", "server.py ended with status 1 before its ready line"),
        ("1/0", "ZeroDivisionError"),
    ],
)
def test_a_program_that_does_not_serve(course, program, said):
    (course.parents[1] / "mine/server.py").write_text(program)
    status, output = invoke("3", "--check", "server.py")
    assert status == 1
    assert said in output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["9"], "there is no chapter 9: choose from 3"),
        (["--check"], "--check is for one chapter: give its number"),
        (["3", "--check"], "there is no program of chapter 3 in ."),
        (["3", "--check", "nothing.py"], "nothing.py is not there: give a program or a folder"),
        (["3", "--solutions"], "--solutions copies into a folder: give one"),
        (["3", "x", "--check", "--solutions"], "exclude each other"),
        (["3", "--check", "chapter.toml"], "chapter 3 has no program chapter.toml: give a file with the name of one"),
    ],
)
def test_what_makes_no_sense(course, words, said):
    (course.parents[1] / "mine/chapter.toml").touch()
    status, output = invoke(*words)
    assert (status, said in output) == (2, True), output
    assert "Traceback" not in output


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "03-made/chapter.toml is not a chapter: 'title'"),
        ("title = ", "is not a chapter: Invalid value"),
        (CHAPTER.replace('clause = "tcp-answer"', 'clause = "tcp-nonsense"'), "03-made: there is no clause 'tcp-non"),
        (CHAPTER.replace('verdict = "red"', 'verdict = "blue"'), "a verdict is green or red, not 'blue'"),
        (CHAPTER.replace('needs = "very"', 'needs = "("'), "'(' is no regular expression"),
        (CHAPTER.replace("probe =", "run ="), None),
        (CHAPTER.replace('probe = "look.py"', 'probe = "look.py", run = "look.py"'), "one of clause, probe and run"),
        (CHAPTER + "colour = 1", "unexpected keyword argument 'colour'"),
    ],
)
def test_a_chapter_that_makes_no_sense(course, text, said):
    (course / "chapter.toml").write_text(text)
    if said is None:
        assert read(course).number == 3
        return
    with pytest.raises(ChapterError) as caught:
        read(course)
    assert said in str(caught.value)


def test_a_course_that_is_not_there(course, monkeypatch):
    monkeypatch.setattr(module, "SOURCES", course / "nothing")
    status, said = invoke()
    assert (status, "the course is not installed: there are no chapters in" in said) == (2, True)


def test_the_command_by_hand():
    check = Check(clause="tcp-connections", timeout=0.5, connections=20)
    assert check.command("x.py") == (
        "echobench verify -4 127.0.0.1:PORT --clause tcp-connections --timeout 0.5 --connections 20"
    )
    assert Check(probe="p.py").command("x.py") == "python p.py PORT PID"
    assert Check(run="t.py").command("x.py") == "python t.py x.py"
