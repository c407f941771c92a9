"""A WebSocket client: ws_client.py URL [CA]. Sends text, binary, a large message and a ping, and closes."""

import asyncio
import os
import ssl
import sys

import websockets


async def main(url, ca=None):
    tls = ssl.create_default_context(cafile=ca) if ca else None
    async with websockets.connect(url, ssl=tls, max_size=None, subprotocols=["echo"]) as socket:
        assert socket.subprotocol == "echo", socket.subprotocol
        for message in ["text", "", "ümlaut", b"\x00\x01\xff", os.urandom(3 << 20)]:
            await socket.send(message)
            assert await socket.recv() == message
        await asyncio.wait_for(await socket.ping(), 10)
        # Many messages in flight at once, both ways.
        await asyncio.gather(send_all(socket), receive_all(socket))
        await socket.close(code=1000, reason="done")
        assert socket.close_code == 1000, socket.close_code
    print("ok")


async def send_all(socket):
    for number in range(1000):
        await socket.send(f"{number}:" + "x" * 1000)


async def receive_all(socket):
    for number in range(1000):
        assert (await socket.recv()).startswith(f"{number}:")


asyncio.run(asyncio.wait_for(main(*sys.argv[1:]), 30))
