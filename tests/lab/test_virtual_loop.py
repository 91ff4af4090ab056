"""The loop with a virtual clock: nothing waits, nothing runs beside it, and nothing is lost."""

import asyncio
import os
import signal
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cart_common.process.tasks import in_thread
from lab.carts.virtual_loop import DeadlockError, VirtualLoop


def run(main, when_idle=lambda: False, start_s=0.0):
    loop = VirtualLoop(when_idle, start_s)
    try:
        return loop.run_until_complete(main), loop.time()
    finally:
        loop.close()


def test_an_hour_passes_at_once_and_in_the_order_of_its_timers():
    seen = []

    async def main():
        async def sleeper(seconds):
            await asyncio.sleep(seconds)
            seen.append((seconds, asyncio.get_running_loop().time()))

        await asyncio.gather(sleeper(3600), sleeper(0.5), sleeper(60))

    _, end_s = run(main())
    assert [seconds for seconds, _ in seen] == [0.5, 60, 3600]
    assert all(at == pytest.approx(seconds) for seconds, at in seen)
    assert end_s == pytest.approx(3600)


@given(st.lists(st.floats(0, 1e5), max_size=20), st.floats(0, 1e6))
def test_no_timer_is_early_and_the_last_one_ends_the_time(delays_s, start_s):
    async def main():
        loop = asyncio.get_running_loop()

        async def late(delay_s):
            due = loop.time() + delay_s
            await asyncio.sleep(delay_s)
            assert loop.time() >= due or loop.time() == pytest.approx(due)

        await asyncio.gather(*map(late, delays_s))

    _, end_s = run(main(), start_s=start_s)
    assert end_s == pytest.approx(start_s + max(delays_s, default=0))


def test_a_time_limit_ends_what_waits():
    async def main():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(30):
                await asyncio.Event().wait()

    assert run(main())[1] == pytest.approx(30)


def test_a_deadlock_is_told_instead_of_waiting_for_ever():
    async def main():
        await asyncio.Event().wait()

    loop = VirtualLoop(lambda: False)
    with pytest.raises(DeadlockError, match="Everything waits"):
        loop.run_until_complete(main())
    task = asyncio.all_tasks(loop).pop()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        loop.run_until_complete(task)
    loop.close()


def test_what_is_wanted_is_made_ready_before_time_passes():
    waiting = []

    def flush():
        made, waiting[:] = list(waiting), []
        for future in made:
            future.set_result("computed")
        return bool(made)

    async def main():
        future = asyncio.get_running_loop().create_future()
        waiting.append(future)
        async with asyncio.timeout(1):
            return await future

    assert run(main(), flush) == ("computed", 0.0)


def test_threads_work_is_done_at_once_in_this_thread():
    async def main():
        with pytest.raises(KeyError):
            await in_thread({}.__getitem__, "missing")
        return await in_thread(threading.get_ident)

    assert run(main())[0] == threading.get_ident()


def test_ctrl_c_interrupts_a_run_that_never_waits():
    async def main():
        loop = asyncio.get_running_loop()
        loop.call_soon(os.kill, os.getpid(), signal.SIGINT)
        while True:
            await asyncio.sleep(0)

    loop = VirtualLoop(lambda: False)
    task = loop.create_task(main())
    with pytest.raises(KeyboardInterrupt):
        loop.run_until_complete(task)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        loop.run_until_complete(task)
    loop.close()
