"""Texts that a human edits: a proposal, an experiment of his own, program.md. None of them is ever lost."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from textual import events
from textual.pilot import Pilot

from core.record import backlog
from core.run import commands
from tests.tui.conftest import Edits, app_on, screen_text, until
from tests.tui.living import Living
from tui.app import AutoResearch
from tui.panes.experiments import ExperimentsPane
from tui.textual_internals import Static
from tui.widgets.prompt import Prompt

SIZES = [(80, 24), (120, 36), (200, 50)]


class NoSuspend:
    """A pilot has no terminal to hand over. As Textual's own, it comes back at a normal end only."""

    ended = 0

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, *error: object) -> None:
        NoSuspend.ended += kind is None


@asynccontextmanager
async def at_work(living: Living) -> AsyncIterator[tuple[AutoResearch, Pilot[str]]]:
    """The app, with #11 waiting for an answer and an editor that takes no terminal."""
    app = app_on(living.folder)
    async with app.run_test(size=SIZES[1], notifications=True) as pilot:
        await until(pilot, lambda: app.key_context.waiting)
        app.suspend = NoSuspend  # type: ignore[method-assign,assignment]
        yield app, pilot


async def said(app: AutoResearch, pilot: Pilot[str], words: str) -> None:
    """Wait for a note with these words."""
    await until(pilot, lambda: any(words in plain(note.message) for note in app._notifications))


def called(editor: Path) -> str:
    return editor.read_text()


async def test_revise_and_own_go_through_the_editor(living: Living, editor: Path) -> None:
    async with at_work(living) as (app, pilot):
        await pilot.press("e")
        await until(pilot, lambda: app.query_one(Prompt).display)
        assert living.told(commands.Hold)[-1].on, "the clock stands still until it is said what it tries now"
        await pilot.press("end", "backspace", *", twice", "enter")
        await until(pilot, lambda: living.told(commands.Revise) and not living.told(commands.Hold)[-1].on)
        revised = living.told(commands.Revise)[0]
        assert revised.source == "LR = 1\nLR = 3\n" and revised.hypothesis == "Another activation, twice"
        await pilot.press("E")
        await until(pilot, lambda: app.query_one(Prompt).display)
        await pilot.press(*"mine", "enter")
        await until(pilot, lambda: living.told(commands.Own))
        own = living.told(commands.Own)[0]
        assert own.source.endswith("LR = 3\n") and own.hypothesis == "mine" and own.parent == app.bridge.state.incumbent
        await until(pilot, lambda: not list(living.folder.glob("own-*.py")))
        assert not list(living.folder.glob("revised-*.py"))


async def test_an_own_train_py_that_does_not_parse_is_said_at_once_and_opened_again(
    living: Living, edits_by: Edits
) -> None:
    edits_by('if grep -q "^LR = ($" "$1"; then sed -i "s/^LR = ($/LR = 5/" "$1"; else echo "LR = (" >> "$1"; fi')
    async with at_work(living) as (app, pilot):
        await pilot.press("E")
        await said(app, pilot, "syntax error")
        await said(app, pilot, "Press E to edit it again")
        assert not app.query_one(Prompt).display and len(list(living.folder.glob("own-*.py"))) == 1
        begun_on = app.bridge.state.incumbent
        app.bridge.state.kept.append(10)  # something is kept meanwhile
        assert app.bridge.state.incumbent != begun_on
        await pilot.press("E")
        await until(pilot, lambda: app.query_one(Prompt).display)
        await pilot.press(*"mended", "enter")
        await until(pilot, lambda: living.told(commands.Own))
        own = living.told(commands.Own)[0]
        assert own.source.endswith("LR = 5\n") and own.parent == begun_on, "it was not written on what is the best now"
        await until(pilot, lambda: not list(living.folder.glob("own-*.py")))


async def test_program_md_is_edited_where_it_lies(living: Living, editor: Path, tmp_path: Path) -> None:
    program = tmp_path / "program.md"
    program.write_text("# Aim\n\nLow.\n")
    app = app_on(living.folder, program)
    async with app.run_test(size=SIZES[1], notifications=True) as pilot:
        await until(pilot, lambda: app.bridge.loaded)
        app.suspend = NoSuspend  # type: ignore[method-assign,assignment]
        await pilot.press("m")
        await until(pilot, lambda: editor.exists())
        await until(pilot, lambda: "LR = 3" in screen_text(app))
    assert str(program) in called(editor)


async def test_an_own_text_that_is_emptied_is_dropped(living: Living, edits_by: Edits) -> None:
    edits_by(': > "$1"')
    async with at_work(living) as (app, pilot):
        await pilot.press("E")
        await said(app, pilot, "dropped")
        assert not list(living.folder.glob("own-*.py")) and not app.query_one(Prompt).display


async def test_a_revision_that_was_not_handed_in_is_opened_again(living: Living, edits_by: Edits) -> None:
    async with at_work(living) as (app, pilot):
        edits_by('echo "LR = 4" >> "$1"')
        await pilot.press("e")
        await until(pilot, lambda: app.query_one(Prompt).display)
        await pilot.press("escape")
        await until(pilot, lambda: not living.told(commands.Hold)[-1].on)
        (draft,) = living.folder.glob("revised-11-*.py")
        assert draft.read_text() == "LR = 1\nLR = 4\n"
        edits_by('echo "LR = 5" >> "$1"; exit 3')  # and an editor that fails
        await pilot.press("e")
        await said(app, pilot, "ended with code 3. Your draft is kept")
        edits_by("true")
        await pilot.press("e")
        await until(pilot, lambda: app.query_one(Prompt).display)
        await pilot.press("enter")
        await until(pilot, lambda: living.told(commands.Revise))
        assert living.told(commands.Revise)[0].source == "LR = 1\nLR = 4\nLR = 5\n"
        await until(pilot, lambda: not draft.exists())


async def test_why_a_text_was_refused_is_said_together_with_where_it_is(living: Living, edits_by: Edits) -> None:
    edits_by('echo "LR = 4" >> "$1"')
    async with at_work(living) as (app, pilot):
        await pilot.press("E")
        await until(pilot, lambda: app.query_one(Prompt).display)
        living.refuses = "There is a new best."
        await pilot.press(*"mine", "enter")
        await said(app, pilot, "There is a new best. Your draft is kept in")
        (draft,) = living.folder.glob("own-*.py")
    living.refuses = ""
    edits_by("true")
    async with at_work(living) as (app, pilot):  # another app finds it again
        await pilot.press("E")
        await until(pilot, lambda: app.query_one(Prompt).display)
        await pilot.press("enter")
        await until(pilot, lambda: len(living.told(commands.Own)) == 2 and not draft.exists())
        assert living.told(commands.Own)[1].source == living.told(commands.Own)[0].source


@pytest.mark.parametrize("editor", ["false", "/no/such/editor", "vi 'x"])
async def test_an_editor_that_fails_is_a_sentence_and_the_terminal_comes_back(
    living: Living, monkeypatch: pytest.MonkeyPatch, editor: str
) -> None:
    monkeypatch.setenv("VISUAL", editor)
    async with at_work(living) as (app, pilot):
        NoSuspend.ended = 0
        await pilot.press("m")
        await until(pilot, lambda: any(n.severity == "warning" for n in app._notifications))
        assert NoSuspend.ended == 1, "Textual gives the terminal back at a normal end only"
        await until(pilot, lambda: [hold.on for hold in living.told(commands.Hold)] == [True, False])


async def test_what_is_typed_before_the_line_has_the_focus_belongs_to_it(living: Living) -> None:
    app = app_on(living.folder)
    async with app.run_test(size=SIZES[1], notifications=True) as pilot:
        await until(pilot, lambda: app.key_context.waiting)
        for key in "tuse":  # in one burst, as over a slow line
            app.post_message(events.Key(key, key))
        await until(pilot, lambda: app.query_one(Prompt).display)
        await pilot.press("tab", *" a jolly step", "enter")  # tab moves the focus away
        await until(pilot, lambda: living.told(commands.Tell))
        assert living.told(commands.Tell)[0].text == "use a jolly step"
        assert not living.told(commands.Approve) and not living.told(commands.Skip)
        for end in ("enter", "escape"):  # all in one burst, its end too
            for key in ("slash", "z", end):
                app.post_message(events.Key(key, {"slash": "/", "z": "z"}.get(key)))
            await until(
                pilot, lambda: not app.query_one(Prompt).display and app.focused is app.query_one(ExperimentsPane)
            )
        await pilot.press("escape")


def plain(message: str) -> str:
    return " ".join(message.split())


NEW = "b" * 40  # a new best


async def test_a_proposal_that_was_overtaken_is_edited_as_it_is_on_the_new_best(
    living: Living, edits_by: Edits
) -> None:
    living.offers["reapply"] = commands.Offer(parent=NEW, source="LR = 1\n")
    edits_by('echo "LR = 4" >> "$1"')
    async with at_work(living) as (app, pilot):
        await pilot.press("e")
        await until(pilot, lambda: app.query_one(Prompt).display)
        assert (living.folder / f"revised-11-{NEW[:12]}.py").exists()
        await pilot.press("enter")
        await until(pilot, lambda: living.told(commands.Revise))
        assert [command.number for command in living.told(commands.Reapply)] == [11]
        assert living.told(commands.Revise)[0].parent == NEW


async def test_a_draft_that_was_kept_still_belongs_to_the_commit_it_was_written_on(
    living: Living, edits_by: Edits
) -> None:
    edits_by('echo "LR = 4" >> "$1"')
    async with at_work(living) as (app, pilot):
        await pilot.press("e")
        await until(pilot, lambda: app.query_one(Prompt).display)
        await pilot.press("escape")
        await until(pilot, lambda: not app.query_one(Prompt).display)
        begun_on = app.bridge.state.experiments[11].parent
        living.offers["reapply"] = commands.Offer(parent=NEW, source="LR = 1\n")
        edits_by("true")
        await pilot.press("e")
        await until(pilot, lambda: app.query_one(Prompt).display)
        await pilot.press("enter")
        await until(pilot, lambda: living.told(commands.Revise))
        assert living.told(commands.Revise)[0].parent == begun_on, "the loop merges it into the new best"


async def test_a_revision_that_conflicts_is_kept_and_offered_by_another_key(living: Living, edits_by: Edits) -> None:
    best = (living.folder / "train.py").read_text()
    marked = best + "<<<<<<< the best\nLR = 2\n=======\nLR = 4\n>>>>>>> yours\n"
    edits_by('echo "LR = 4" >> "$1"')
    async with at_work(living) as (app, pilot):
        offer = commands.Offer(parent=app.bridge.state.incumbent, source=marked)
        living.offers["revise"] = offer
        await pilot.press("e")
        await until(pilot, lambda: app.query_one(Prompt).display)
        living.refuses = "A new best train.py changed the same lines as you. #11 stays as it was."
        await pilot.press("enter")
        await said(app, pilot, "changed the same lines as you. #11 stays as it was. Your draft is kept in")
        await said(app, pilot, "Press E to edit it again.")
        await said(app, pilot, "both versions are between <<<<<<< and >>>>>>>")
        own = living.folder / f"own-{offer.parent[:12]}.py"
        assert own.read_text() == marked and not list(living.folder.glob("revised-*"))
        living.refuses = ""
        edits_by('sed -i "/^[<=>]/d" "$1"')  # the markers
        await pilot.press("E")
        await until(pilot, lambda: app.query_one(Prompt).display)
        await pilot.press(*"mine", "enter")
        await until(pilot, lambda: living.told(commands.Own))
        assert living.told(commands.Own)[0].source == best + "LR = 2\nLR = 4\n"
        assert living.told(commands.Own)[0].parent == offer.parent


async def test_an_own_text_that_is_there_is_not_overwritten_by_an_offer(living: Living, edits_by: Edits) -> None:
    edits_by('echo "LR = 4" >> "$1"')
    async with at_work(living) as (app, pilot):
        offer = commands.Offer(parent=app.bridge.state.incumbent, source="LR = 7\n")
        own = living.folder / f"own-{offer.parent[:12]}.py"
        own.write_text("LR = 9\n")
        living.offers["revise"] = offer
        await pilot.press("e")
        await until(pilot, lambda: app.query_one(Prompt).display)
        living.refuses = "No."
        await pilot.press("enter")
        await said(app, pilot, "No. Your draft is kept in")
        await said(app, pilot, "Press e to edit it again")
        assert own.read_text() == "LR = 9\n" and list(living.folder.glob("revised-11-*.py"))


async def test_the_backlog_is_edited_where_it_lies_and_its_ideas_are_counted(living: Living, edits_by: Edits) -> None:
    edits_by('printf -- "- one\\n- [x] two (#1: worse, +0.0100)\\n- three\\n" > "$1"')
    async with at_work(living) as (app, pilot):
        await pilot.press("b")
        await until(pilot, lambda: "2 ideas" in screen_text(app))
        assert (living.folder / "backlog.md").read_text().startswith("- one\n")
        await said(app, pilot, "The backlog has 2 untried ideas.")
        assert not living.told(commands.Hold)[-1].on, "the clock of the waiting proposal runs again"


async def test_the_first_ideas_of_the_backlog_stand_below_program_md(living: Living) -> None:
    path = living.folder / backlog.NAME
    async with at_work(living) as (app, pilot):
        ideas = app.query_one("#ideas", Static)
        assert not ideas.display
        path.write_text("".join(f"- idea {number}\n" for number in range(1, 8)))
        await until(pilot, lambda: ideas.display)
        wanted = ["Next ideas (backlog.md):", *(f"{number} idea {number}" for number in range(1, 6)), "and 2 more"]
        assert str(ideas.content).splitlines() == wanted
        path.write_text("- idea 7\n- [x] idea 2\n- idea 1\n")
        await until(pilot, lambda: str(ideas.content).splitlines()[1:] == ["1 idea 7", "2 idea 1"])
        path.write_text("- [x] idea 2\n")
        await until(pilot, lambda: not ideas.display)


async def test_a_run_without_a_backlog_gets_one_with_its_heading(living: Living, edits_by: Edits) -> None:
    edits_by('echo "wider" >> "$1"')
    path = living.folder / backlog.NAME
    assert not path.exists()
    async with at_work(living) as (app, pilot):
        await pilot.press("b")
        await said(app, pilot, "The backlog has no untried idea. An idea is a line that begins with a dash.")
        assert path.read_text() == f"{backlog.HEAD}wider\n"
        edits_by('echo "- wider" >> "$1"')
        await pilot.press("b")
        await said(app, pilot, "The backlog has 1 untried idea.")
        assert path.read_text() == f"{backlog.HEAD}wider\n- wider\n"
