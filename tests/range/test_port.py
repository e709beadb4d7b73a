"""The ports of the range's servers."""

from __future__ import annotations

import asyncio
import socket

from bot.range.port import listen


def test_connections_answer_at_once() -> None:
    """Nagle's algorithm is off on what a server of asyncio accepts here."""

    async def nodelay() -> bool:
        found: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

        async def accepted(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            option = writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            found.set_result(bool(option))
            writer.close()
            await writer.wait_closed()

        listener = listen()
        async with await asyncio.start_server(accepted, sock=listener):
            _, writer = await asyncio.open_connection(*listener.getsockname())
            held = await found
            writer.close()
            await writer.wait_closed()
        return held

    assert asyncio.run(nodelay())


def test_each_has_a_port_of_its_own_on_loopback() -> None:
    with listen() as one, listen() as other:
        assert one.getsockname()[0] == other.getsockname()[0] == "127.0.0.1"
        assert one.getsockname()[1] != other.getsockname()[1]
