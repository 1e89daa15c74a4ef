from __future__ import annotations

import sys
import threading

import psutil
import pytest

from motherlode.data.threads import give_back_memory, on_all_cores


def test_slices_cover_all_items_in_order() -> None:
    found = on_all_cores(lambda part: list(range(part.start, part.stop)), 1000)
    assert [item for piece in found for item in piece] == list(range(1000))


def test_the_calling_thread_takes_a_slice_and_the_helpers_stay() -> None:
    def who(_: slice) -> int:
        return threading.get_ident()

    first, *others = on_all_cores(who, 1000, least=1)
    assert first == threading.get_ident()
    assert not others or set(others) <= {thread.ident for thread in threading.enumerate()} - {first}


def test_what_goes_wrong_in_a_slice_is_raised() -> None:
    def fails(part: slice) -> None:
        if part.stop == 1000:
            raise ValueError("the last slice")

    with pytest.raises(ValueError, match="the last slice"):
        on_all_cores(fails, 1000)


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc can be told")
def test_what_was_freed_goes_back_to_the_system() -> None:
    """Blocks freed between others that live stay with the process until it is told."""
    process = psutil.Process()
    blocks = [bytes(20_000) for _ in range(4000)]
    kept = blocks[::100]
    del blocks
    before = process.memory_info().rss
    give_back_memory()
    assert process.memory_info().rss < before - 20_000_000
    assert len(kept) == 40
