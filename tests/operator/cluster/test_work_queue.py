"""The queue: each key once, one worker a key, the soonest of its times, and ever longer pauses after failures."""

import asyncio
from collections.abc import Awaitable, Callable

from lateen_operator.cluster.work_queue import WorkQueue


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def with_queue(test: Callable[[WorkQueue[str], Clock], Awaitable[None]]) -> None:
    async def run() -> None:
        clock = Clock()
        await asyncio.wait_for(test(WorkQueue(clock), clock), 5)

    asyncio.run(run())


async def nothing_to_take(queue: WorkQueue[str]) -> bool:
    task = asyncio.create_task(queue.get())
    await asyncio.sleep(0.01)
    if task.done():
        return False
    task.cancel()
    return True


def test_keys_are_taken_in_the_order_in_which_they_were_put() -> None:
    async def test(queue: WorkQueue[str], clock: Clock) -> None:
        for key in ("a", "b", "c"):
            queue.put(key)
        assert [await queue.get() for _ in range(3)] == ["a", "b", "c"]

    with_queue(test)


def test_a_key_put_twice_is_taken_once() -> None:
    async def test(queue: WorkQueue[str], clock: Clock) -> None:
        queue.put("a")
        queue.put("a")
        assert (await queue.get(), len(queue)) == ("a", 0)
        assert await nothing_to_take(queue)

    with_queue(test)


def test_a_key_put_while_a_worker_has_it_comes_again_only_when_that_is_done() -> None:
    async def test(queue: WorkQueue[str], clock: Clock) -> None:
        queue.put("a")
        await queue.get()
        queue.put("a")
        assert await nothing_to_take(queue)
        queue.done("a")
        assert await queue.get() == "a"

    with_queue(test)


def test_a_key_for_later_is_not_taken_before() -> None:
    async def test(queue: WorkQueue[str], clock: Clock) -> None:
        queue.put_after("a", 10)
        clock.now += 9.9
        assert await nothing_to_take(queue)
        clock.now += 0.1
        queue.put("b")
        assert {await queue.get(), await queue.get()} == {"a", "b"}

    with_queue(test)


def test_the_soonest_time_counts() -> None:
    async def test(queue: WorkQueue[str], clock: Clock) -> None:
        queue.put_after("a", 10)
        queue.put_after("a", 5)
        queue.put_after("a", 20)
        clock.now += 5
        queue.put("b")
        assert {await queue.get(), await queue.get()} == {"a", "b"}
        queue.done("a")
        queue.done("b")
        clock.now += 20
        assert await nothing_to_take(queue)

    with_queue(test)


def test_infinity_is_never() -> None:
    async def test(queue: WorkQueue[str], clock: Clock) -> None:
        queue.put_after("a", float("inf"))
        clock.now += 1e9
        assert await nothing_to_take(queue)

    with_queue(test)


def test_pauses_after_failures_double_up_to_a_minute() -> None:
    async def test(queue: WorkQueue[str], clock: Clock) -> None:
        pauses = []
        for _ in range(10):
            queue.put("a")
            await queue.get()
            pauses.append(queue.put_backoff("a"))
        assert pauses == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0]

    with_queue(test)


def test_a_success_forgives() -> None:
    async def test(queue: WorkQueue[str], clock: Clock) -> None:
        for _ in range(3):
            queue.put("a")
            await queue.get()
            queue.put_backoff("a")
        queue.put("a")
        await queue.get()
        queue.done("a")
        queue.put("a")
        await queue.get()
        assert queue.put_backoff("a") == 0.5

    with_queue(test)


def test_news_do_not_wait_for_the_pause_but_for_half_a_second() -> None:
    async def test(queue: WorkQueue[str], clock: Clock) -> None:
        for _ in range(8):
            queue.put("a")
            await queue.get()
            queue.put("a")
            queue.put_backoff("a")
            assert await nothing_to_take(queue)
            clock.now += 0.5

    with_queue(test)


def test_the_slowest_worker_is_known() -> None:
    async def test(queue: WorkQueue[str], clock: Clock) -> None:
        assert queue.longest_processing == 0
        queue.put("a")
        await queue.get()
        clock.now += 7
        assert queue.longest_processing == 7
        queue.done("a")
        assert queue.longest_processing == 0

    with_queue(test)


def test_workers_share_the_keys_and_none_is_forgotten() -> None:
    async def test(queue: WorkQueue[str], clock: Clock) -> None:
        seen: list[str] = []
        at_once: set[str] = set()

        async def work() -> None:
            while True:
                key = await queue.get()
                assert key not in at_once
                at_once.add(key)
                await asyncio.sleep(0)
                seen.append(key)
                at_once.discard(key)
                queue.done(key)

        workers = [asyncio.create_task(work()) for _ in range(4)]
        for number in range(200):
            queue.put(f"{number % 50}")
            if number % 7 == 0:
                await asyncio.sleep(0)
        await asyncio.sleep(0.05)
        assert set(seen) == {f"{number}" for number in range(50)}
        for worker in workers:
            worker.cancel()

    with_queue(test)
