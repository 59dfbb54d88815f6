"""kombu: what celery and others do with it."""

import socket

from check import PATIENCE, URL, equal, main, name
from kombu import Connection, Consumer, Exchange, Producer, Queue
from kombu.mixins import ConsumerMixin
from kombu.pools import connections, producers


def produce_and_consume():
    with Connection(URL) as connection:
        exchange = Exchange(name("media"), "direct", durable=False, auto_delete=True)
        queue = Queue(name("video"), exchange, routing_key="video", durable=False, auto_delete=True)
        got = []

        def on_message(body, message):
            got.append(body)
            message.ack()

        with Consumer(connection, [queue], callbacks=[on_message], accept=["json"]):
            producer = Producer(connection)
            for number in range(10):
                producer.publish({"n": number}, exchange=exchange, routing_key="video", declare=[queue])
            while len(got) < 10:
                connection.drain_events(timeout=PATIENCE)
        equal(got, [{"n": n} for n in range(10)], "messages")


def nothing_to_drain():
    with Connection(URL) as connection:
        queue = Queue("", exclusive=True)
        with Consumer(connection, [queue], callbacks=[lambda *_: None]):
            try:
                connection.drain_events(timeout=0.05)
            except socket.timeout:
                return
    raise AssertionError("an empty queue gave an event")


def simple_queue():
    with Connection(URL) as connection:
        queue = connection.SimpleQueue(name("simple"), queue_opts={"auto_delete": True})
        queue.put({"hello": "world"})
        message = queue.get(timeout=PATIENCE)
        equal(message.payload, {"hello": "world"}, "payload")
        message.requeue()
        message = queue.get(timeout=PATIENCE)
        equal(message.delivery_info["redelivered"], True, "redelivered")
        message.ack()
        equal(queue.qsize(), 0, "size")
        queue.clear()
        queue.close()


def compression_and_serializers():
    with Connection(URL) as connection:
        queue = connection.SimpleQueue(name("zip"), queue_opts={"auto_delete": True})
        for serializer in ("json", "yaml") if _has_yaml() else ("json",):
            queue.put({"a": [1, 2]}, serializer=serializer, compression="zlib")
            message = queue.get(timeout=PATIENCE)
            equal(message.decode(), {"a": [1, 2]}, serializer)
            message.ack()
        queue.close()


def _has_yaml():
    try:
        import yaml  # noqa: F401
    except ImportError:
        return False
    return True


def pools():
    connection = Connection(URL)
    queue = Queue(name("pool"), durable=False, auto_delete=True)
    with connections[connection].acquire(block=True, timeout=PATIENCE) as held:
        with held.channel() as channel:
            queue(channel).declare()
            with producers[connection].acquire(block=True, timeout=PATIENCE) as producer:
                producer.publish({"n": 1}, routing_key=queue.name, retry=True)
                message = None
                while message is None:
                    message = queue(channel).get(accept=["json"])
                equal(message.payload, {"n": 1}, "payload")
                message.ack()
            queue(channel).delete()
    connections[connection].force_close_all()
    producers[connection].force_close_all()


def ensure():
    """A publish that fails on a channel error is not retried; a lost connection is."""
    with Connection(URL) as connection:
        errors = []
        producer = Producer(connection.channel())
        queue = Queue(name("ensure"), durable=False, auto_delete=True)
        publish = connection.ensure(producer, producer.publish, errback=lambda e, i: errors.append(e), max_retries=3)
        publish({"n": 1}, routing_key=queue.name, declare=[queue])
        connection.transport.client.connection.transport.sock.shutdown(socket.SHUT_RDWR)
        publish({"n": 2}, routing_key=queue.name, declare=[queue])
        equal(len(errors) >= 1, True, "a retry")
        bound = queue(connection.default_channel)
        equal(bound.get(accept=["json"]).payload, {"n": 1}, "before the loss")
        bound.delete()


def mixin():
    class Worker(ConsumerMixin):
        def __init__(self, connection, queue):
            self.connection, self.queue, self.got = connection, queue, []

        def get_consumers(self, consumer, channel):
            return [consumer([self.queue], callbacks=[self.on_task], prefetch_count=1)]

        def on_consume_ready(self, connection, channel, consumers, **_):
            Producer(channel).publish("task", routing_key=self.queue.name)

        def on_task(self, body, message):
            self.got.append(body)
            message.ack()
            self.should_stop = True

    with Connection(URL) as connection:
        worker = Worker(connection, Queue(name("mixin"), durable=False, auto_delete=True))
        worker.run()
        equal(worker.got, ["task"], "tasks")


def topology():
    with Connection(URL) as connection:
        channel = connection.channel()
        source = Exchange(name("source"), "topic", durable=False, auto_delete=True)(channel)
        target = Exchange(name("target"), "fanout", durable=False, auto_delete=True)(channel)
        source.declare()
        target.declare()
        target.bind_to(source, routing_key="#")
        queue = Queue("", target, exclusive=True, max_length=10, message_ttl=60.0, expires=60.0, max_priority=5)(channel)
        queue.declare()
        source.publish(source.Message("x"), routing_key="a.b")
        equal(queue.get(no_ack=True).body, "x", "routed")
        target.unbind_from(source, routing_key="#")
        queue.purge()
        queue.delete()


if __name__ == "__main__":
    main([
        produce_and_consume, nothing_to_drain, simple_queue, compression_and_serializers, pools, ensure,
        mixin, topology,
    ])
