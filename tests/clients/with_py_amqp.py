"""py-amqp: every method that it has."""

import urllib.parse

import amqp
from amqp import exceptions as ex
from check import PATIENCE, URL, equal, main, name, raises


def connect(**options):
    url = urllib.parse.urlparse(URL)
    settings = {
        "host": f"{url.hostname}:{url.port or 5672}", "userid": url.username, "password": url.password,
        "virtual_host": urllib.parse.unquote(url.path[1:]) or "/", "connect_timeout": PATIENCE,
        "read_timeout": PATIENCE,
    }
    connection = amqp.Connection(**{**settings, **options})
    connection.connect()
    return connection


def publish_and_get():
    with connect() as connection:
        channel = connection.channel()
        queue, count, consumers = channel.queue_declare("", exclusive=True)
        equal((count, consumers), (0, 0), "a new queue")
        headers = {"n": 1, "s": "text", "l": [1, 2], "t": {"x": True}, "f": 1.5, "none": None}
        channel.basic_publish(
            amqp.Message("hello", content_type="text/plain", application_headers=headers, delivery_mode=2),
            routing_key=queue,
        )
        message = channel.basic_get(queue)
        equal(message.body, "hello", "body")
        equal(message.headers, headers, "headers")
        equal(message.delivery_info["redelivered"], False, "redelivered")
        channel.basic_ack(message.delivery_tag)
        equal(channel.basic_get(queue), None, "an empty queue")
        equal(channel.queue_purge(queue), 0, "purged")
        equal(channel.queue_delete(queue), 0, "deleted")


def consume():
    with connect() as connection:
        channel = connection.channel()
        channel.basic_qos(0, 5, False)
        queue = channel.queue_declare("", exclusive=True).queue
        got = []

        def on_message(message):
            got.append(message.body)
            message.channel.basic_ack(message.delivery_tag)

        tag = channel.basic_consume(queue, callback=on_message)
        for number in range(20):
            channel.basic_publish(amqp.Message(str(number)), routing_key=queue)
        while len(got) < 20:
            connection.drain_events(timeout=PATIENCE)
        equal(got, [str(n) for n in range(20)], "bodies")
        channel.basic_cancel(tag)


def confirms():
    with connect(confirm_publish=True) as connection:
        channel = connection.channel()
        queue = channel.queue_declare("", exclusive=True, arguments={
            "x-max-length": 1, "x-overflow": "reject-publish",
        }).queue
        channel.basic_publish(amqp.Message("1"), routing_key=queue)
        try:
            channel.basic_publish(amqp.Message("2"), routing_key=queue)
        except ex.MessageNacked:
            pass
        else:
            raise AssertionError("a rejected message raised nothing")


def returns():
    with connect() as connection:
        channel = connection.channel()
        returned = []
        channel.events["basic_return"].add(lambda *args: returned.append(args))
        missing = name("none")
        channel.basic_publish(amqp.Message("x"), routing_key=missing, mandatory=True)
        while not returned:
            connection.drain_events(timeout=PATIENCE)
        exception, exchange, key, message = returned[0]
        equal((exception.reply_code, exchange, key, message.body), (312, "", missing, "x"), "the return")


def errors():
    with connect() as connection:
        raises(ex.NotFound, 404, lambda: connection.channel().queue_declare(name("none"), passive=True), "passive")
        raises(ex.AccessRefused, 403, lambda: connection.channel().queue_declare("amq.mine"), "reserved")
        raises(ex.PreconditionFailed, 406, lambda: connection.channel().tx_commit(), "no transaction")
        channel = connection.channel()
        queue = channel.queue_declare(name("q"), auto_delete=True, exclusive=False).queue
        raises(ex.PreconditionFailed, 406, lambda: channel.queue_declare(queue, durable=True), "durable")
        connection.channel().queue_delete(queue)
        exclusive = connection.channel().queue_declare("", exclusive=True).queue
        with connect() as other:
            raises(ex.ResourceLocked, 405, lambda: other.channel().queue_declare(exclusive, passive=True), "locked")


def refused():
    raises(ex.AccessRefused, 403, lambda: connect(password="wrong"), "password")
    raises(ex.NotAllowed, 530, lambda: connect(virtual_host=name("none")), "virtual host")


def amqplain():
    with connect(login_method="AMQPLAIN") as connection:
        connection.channel().queue_declare("", exclusive=True)


def exchanges():
    with connect() as connection:
        channel = connection.channel()
        queue = channel.queue_declare("", exclusive=True).queue
        source, target = name("source"), name("target")
        channel.exchange_declare(source, "topic", auto_delete=False)
        channel.exchange_declare(target, "fanout", auto_delete=False)
        channel.exchange_bind(target, source, "a.*")
        channel.queue_bind(queue, target)
        channel.basic_publish(amqp.Message("x"), exchange=source, routing_key="a.b")
        equal(channel.basic_get(queue, no_ack=True).body, "x", "routed")
        channel.exchange_unbind(target, source, "a.*")
        channel.queue_unbind(queue, target)
        channel.exchange_delete(target, if_unused=True)
        channel.exchange_delete(source, if_unused=True)


def settling():
    with connect() as connection:
        channel = connection.channel()
        queue = channel.queue_declare("", exclusive=True).queue
        for body in "123":
            channel.basic_publish(amqp.Message(body), routing_key=queue)
        tags = [channel.basic_get(queue).delivery_tag for _ in range(3)]
        channel.basic_reject(tags[0], requeue=True)
        channel.basic_reject(tags[1], requeue=False)
        message = channel.basic_get(queue)
        equal((message.body, message.delivery_info["redelivered"]), ("1", True), "rejected")
        channel.basic_recover(requeue=True)
        got = [channel.basic_get(queue, no_ack=True).body for _ in range(2)]
        equal(got, ["1", "3"], "recovered")


def transactions():
    with connect() as connection:
        channel, other = connection.channel(), connection.channel()
        queue = channel.queue_declare("", exclusive=True).queue
        channel.tx_select()
        channel.basic_publish(amqp.Message("1"), routing_key=queue)
        equal(other.basic_get(queue), None, "before the commit")
        channel.tx_commit()
        channel.basic_publish(amqp.Message("2"), routing_key=queue)
        channel.tx_rollback()
        equal(other.basic_get(queue, no_ack=True).body, "1", "committed")
        equal(other.basic_get(queue), None, "rolled back")


def flow():
    with connect() as connection:
        connection.channel().flow(True)


def heartbeats():
    with connect(heartbeat=2) as connection:
        equal(connection.heartbeat, 2, "negotiated")
        connection.heartbeat_tick()
        connection.send_heartbeat()
        connection.channel()


def big_message():
    with connect(frame_max=8192) as connection:
        channel = connection.channel()
        queue = channel.queue_declare("", exclusive=True).queue
        body = "x" * 100_000
        channel.basic_publish(amqp.Message(body), routing_key=queue)
        equal(channel.basic_get(queue, no_ack=True).body == body, True, "the body is the same")


if __name__ == "__main__":
    main([
        publish_and_get, consume, confirms, returns, errors, refused, amqplain, exchanges, settling,
        transactions, flow, heartbeats, big_message,
    ])
