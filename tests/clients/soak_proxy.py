"""Holds `gauntlet proxy` under load while toxics come and go, and says what came of it.

    soak_proxy.py PATH-TO-GAUNTLET [CONNECTIONS] [SECONDS] [SEED]

Eight of ten proxies get toxics that take nothing (latency, bandwidth, slicer, slow_close): every octet must come back,
in order. Two get toxics that end connections (reset_peer, limit_data, timeout): what comes back must be a prefix of what
was sent. Fails when an octet was lost or changed otherwise, when an echo took longer than a minute, when a request to the
API failed, or when the server holds more descriptors or much more memory at the end. Python's own library is enough.
"""

import asyncio
import json
import os
import random
import sys
import time
import urllib.request

PROXIES, LOSSY, API = 10, 2, 18474
WEDGED = 60.0


class Soak:
    def __init__(self, connections, seed):
        self.connections, self.rng = connections, random.Random(seed)
        self.octets = self.echoes = self.ended = self.calls = 0
        self.wrong, self.stop = [], asyncio.Event()
        self.slowest = self.slowest_call = 0.0

    def fail(self, words):
        if len(self.wrong) < 20:
            self.wrong.append(words)

    async def call(self, method, path, body=None):
        def ask():
            data = None if body is None else json.dumps(body).encode()
            url = f"http://127.0.0.1:{API}{path}"
            with urllib.request.urlopen(urllib.request.Request(url, data, method=method), timeout=30) as reply:
                return reply.status

        began = time.monotonic()
        try:
            await asyncio.to_thread(ask)
        except OSError as error:
            self.fail(f"{method} {path} {body}: {error}")
        self.calls += 1
        self.slowest_call = max(self.slowest_call, time.monotonic() - began)

    async def echo(self, reader, writer):
        try:
            while chunk := await reader.read(65536):
                writer.write(chunk)
                await writer.drain()
            writer.close()
        except OSError:
            writer.transport.abort()

    async def client(self, number, port, lossy):
        rng = random.Random(self.rng.random())
        while not self.stop.is_set():
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError as error:
                if not lossy:
                    self.fail(f"client {number}: connect: {error}")
                await asyncio.sleep(0.2)
                continue
            try:
                await self.talk(rng, reader, writer, number)
                writer.close()
            except TimeoutError:
                # What a `timeout` took is never echoed.
                if not lossy:
                    self.fail(f"client {number}: no echo within {WEDGED} s")
                writer.transport.abort()
            except (OSError, asyncio.IncompleteReadError) as error:
                self.ended += 1
                if not lossy:
                    self.fail(f"client {number}: {type(error).__name__} {error}")
                writer.transport.abort()

    async def talk(self, rng, reader, writer, number):
        while not self.stop.is_set():
            sent = rng.randbytes(rng.randint(16, 8192))
            began = time.monotonic()
            writer.write(sent)
            try:
                got = await asyncio.wait_for(reader.readexactly(len(sent)), WEDGED)
            except asyncio.IncompleteReadError as error:
                if not sent.startswith(error.partial):
                    self.fail(f"client {number}: what came before the end is not what was sent")
                raise
            if got != sent:
                self.fail(f"client {number}: an echo differs")
            self.slowest = max(self.slowest, time.monotonic() - began)
            self.echoes += 1
            self.octets += len(sent)
            await asyncio.sleep(rng.uniform(0.2, 0.6))

    async def toxics(self):
        rng, there, number = random.Random(self.rng.random()), [], 0
        while not self.stop.is_set():
            proxy, stream = rng.randrange(PROXIES), rng.choice(["upstream", "downstream"])
            if len(there) > 3 * PROXIES or (there and rng.random() < 0.4):
                await self.call("DELETE", there.pop(rng.randrange(len(there))))
            else:
                kinds = [
                    ("latency", {"latency": rng.randint(1, 40), "jitter": rng.randint(0, 10)}),
                    ("bandwidth", {"rate": rng.randint(2000, 20000)}),
                    ("slicer", {"average_size": rng.randint(64, 512), "size_variation": 32, "delay": rng.randint(0, 100)}),
                    ("slow_close", {"delay": rng.randint(1, 200)}),
                ]
                if proxy < LOSSY:
                    kinds = [
                        ("reset_peer", {"timeout": rng.randint(0, 2000)}),
                        ("limit_data", {"bytes": rng.randint(1, 100_000)}),
                        ("timeout", {"timeout": rng.randint(1, 2000)}),
                    ]
                kind, attributes = rng.choice(kinds)
                number += 1
                name = f"t{number}"
                body = {"name": name, "type": kind, "stream": stream, "attributes": attributes}
                await self.call("POST", f"/proxies/p{proxy}/toxics", body)
                there.append(f"/proxies/p{proxy}/toxics/{name}")
            await asyncio.sleep(0.05)


def held(pid):
    fds = len(os.listdir(f"/proc/{pid}/fd"))
    with open(f"/proc/{pid}/status") as status:
        kib = next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))
    return fds, kib


async def settled(pid, fds):
    for _ in range(200):
        if held(pid)[0] <= fds:
            break
        await asyncio.sleep(0.05)
    return held(pid)


async def main(gauntlet, connections=1000, seconds=600, seed=1):
    soak = Soak(connections, seed)
    server = await asyncio.create_subprocess_exec(
        gauntlet, "proxy", "--port", str(API), stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        upstream = await asyncio.start_server(soak.echo, "127.0.0.1", 0, backlog=1024)
        target = "127.0.0.1:%d" % upstream.sockets[0].getsockname()[1]
        for _ in range(100):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{API}/version", timeout=5).close()
                break
            except OSError:
                await asyncio.sleep(0.05)
        ports = [API + 1 + i for i in range(PROXIES)]
        for i, port in enumerate(ports):
            await soak.call("POST", "/proxies", {"name": f"p{i}", "listen": f"127.0.0.1:{port}", "upstream": target})
        idle, _ = held(server.pid)
        clients = [
            asyncio.create_task(soak.client(n, ports[n % PROXIES], n % PROXIES < LOSSY)) for n in range(connections)
        ]
        toxics = asyncio.create_task(soak.toxics())
        # What it needs with everything in use for a while is the measure.
        await asyncio.sleep(max(seconds * 0.2, 5))
        early = held(server.pid)
        await asyncio.sleep(seconds * 0.8)
        late = held(server.pid)
        soak.stop.set()
        await toxics
        await soak.call("POST", "/reset")
        _, wedged = await asyncio.wait(clients, timeout=WEDGED + 10)
        if wedged:
            soak.fail(f"{len(wedged)} clients wedged")
        fds, kib = await settled(server.pid, idle)
        if fds > idle:
            soak.fail(f"{fds} descriptors at the end, {idle} before")
        if late[1] > early[1] * 1.25 + 4096:
            soak.fail(f"memory grew from {early[1]} to {late[1]} KiB")
        print(
            f"{connections} connections, {seconds} s, seed {seed}: {soak.echoes} echoes, {soak.octets / 1e6:.0f} MB, "
            f"{soak.ended} connections ended by toxics, {soak.calls} requests to the API\n"
            f"slowest echo {soak.slowest:.2f} s, slowest request {soak.slowest_call * 1000:.0f} ms; "
            f"memory {early[1]} KiB early, {late[1]} KiB late, {kib} KiB after; descriptors {idle} before, "
            f"{late[0]} under load, {fds} after"
        )
        for words in soak.wrong:
            print("wrong:", words)
        print("clean" if not soak.wrong else "NOT clean")
        return 1 if soak.wrong else 0
    finally:
        server.terminate()
        try:
            await asyncio.wait_for(server.wait(), 10)
        except TimeoutError:
            print("wrong: the server did not end; killed")
            server.kill()


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1], *map(int, sys.argv[2:]))))
