"""A backend: echoes on port 7000 (nat) and 7001 (dr), TCP and UDP, and answers HTTP on port 80."""

import asyncio
import resource
import socket
import sys

SO_RCVBUFFORCE = 33
"""Of asm/socket.h; the module does not name it."""
ANSWER = "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nContent-Type: text/plain\r\n\r\n{}"


class Datagrams(asyncio.DatagramProtocol):
    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, addr):
        self.transport.sendto(data, addr)


async def echo(reader, writer):
    while data := await reader.read(4096):
        writer.write(data)


def web(name):
    async def serve(reader, writer):
        while await reader.readuntil(b"\r\n\r\n"):
            writer.write(ANSWER.format(len(name), name).encode())

    return serve


def until_closed(serve):
    async def until_closed(reader, writer):
        try:
            await serve(reader, writer)
        except (asyncio.IncompleteReadError, OSError):
            pass
        writer.close()

    return until_closed


async def main(name, address, vip):
    resource.setrlimit(resource.RLIMIT_NOFILE, (20_000, 20_000))
    loop = asyncio.get_running_loop()
    for port, own in ((7000, address), (7001, vip)):
        await asyncio.start_server(until_closed(echo), own, port)
        transport, _ = await loop.create_datagram_endpoint(Datagrams, local_addr=(own, port))
        # A busy machine lets it wait; what came meanwhile is late, and not lost.
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 8 << 20)
    await asyncio.start_server(until_closed(web(name)), "0.0.0.0", 80)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
