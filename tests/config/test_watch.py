"""Files that are watched: every way of changing one is seen, once, when it is whole."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tycostream.config.watch import Watch
from tycostream.testing.clock import FakeClock


class Turning:
    """A watch whose time passes as it waits, and edits that happen at chosen looks."""

    def __init__(self, *paths: Path) -> None:
        self.clock = FakeClock()
        self.watch = Watch(paths, self.clock)

    async def until_changed(self, *edits: Callable[[], object], looks: int = 200) -> set[Path] | None:
        """What changed, an edit before each look; None if nothing did."""
        waiting = asyncio.ensure_future(self.watch.changed())
        due = list(edits)
        for _ in range(looks):
            await asyncio.sleep(0)
            if waiting.done():
                assert not due, "all that belongs together is one change"
                return waiting.result()
            if due:
                due.pop(0)()
            self.clock.advance(0.1)
        waiting.cancel()
        return None


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "tycostream.yaml"
    path.write_text("one")
    return path


def renamed_over(file: Path, text: str) -> Callable[[], object]:
    def edit() -> None:
        other = file.with_name("other")
        other.write_text(text)
        other.rename(file)

    return edit


async def test_contents_count_and_not_times(file: Path) -> None:
    watching = Turning(file)
    assert (
        await watching.until_changed(lambda: os.utime(file, (5, 5)), lambda: file.write_text("one")) is None
    )
    assert await watching.until_changed(lambda: file.write_text("two")) == {file}
    assert await watching.until_changed() is None, "once"


async def test_an_edit_of_the_same_size_within_one_tick_of_the_clock(file: Path) -> None:
    os.utime(file, ns=(10**18, 10**18))
    watching = Turning(file)
    watching.clock.now_s = 10**9 + 1

    def edit() -> None:
        file.write_text("two")
        os.utime(file, ns=(10**18, 10**18))

    assert await watching.until_changed(edit) == {file}


async def test_a_file_that_rests_is_not_read_again(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.utime(file, (1, 1))
    watching = Turning(file)

    def read(path: Path) -> bytes:
        raise AssertionError(f"{path} was read")

    monkeypatch.setattr(Path, "read_bytes", read)
    assert await watching.until_changed(looks=20) is None


async def test_editors_that_rename_or_delete_and_create(file: Path) -> None:
    watching = Turning(file)
    assert await watching.until_changed(renamed_over(file, "two")) == {file}
    assert await watching.until_changed(file.unlink, lambda: file.write_text("three")) == {file}
    assert await watching.until_changed(file.unlink, lambda: file.write_text("three")) is None, "as before"


async def test_a_file_that_is_written_in_pieces_is_told_when_it_is_whole(file: Path) -> None:
    pieces = ["a", "ab", "abc", "abcd"]
    watching = Turning(file)
    edits = [lambda text=text: file.write_text(text) for text in pieces]
    assert await watching.until_changed(*edits) == {file}
    assert await watching.until_changed() is None


async def test_links_that_are_swapped_two_folders_up(tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "tycostream.yaml").write_text(name)
    data, file = tmp_path / "..data", tmp_path / "tycostream.yaml"
    data.symlink_to("first")
    file.symlink_to("..data/tycostream.yaml")
    watching = Turning(file)

    def swap() -> None:
        (tmp_path / "tmp").symlink_to("second")
        (tmp_path / "tmp").rename(data)

    assert await watching.until_changed(swap) == {file}


async def test_each_file_is_told_and_one_may_come_and_go(file: Path) -> None:
    env = file.with_name(".env")
    watching = Turning(file, env)
    assert await watching.until_changed(lambda: env.write_text("A=1")) == {env}
    assert await watching.until_changed(env.unlink) == {env}
    assert await watching.until_changed(lambda: (env.write_text("B=1"), file.write_text("two"))) == {
        file,
        env,
    }


async def test_a_file_that_never_rests_is_taken_as_it_is(file: Path) -> None:
    watching = Turning(file)
    count = iter(range(10_000))
    waiting = asyncio.ensure_future(watching.watch.changed())
    for _ in range(200):
        await asyncio.sleep(0)
        if waiting.done():
            break
        file.write_text(str(next(count)))
        watching.clock.advance(0.1)
    assert waiting.result() == {file}
