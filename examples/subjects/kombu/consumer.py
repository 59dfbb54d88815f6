"""kombu as its documentation has it: a ConsumerMixin, which reconnects by itself.

What it leaves to itself: handlers run in the thread that does the I/O, so no heartbeat is sent while one is
at work; attempts to connect are 2, 4, 6... s apart up to 30 s, with no jitter, and a lost consumer is started
again at most once a second.
SIGTERM: the message at work is finished and acked, the consumer cancelled, the connection closed; what was
delivered and not begun goes back to the queue. The mixin looks for the request when it has
waited for a delivery in vain: once a second as it comes, and later still where heartbeats keep it waiting.
"""

import contextlib
import http.server
import json
import logging
import os
import signal
import threading
import time

import kombu
from kombu.mixins import ConsumerMixin

CONNECT_TIMEOUT = 3

log = logging.getLogger("consumer")


def handle(message_id, body):
    """The work. It returns when its effect is committed; an exception would be its failure."""
    time.sleep(int(os.environ.get("GAUNTLET_HANDLER_TIME_MS", "0")) / 1000)
    print(f"handled {message_id}", flush=True)


class Worker(ConsumerMixin):
    def __init__(self, connection, queue_name, prefetch):
        self.connection, self.queue_name, self.prefetch = connection, queue_name, prefetch
        self.consuming = False

    def get_consumers(self, Consumer, channel):
        queue = kombu.Queue(self.queue_name, no_declare=True)  # it is there already
        return [Consumer([queue], on_message=self.on_message, prefetch_count=self.prefetch)]

    def consume(self, *args, safety_interval=0.2, **kwargs):  # how often it looks for the request to stop
        return super().consume(*args, safety_interval=safety_interval, **kwargs)

    @contextlib.contextmanager
    def extra_context(self, connection, channel):
        self.consuming = True
        log.info("consuming %s", self.queue_name)
        try:
            yield
        finally:
            self.consuming = False

    def on_message(self, message):
        if self.should_stop:
            return
        try:
            handle(message.properties.get("message_id"), message.body)
        except Exception:
            log.exception("handling failed: off to the dead-letter exchange, if there is one")
            message.reject()
        else:
            message.ack()


def serve_health(address, worker):
    class Health(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200 if worker.consuming else 503)
            self.end_headers()
            self.wfile.write(json.dumps({"status": "UP" if worker.consuming else "DOWN"}).encode() + b"\n")

        def log_message(self, *args):
            pass

    host, port = address.rsplit(":", 1)
    server = http.server.ThreadingHTTPServer((host, int(port)), Health)
    server.handle_error = lambda *_: None  # a prober that hangs up is no news
    threading.Thread(target=server.serve_forever, name="health", daemon=True).start()


def main():
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=logging.INFO)
    env = os.environ.get
    with kombu.Connection(os.environ["AMQP_URL"], connect_timeout=CONNECT_TIMEOUT) as connection:
        worker = Worker(connection, os.environ["GAUNTLET_QUEUE"], int(env("GAUNTLET_PREFETCH", "10")))

        def stop(*_):
            worker.should_stop = True

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, stop)
        if address := env("GAUNTLET_HEALTH"):
            serve_health(address, worker)
        worker.run()


if __name__ == "__main__":
    main()
