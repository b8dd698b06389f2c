"""The table of experiments: what the cursor is on is what the other panes show and the keys mean."""

from __future__ import annotations

from pathlib import Path

from textual import events
from textual.pilot import Pilot

from core.record import journal
from core.run import commands
from core.verdicts import Verdict
from tests.tui.conftest import app_on, screen_text, until
from tests.tui.living import Living
from tui.app import AutoResearch
from tui.panes.change import ChangePane
from tui.panes.experiments import ExperimentsPane, style_of
from tui.screens.detail import DetailScreen
from tui.view.table import COLUMNS, CYCLE, FILTERS, SORTS

FULL = (120, 36)


async def test_another_order_or_choice_selects_what_comes_under_the_cursor(recorded: Path) -> None:
    app = app_on(recorded)
    async with app.run_test(size=FULL) as pilot:
        await until(pilot, lambda: app.bridge.loaded)
        table, change = app.query_one(ExperimentsPane), app.query_one(ChangePane)
        for keys in (["greater_than_sign"], ["f"], ["slash", *"zero", "enter"]):
            await pilot.press(*keys)
            top = table.numbers[0]
            assert table.selected == top != max(app.bridge.state.experiments)
            await until(pilot, lambda top=top: app.followed is not None and app.followed.number == change.number == top)
            await pilot.press("enter")
            assert isinstance(app.screen, DetailScreen) and app.screen.number == top
            await pilot.press("escape", "escape")
            assert table.following and table.selected == table.numbers[0] == max(app.bridge.state.experiments)
            assert len(table.numbers) == len(app.bridge.state.experiments), "to follow is to see all, the newest on top"


async def test_a_choice_takes_in_what_happens_and_lets_go_of_what_no_longer_fits(living: Living) -> None:
    app = app_on(living.folder)
    async with app.run_test(size=FULL) as pilot:
        await until(pilot, lambda: app.bridge.loaded)
        table = app.query_one(ExperimentsPane)
        await pilot.press("f")
        kept = list(table.numbers)
        living.record("judged", number=10, verdict="keep", finding="f", commit="k" * 40)
        await until(pilot, lambda: table.numbers == [10, *kept])
        await pilot.press(*["f"] * (len(FILTERS) - 2))
        assert "· open ·" in screen_text(app) and table.numbers == [11]
        living.record("judged", number=11, verdict="skipped", finding="f")
        await until(pilot, lambda: not table.numbers)


def test_every_verdict_is_shown_by_one_filter() -> None:
    assert sorted("".join(FILTERS.values())) == sorted([" ", *(verdict.letter for verdict in Verdict)])


async def test_all_choices_round_it_follows_as_before(recorded: Path) -> None:
    app = app_on(recorded)
    async with app.run_test(size=FULL) as pilot:
        await until(pilot, lambda: app.bridge.loaded)
        table = app.query_one(ExperimentsPane)
        for key, count in (("f", len(FILTERS)), ("greater_than_sign", len(CYCLE))):
            await pilot.press(*[key] * count)
            assert table.following and len(table.numbers) == len(app.bridge.state.experiments)


async def test_the_neighbours_of_one_that_the_table_does_not_show(recorded: Path) -> None:
    app = app_on(recorded)
    async with app.run_test(size=FULL) as pilot:
        await until(pilot, lambda: app.bridge.loaded)
        await pilot.press("slash", *"zzz", "enter", "2", "enter")
        assert isinstance(app.screen, DetailScreen)
        number = app.screen.number
        await pilot.press("left_square_bracket", "right_square_bracket")
        assert app.screen.number == number


async def test_a_menu_answers_once_however_quickly_the_keys_come(living: Living) -> None:
    app = app_on(living.folder)
    async with app.run_test(size=FULL, notifications=True) as pilot:
        await until(pilot, lambda: app.key_context.waiting)
        await pilot.press("Q", "j", "k")
        for _ in range(3):
            app.post_message(events.Key("y", "y"))
        await until(pilot, lambda: living.told(commands.Stop))
        assert len(app.screen_stack) == 1 and len(living.told(commands.Stop)) == 1


async def test_a_line_that_this_version_cannot_read_is_said_and_the_loop_is_still_looked_at(living: Living) -> None:
    app = app_on(living.folder)
    async with app.run_test(size=FULL) as pilot:
        await until(pilot, lambda: app.key_context.waiting)
        with (living.folder / journal.NAME).open("a") as file:
            file.write('{"type": "of_another_version", "t": 1}\n')
        await until(pilot, lambda: "● Line " in screen_text(app))
        await living.close()
        await until(pilot, lambda: not app.key_context.alive and app.bridge.pid is None)


async def test_a_best_that_was_measured_again_keeps_the_score_of_its_pairs(living: Living) -> None:
    app = app_on(living.folder)
    async with app.run_test(size=FULL) as pilot:
        await until(pilot, lambda: app.bridge.loaded)
        number = app.bridge.state.kept[-1]
        before = app.bridge.state.experiments[number].val_bpb
        assert before is not None and f"{before:.4f}" in row(app, number)
        living.record("measured", job="j950", role="best", commit=app.bridge.state.incumbent, seed=99, outcome="scored",
                      val_bpb=before + 0.5)  # fmt: skip
        await until(pilot, lambda: app.bridge.state.experiments[number].val_bpb != before)
        await pilot.pause()
        assert f"{before:.4f}" in row(app, number), "a further seed without a score of the start is no pair"


def row(app: object, number: int) -> str:
    """A line of the table, as it stands on the screen."""
    lines = screen_text(app).splitlines()  # type: ignore[arg-type]
    return next(line for line in lines if line.strip("│╭╰ ").startswith(f"{number} "))


async def test_the_search_filters_as_you_type_and_escape_undoes_it(recorded: Path) -> None:
    app = app_on(recorded)
    async with app.run_test(size=FULL) as pilot:
        await until(pilot, lambda: app.bridge.loaded)
        table = app.query_one(ExperimentsPane)
        everything = table.row_count
        await pilot.press("slash", *"larger")
        await until(pilot, lambda: table.row_count == 3)
        await pilot.press("escape")
        await until(pilot, lambda: table.row_count == everything)
        await pilot.press("slash", *"larger", "enter")
        await until(pilot, lambda: table.row_count == 3 and app.focused is table)


async def click_on(app: AutoResearch, pilot: Pilot[str], title: str) -> None:
    """Click on the title of a column."""
    lines = screen_text(app).splitlines()
    y = next(at for at, line in enumerate(lines) if "verdict" in line and "val_bpb" in line)
    await pilot.click(offset=(lines[y].index(title), y))


async def test_a_click_on_a_title_sorts_and_another_one_reverses(recorded: Path) -> None:
    app = app_on(recorded)
    async with app.run_test(size=(200, 50)) as pilot:
        await until(pilot, lambda: "▼#" in screen_text(app))
        table, state = app.query_one(ExperimentsPane), app.bridge.state
        orders = {}
        for title, arrows in (("val_bpb", "▲▼"), ("time", "▼"), ("hypothesis", "▲▼")):
            for arrow in arrows:
                await click_on(app, pilot, title)
                shown = (f"{title}{arrow}", f"{arrow}{title}")
                await until(pilot, lambda shown=shown: any(words in screen_text(app) for words in shown))
                orders[title, arrow] = list(table.numbers)
                assert screen_text(app).count("▼") + screen_text(app).count("▲") == 1
        scored = [number for number, e in state.experiments.items() if e.val_bpb is not None]
        for order in (orders["val_bpb", "▲"], orders["val_bpb", "▼"]):
            assert set(order[: len(scored)]) == set(scored), "what has no score is last in both directions"
        up, down = (orders["val_bpb", arrow][: len(scored)] for arrow in "▲▼")
        assert up == down[::-1] and state.experiments[up[0]].val_bpb == min(
            state.experiments[n].val_bpb or 0 for n in scored
        )
        assert "by hypothesis, from z to a" in screen_text(app)
        await click_on(app, pilot, "#")
        assert table.following and table.numbers == sorted(state.experiments, reverse=True)
        await click_on(app, pilot, "#")
        assert table.numbers == sorted(state.experiments) and "oldest first" in screen_text(app)
        await pilot.press("escape")
        assert table.following and table.numbers[0] == max(state.experiments)


async def test_new_experiments_take_their_place_in_a_reversed_order(living: Living) -> None:
    app = app_on(living.folder)
    async with app.run_test(size=FULL) as pilot:
        await until(pilot, lambda: app.bridge.loaded and "▼#" in screen_text(app))
        table = app.query_one(ExperimentsPane)
        await click_on(app, pilot, "#")
        await until(pilot, lambda: table.numbers[0] == 1)
        living.propose(12, "One more.")
        await until(pilot, lambda: table.numbers[-1] == 12)
        assert table.numbers == list(range(1, 13))


async def test_the_arrows_move_the_diff_while_the_table_has_the_focus(recorded: Path) -> None:
    diff = "--- a/x\n+++ b/x\n@@ -1 +1 @@\n-LR = 2  # " + "word " * 20 + "end\n+LR = 1\n"
    (recorded / "00009" / "change.diff").write_text(diff)
    app = app_on(recorded)
    async with app.run_test(size=FULL) as pilot:
        await until(pilot, lambda: "← → long lines" in screen_text(app))
        await pilot.press(*["right"] * 8)
        await until(pilot, lambda: "word end" in screen_text(app))
        await pilot.press("j")
        await until(pilot, lambda: "2 change · #8" in screen_text(app))
        assert "← → long lines" not in screen_text(app) or "LR = 0.02" in screen_text(app), (
            "another change begins at its left"
        )


def test_every_column_has_an_order_and_the_key_walks_through_some() -> None:
    assert [sort.column for sort in SORTS] == list(COLUMNS) and set(CYCLE) <= set(COLUMNS)


async def test_the_cursor_is_on_the_experiment_that_the_panes_show(living: Living) -> None:
    app = app_on(living.folder)
    async with app.run_test(size=FULL) as pilot:
        table, change = app.query_one(ExperimentsPane), app.query_one(ChangePane)
        await until(pilot, lambda: table.selected == change.number == 11)
        living.show(waiting=None)  # approved, and queued behind #10
        await until(pilot, lambda: table.selected == change.number == 10)
        assert table.following and table.numbers[0] == 11
        living.propose(12, "A third one.")
        await until(pilot, lambda: table.numbers[0] == 12)
        assert table.following and table.selected == change.number == 10
        await pilot.press("k")
        await until(pilot, lambda: table.selected == change.number == 11)
        assert not table.following
        await pilot.press("g")
        await until(pilot, lambda: table.selected == change.number == 10)
        assert table.following


async def test_a_rerun_has_a_sign_until_it_has_ended(living: Living) -> None:
    app = app_on(living.folder)
    async with app.run_test(size=FULL) as pilot:
        await until(pilot, lambda: app.query_one(ExperimentsPane).selected == 11)
        living.record("rerun", number=9)
        await until(pilot, lambda: "↻9 " in screen_text(app))
        living.record("rerun", number=9, wanted=False)
        await until(pilot, lambda: "↻9 " not in screen_text(app))


async def test_what_waits_runs_and_is_queued_differ_in_colour(living: Living) -> None:
    living.propose(12, "Approved, but no slot is free.")
    living.record("approved", number=12, by="auto")
    app = app_on(living.folder)
    async with app.run_test(size=FULL) as pilot:
        await until(pilot, lambda: all(words in screen_text(app) for words in ("waiting", "running", "queued")))
        table, theme = app.query_one(ExperimentsPane), app.theme_variables
        for number, word, tone in (
            (10, "running", "text-primary"),
            (11, "waiting", "warning"),
            (12, "queued", "text-muted"),
        ):
            line = table.line_text(number)
            styles = {str(span.style) for span in line.spans if span.start <= line.plain.index(word) < span.end}
            assert styles == {style_of(tone, theme)}, number


async def test_the_table_has_the_whole_width_of_a_terminal_with_two_columns_of_panes(recorded: Path) -> None:
    app = app_on(recorded)
    async with app.run_test(size=(100, 40)) as pilot:
        await until(pilot, lambda: app.bridge.loaded)
        await pilot.pause()
        assert app.query_one(ExperimentsPane).region.width == 100
        assert "Markup [bold]in[/bold] a hypothesis" in row(app, 2)


async def test_the_selected_line_keeps_its_colours(recorded: Path) -> None:
    app = app_on(recorded)
    async with app.run_test(size=FULL) as pilot:
        await until(pilot, lambda: app.bridge.loaded)
        table = app.query_one(ExperimentsPane)

        def colours() -> set[object]:
            segments = table.render_line(1 + table.get_row_index("8"))
            return {segment.style.color for segment in segments if segment.text.strip() == "kept" and segment.style}

        await pilot.press("j")
        await until(pilot, lambda: table.selected == 8)
        selected = colours()
        await pilot.press("j")
        await until(pilot, lambda: table.selected == 7)
        assert selected == colours() and selected
