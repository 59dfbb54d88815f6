"""pika done well: BlockingConnection in a thread that does nothing but I/O, handlers in threads of their own.

- Heartbeats flow while handlers work; acks go back through add_callback_threadsafe, bound to the channel
  that delivered. An ack whose connection is gone is dropped: the broker delivers that message again.
- A lost connection, a closed channel and a consumer cancelled by the broker all end the session, and the
  loop around it starts another: at once, then after exponential backoff with full jitter. The backoff
  starts over when a message was handled, not when a connection was made.
- Every step has a bound. A refused login is not network trouble: it ends the process with a clear error.
- SIGTERM: cancel, finish what has begun, ack it, close, exit 0. What has not begun goes back to the queue.
  A second SIGTERM ends it at once.
- Delivery is at least once: whoever must not do the work twice makes it idempotent where its effect is
  committed, by message id.
"""

import concurrent.futures
import functools
import http.server
import json
import logging
import os
import queue
import random
import signal
import sys
import threading
import time

import pika
from pika.adapters.utils.connection_workflow import AMQPConnectorException
from pika.exceptions import AMQPError, ProbableAccessDeniedError, ProbableAuthenticationError

CONNECT_TIMEOUT = 3.0  # for TCP, and again for TCP, TLS and AMQP together
BLOCKED_TIMEOUT = 30.0  # how long connection.blocked is put up with
HEARTBEAT = 10  # where the URL does not say
DRAIN_TIMEOUT = 15.0  # from SIGTERM to the end
STABLE = 60.0  # a session that lasted this long starts the backoff over

# A connect that takes too long raises an AMQPConnectorException, which is no AMQPError.
TROUBLE = (AMQPError, AMQPConnectorException, OSError)

log = logging.getLogger("consumer")


class Refused(Exception):
    """The broker does not want us; trying again will not help."""


def handle(message_id, body):
    """The work. It returns when its effect is committed; an exception would be its failure."""
    time.sleep(int(os.environ.get("GAUNTLET_HANDLER_TIME_MS", "0")) / 1000)
    print(f"handled {message_id}\n", end="", flush=True)  # one write: workers share stdout


class Backoff:
    """Delays between attempts: the first retry at once, then full jitter under a doubling, capped ceiling."""

    def __init__(self, base, cap):
        self.base, self.cap, self.failures = base, cap, 0

    def reset(self):
        self.failures = 0

    def delay(self):
        self.failures += 1
        if self.failures == 1:
            return 0.0
        ceiling = min(self.cap, self.base * 2 ** min(self.failures - 2, 30))
        return random.uniform(0, ceiling)


class Consumer:
    """Consumes until `stop`; then `ended` is called, with None or with the error that ended it."""

    def __init__(self, url, queue_name, prefetch, workers, backoff, ended):
        self.parameters = pika.URLParameters(url)
        self.parameters.socket_timeout = CONNECT_TIMEOUT
        self.parameters.stack_timeout = CONNECT_TIMEOUT
        self.parameters.blocked_connection_timeout = BLOCKED_TIMEOUT
        if self.parameters.heartbeat is None:
            self.parameters.heartbeat = HEARTBEAT
        self.queue_name, self.prefetch, self.backoff = queue_name, prefetch, backoff
        self.workers = concurrent.futures.ThreadPoolExecutor(workers, "worker")
        self.stopping = threading.Event()
        self.consuming = False
        self.connection = None
        self.channel = None
        self.ended = ended

    def start(self):
        threading.Thread(target=self.run, name="amqp", daemon=True).start()

    def stop(self):
        """From any thread: take no more, finish, close."""
        self.stopping.set()
        if connection := self.connection:
            try:
                connection.add_callback_threadsafe(self.cancel)
            except AMQPError:
                pass  # it is gone already, and the loop sees `stopping`

    def run(self):
        error = None
        try:
            while not self.stopping.is_set():
                self.one_session()
        except Exception as e:  # whatever it is, main() must hear of it
            error = e
        self.ended(error)

    def one_session(self):
        began = time.monotonic()
        try:
            self.session()
            reason = "the consumer was cancelled by the broker"
        except (ProbableAuthenticationError, ProbableAccessDeniedError) as e:
            # "Probable": pika says so for any connection lost at that point, too. Only a reply code is certain.
            if "ConnectionClosedByBroker" in repr(e):
                raise Refused(f"the broker refused the login or the virtual host: {e}") from e
            reason = e
        except TROUBLE as e:
            reason = e
        finally:
            self.consuming = False
            self.connection = self.channel = None
        if time.monotonic() - began > STABLE:
            self.backoff.reset()
        if not self.stopping.is_set():
            delay = self.backoff.delay()
            log.warning("not consuming (%r); next attempt in %.2f s", reason, delay)
            self.stopping.wait(delay)

    def session(self):
        """One connection, from dialling to its end. Returns when there is nothing more to consume."""
        connection = pika.BlockingConnection(self.parameters)
        unsettled = {}  # delivery tag -> its future; only this thread touches it
        try:
            channel = connection.channel()
            channel.basic_qos(prefetch_count=self.prefetch)

            def on_message(channel, method, properties, body):
                tag = method.delivery_tag
                settle = functools.partial(self.settle, connection, channel, unsettled, tag)
                unsettled[tag] = self.workers.submit(self.work, channel, properties.message_id, body, settle)

            channel.basic_consume(self.queue_name, on_message)
            self.connection, self.channel = connection, channel
            self.consuming = True
            log.info("consuming %s", self.queue_name)
            if self.stopping.is_set():  # asked while connecting, when there was no one to tell
                self.cancel()
            channel.start_consuming()
            self.consuming = False
            while unsettled:  # what is at work is finished and acked from here
                connection.process_data_events(time_limit=None)
        finally:
            self.consuming = False
            if connection.is_open:
                connection.close()
            # What a worker has begun ends before the next connection is given the same message.
            concurrent.futures.wait(unsettled.values(), timeout=DRAIN_TIMEOUT)

    def cancel(self):
        """In the I/O thread: what pika has not handed out yet is returned to the queue."""
        if self.channel and self.channel.is_open:
            self.channel.stop_consuming()

    def work(self, channel, message_id, body, settle):
        """In a worker."""
        if self.stopping.is_set() or not channel.is_open:
            settle(channel.basic_nack)  # not begun: somebody else's
            return
        try:
            handle(message_id, body)
        except Exception:
            log.exception("handling %s failed: off to the dead-letter exchange, if there is one", message_id)
            settle(functools.partial(channel.basic_nack, requeue=False))
        else:
            self.backoff.reset()
            settle(channel.basic_ack)

    def settle(self, connection, channel, unsettled, tag, how):
        """In a worker: has the I/O thread ack or nack, on the channel that delivered."""

        def in_io_thread():
            if channel.is_open:
                how(tag)
            unsettled.pop(tag, None)

        try:
            connection.add_callback_threadsafe(in_io_thread)
        except AMQPError:
            pass  # the connection is gone: the broker delivers it again


def serve_health(address, consumer):
    class Health(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            up = consumer.consuming
            self.send_response(200 if up else 503)
            self.end_headers()
            self.wfile.write(json.dumps({"status": "UP" if up else "DOWN"}).encode() + b"\n")

        def log_message(self, *args):
            pass

    host, port = address.rsplit(":", 1)
    server = http.server.ThreadingHTTPServer((host, int(port)), Health)
    server.handle_error = lambda *_: None  # a prober that hangs up is no news
    threading.Thread(target=server.serve_forever, name="health", daemon=True).start()


def main():
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=logging.INFO)
    logging.getLogger("pika").setLevel(logging.CRITICAL)  # it raises what it logs
    env = os.environ.get
    # Every reason to end comes through here, and main decides.
    reasons = queue.SimpleQueue()
    # Signals are waited for in a thread of their own. A handler runs in the main thread, and one that waits for a
    # lock need not be woken for it: on a busy machine one stop in fifty went unheard. Blocked before there are
    # threads, so that all of them inherit it.
    signals = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)

    def pass_signals_on():
        while True:
            reasons.put(signal.Signals(signal.sigwait(signals)).name)

    threading.Thread(target=pass_signals_on, name="signals", daemon=True).start()
    consumer = Consumer(
        os.environ["AMQP_URL"],
        os.environ["GAUNTLET_QUEUE"],
        prefetch=int(env("GAUNTLET_PREFETCH", "10")),
        workers=int(env("GAUNTLET_WORKERS", "1")),
        backoff=Backoff(float(env("BACKOFF_BASE_MS", "1000")) / 1000, float(env("BACKOFF_CAP_MS", "30000")) / 1000),
        ended=reasons.put,
    )
    if address := env("GAUNTLET_HEALTH"):
        serve_health(address, consumer)
    consumer.start()

    reason = reasons.get()
    if isinstance(reason, str):
        log.info("%s: finishing what has begun", reason)
        consumer.stop()
        try:
            reason = reasons.get(timeout=DRAIN_TIMEOUT)
        except queue.Empty:
            reason = "work was left unfinished after %.0f s" % DRAIN_TIMEOUT
    if reason is not None:
        log.error("%s", reason)
    sys.stdout.flush()
    os._exit(0 if reason is None else 1)  # a handler that hangs must not keep the process


if __name__ == "__main__":
    main()
