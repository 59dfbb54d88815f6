"""aio-pika as its documentation has it: connect_robust reconnects and restores channel, prefetch and consumer.

What it leaves to itself: the delay between attempts is fixed (5 s by default, no jitter), the first connection
is tried once, and messages that arrived before a cut are handled to the end although their acks can no longer
be sent, so they are handled again.
SIGTERM: cancel, finish what has begun, ack it, close.
"""

import asyncio
import contextlib
import http.server
import json
import logging
import os
import signal
import threading

import aio_pika

CONNECT_TIMEOUT = 3
CANCEL_TIMEOUT = 2
DRAIN_TIMEOUT = 15

log = logging.getLogger("consumer")


async def handle(message):
    """The work. It returns when its effect is committed; an exception would be its failure."""
    await asyncio.sleep(int(os.environ.get("GAUNTLET_HANDLER_TIME_MS", "0")) / 1000)
    print(f"handled {message.message_id}", flush=True)


class Status:
    consuming = False

    def up(self, *_):
        self.consuming = True

    def down(self, *_):
        self.consuming = False


async def main():
    env = os.environ.get
    stop, status = asyncio.Event(), Status()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    if address := env("GAUNTLET_HEALTH"):
        serve_health(address, status)

    connection = await aio_pika.connect_robust(
        os.environ["AMQP_URL"],
        timeout=CONNECT_TIMEOUT,
        reconnect_interval=int(env("BACKOFF_BASE_MS", "5000")) / 1000,
    )
    connection.close_callbacks.add(status.down)
    connection.reconnect_callbacks.add(status.up)
    async with connection:
        channel = await connection.channel()
        await channel.set_qos(prefetch_count=int(env("GAUNTLET_PREFETCH", "10")))
        queue = await channel.get_queue(os.environ["GAUNTLET_QUEUE"])
        begun = set()  # each message is a task of its own; the prefetch is the limit

        async def on_message(message):
            begun.add(asyncio.current_task())
            try:
                async with message.process():  # acks at the end, rejects when it raises
                    await handle(message)
            finally:
                begun.discard(asyncio.current_task())

        tag = await queue.consume(on_message)
        status.up()
        log.info("consuming %s", queue.name)

        await stop.wait()
        status.down()
        with contextlib.suppress(TimeoutError):
            # Without a connection it would wait for the next one.
            async with asyncio.timeout(CANCEL_TIMEOUT if connection.connected.is_set() else 0):
                await queue.cancel(tag)
        async with asyncio.timeout(DRAIN_TIMEOUT):
            await asyncio.gather(*begun, return_exceptions=True)


def serve_health(address, status):
    class Health(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200 if status.consuming else 503)
            self.end_headers()
            self.wfile.write(json.dumps({"status": "UP" if status.consuming else "DOWN"}).encode() + b"\n")

        def log_message(self, *args):
            pass

    host, port = address.rsplit(":", 1)
    server = http.server.ThreadingHTTPServer((host, int(port)), Health)
    server.handle_error = lambda *_: None  # a prober that hangs up is no news
    threading.Thread(target=server.serve_forever, name="health", daemon=True).start()


if __name__ == "__main__":
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=logging.INFO)
    asyncio.run(main())
