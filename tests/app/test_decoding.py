"""How many pictures are decoded at once."""

import anyio
import pytest

from app.decoding import DecodingRoom

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Decoded:
    """Pictures in a room, as they come and go."""

    def __init__(self, room: DecodingRoom) -> None:
        self._room = room
        self.inside: list[str] = []
        self.done = {name: anyio.Event() for name in "abcde"}

    async def decode(self, name: str, pixels: int) -> None:
        async with self._room.holding(pixels):
            self.inside.append(name)
            await self.done[name].wait()
        self.inside.remove(name)


async def test_small_pictures_are_decoded_side_by_side_up_to_the_number_of_threads() -> None:
    decoded = Decoded(DecodingRoom(pixels=100, pictures=2))
    async with anyio.create_task_group() as tasks:
        for name in "abc":
            tasks.start_soon(decoded.decode, name, 10)
        await anyio.wait_all_tasks_blocked()
        assert decoded.inside == ["a", "b"]
        decoded.done["a"].set()
        await anyio.wait_all_tasks_blocked()
        assert decoded.inside == ["b", "c"]
        for name in "bc":
            decoded.done[name].set()


async def test_large_pictures_are_decoded_one_by_one_and_not_overtaken() -> None:
    decoded = Decoded(DecodingRoom(pixels=100, pictures=4))
    async with anyio.create_task_group() as tasks:
        for name, pixels in (("a", 60), ("b", 60), ("c", 10)):
            tasks.start_soon(decoded.decode, name, pixels)
        await anyio.wait_all_tasks_blocked()
        assert decoded.inside == ["a"]
        decoded.done["a"].set()
        await anyio.wait_all_tasks_blocked()
        assert decoded.inside == ["b", "c"]
        for name in "bc":
            decoded.done[name].set()


async def test_a_picture_larger_than_the_room_has_it_to_itself() -> None:
    decoded = Decoded(DecodingRoom(pixels=100, pictures=4))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(decoded.decode, "a", 10)
        await anyio.wait_all_tasks_blocked()
        tasks.start_soon(decoded.decode, "b", 1000)
        await anyio.wait_all_tasks_blocked()
        assert decoded.inside == ["a"]
        decoded.done["a"].set()
        await anyio.wait_all_tasks_blocked()
        assert decoded.inside == ["b"]
        decoded.done["b"].set()


async def test_who_gives_up_waiting_leaves_no_gap() -> None:
    decoded = Decoded(DecodingRoom(pixels=100, pictures=4))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(decoded.decode, "a", 60)
        await anyio.wait_all_tasks_blocked()
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as impatient:
                impatient.start_soon(decoded.decode, "b", 60)
                await anyio.wait_all_tasks_blocked()
                tasks.start_soon(decoded.decode, "c", 10)
                await anyio.wait_all_tasks_blocked()
                assert decoded.inside == ["a"]
                scope.cancel()
        await anyio.wait_all_tasks_blocked()
        assert decoded.inside == ["a", "c"]
        for name in "ac":
            decoded.done[name].set()
