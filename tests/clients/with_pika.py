"""pika: the blocking adapter, and the callback adapter that it stands on."""

import pika
import pika.exceptions as ex
from check import PATIENCE, URL, equal, main, name, raises


def connect(**properties):
    parameters = pika.URLParameters(URL)
    for key, value in properties.items():
        setattr(parameters, key, value)
    return pika.BlockingConnection(parameters)


def messages(connection, channel, queue, count, **options):
    """The next deliveries, by a consumer that is cancelled afterwards."""
    got = []
    for method, properties, body in channel.consume(queue, inactivity_timeout=PATIENCE, **options):
        if method is None:
            raise AssertionError(f"expected {count} deliveries, got {len(got)}")
        got.append((method, properties, body))
        if len(got) == count:
            break
    return got


def publish_and_consume():
    with connect() as connection:
        channel = connection.channel()
        queue = channel.queue_declare("", exclusive=True).method.queue
        properties = pika.BasicProperties(
            content_type="text/plain", headers={"a": 1, "b": [1, "x"], "c": {"d": None}},
            delivery_mode=2, priority=3, correlation_id="c", reply_to="r", message_id="m",
            timestamp=1700000000, type="t", app_id="app",
        )
        for number in range(10):
            channel.basic_publish("", queue, str(number).encode(), properties)
        got = messages(connection, channel, queue, 10)
        equal([body for _, _, body in got], [str(n).encode() for n in range(10)], "bodies")
        equal(got[0][1].headers, properties.headers, "headers")
        equal(got[0][1].timestamp, 1700000000, "timestamp")
        equal([m.redelivered for m, _, _ in got], [False] * 10, "redelivered")
        channel.basic_ack(got[-1][0].delivery_tag, multiple=True)
        equal(channel.cancel(), 0, "messages given back")
        equal(channel.queue_delete(queue).method.message_count, 0, "left in the queue")


def big_message():
    with connect(frame_max=8192) as connection:
        channel = connection.channel()
        queue = channel.queue_declare("", exclusive=True).method.queue
        body = bytes(range(256)) * 4000
        channel.basic_publish("", queue, body)
        equal(channel.basic_get(queue, auto_ack=True)[2] == body, True, "the body is the same")


def confirms_and_returns():
    with connect() as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        queue = channel.queue_declare("", exclusive=True).method.queue
        channel.basic_publish("", queue, b"x", mandatory=True)
        try:
            channel.basic_publish("", name("none"), b"x", mandatory=True)
        except ex.UnroutableError as error:
            equal(error.messages[0].method.reply_code, 312, "reply code of a return")
        else:
            raise AssertionError("an unroutable mandatory message raised nothing")
        full = channel.queue_declare(
            "", exclusive=True, arguments={"x-max-length": 1, "x-overflow": "reject-publish"}
        ).method.queue
        channel.basic_publish("", full, b"1")
        try:
            channel.basic_publish("", full, b"2")
        except ex.NackError:
            pass
        else:
            raise AssertionError("a full queue that rejects raised nothing")


def errors_close_the_channel():
    with connect() as connection:
        closed = ex.ChannelClosedByBroker

        def on_channel(call):
            return lambda: call(connection.channel())

        raises(closed, 404, on_channel(lambda c: c.queue_declare(name("none"), passive=True)), "passive")
        raises(closed, 404, on_channel(lambda c: c.basic_get(name("none"))), "get")
        raises(closed, 404, on_channel(lambda c: c.exchange_declare(name("none"), passive=True)), "exchange")
        raises(closed, 403, on_channel(lambda c: c.queue_declare("amq.mine")), "reserved name")
        raises(closed, 406, on_channel(lambda c: c.tx_commit()), "commit without select")

        channel = connection.channel()
        queue = channel.queue_declare("", exclusive=True).method.queue
        raises(closed, 403, lambda: channel.queue_declare(queue, exclusive=True), "a reserved name again")
        channel = connection.channel()
        mine = name("mine")
        channel.queue_declare(mine, exclusive=True)
        raises(closed, 406, lambda: channel.queue_declare(mine, exclusive=True, auto_delete=True), "redeclared")

        def bad_ack(c):
            c.basic_ack(42)
            connection.process_data_events(0)
            c.queue_declare("", exclusive=True)

        raises(closed, 406, on_channel(bad_ack), "unknown tag")
        with connect() as other:
            raises(closed, 405, lambda: other.channel().queue_declare(queue, passive=True), "exclusive")
        equal(connection.is_open, True, "the connection lives on")


def errors_close_the_connection():
    connection = connect()
    channel = connection.channel()
    queue = channel.queue_declare("", exclusive=True).method.queue
    channel.basic_consume(queue, lambda *_: None, consumer_tag="c")
    raises(ex.ConnectionClosedByBroker, 540, lambda: channel.basic_qos(prefetch_size=1), "prefetch size")
    equal(connection.is_open, False, "the connection is closed")


def refused():
    try:
        connect(credentials=pika.PlainCredentials("guest", "wrong"))
    except ex.ProbableAuthenticationError as error:
        equal("403" in str(error), True, f"403 in {error}")
    else:
        raise AssertionError("a wrong password was accepted")
    try:
        connect(virtual_host=name("none"))
    except ex.ProbableAccessDeniedError as error:
        equal("530" in str(error), True, f"530 in {error}")
    else:
        raise AssertionError("an unknown virtual host was accepted")


def redelivery():
    with connect() as connection:
        channel = connection.channel()
        queue = channel.queue_declare("", exclusive=True).method.queue
        for body in (b"1", b"2", b"3"):
            channel.basic_publish("", queue, body)
        first = channel.basic_get(queue)[0]
        channel.basic_get(queue)
        channel.basic_nack(first.delivery_tag, requeue=True)
        method, _, body = channel.basic_get(queue)
        equal((body, method.redelivered), (b"1", True), "the requeued message")
        channel.basic_recover(requeue=True)
        got = [channel.basic_get(queue, auto_ack=True) for _ in range(3)]
        equal([(g[2], g[0].redelivered) for g in got], [(b"1", True), (b"2", True), (b"3", False)], "recovered")
        equal(channel.basic_get(queue), (None, None, None), "an empty queue")


def prefetch():
    with connect() as connection:
        channel = connection.channel()
        channel.basic_qos(prefetch_count=2)
        queue = channel.queue_declare("", exclusive=True).method.queue
        got = []
        channel.basic_consume(queue, lambda ch, m, p, b: got.append(m.delivery_tag))
        for number in range(5):
            channel.basic_publish("", queue, str(number).encode())
        while len(got) < 2:
            connection.process_data_events(time_limit=PATIENCE)
        channel.queue_declare(queue, passive=True)
        equal(len(got), 2, "deliveries before an ack")
        channel.basic_ack(got[0])
        while len(got) < 3:
            connection.process_data_events(time_limit=PATIENCE)
        channel.basic_ack(got[2], multiple=True)
        while len(got) < 5:
            connection.process_data_events(time_limit=PATIENCE)


def cancelled_by_the_broker():
    with connect() as connection, connect() as other:
        channel = connection.channel()
        queue = name("cancelled")
        channel.queue_declare(queue, auto_delete=True)
        cancelled = []
        channel.add_on_cancel_callback(lambda frame: cancelled.append(frame.method.consumer_tag))
        channel.basic_consume(queue, lambda *_: None, consumer_tag="c")
        other.channel().queue_delete(queue)
        while not cancelled:
            connection.process_data_events(time_limit=PATIENCE)
        equal(cancelled, ["c"], "cancelled consumers")


def transactions():
    with connect() as connection:
        channel = connection.channel()
        queue = channel.queue_declare("", exclusive=True).method.queue
        other = connection.channel()
        channel.tx_select()
        channel.basic_publish("", queue, b"rolled back")
        channel.tx_rollback()
        channel.basic_publish("", queue, b"committed")
        equal(other.basic_get(queue)[0], None, "before the commit")
        channel.tx_commit()
        equal(other.basic_get(queue, auto_ack=True)[2], b"committed", "after the commit")


def topology():
    with connect() as connection:
        channel = connection.channel()
        names = {kind: name(kind) for kind in ("direct", "fanout", "topic", "headers")}
        queue = channel.queue_declare("", exclusive=True).method.queue
        for kind, exchange in names.items():
            channel.exchange_declare(exchange, kind, auto_delete=True)
        channel.queue_bind(queue, names["direct"], "k")
        channel.queue_bind(queue, names["topic"], "a.*.c.#")
        channel.queue_bind(queue, names["headers"], arguments={"x-match": "any", "h": 1})
        channel.exchange_bind(names["topic"], names["fanout"], "")
        channel.basic_publish(names["direct"], "k", b"direct")
        channel.basic_publish(names["direct"], "no", b"lost")
        channel.basic_publish(names["topic"], "a.b.c.d.e", b"topic")
        channel.basic_publish(names["fanout"], "a.b.c", b"through")
        channel.basic_publish(names["headers"], "", b"headers", pika.BasicProperties(headers={"h": 1}))
        got = [channel.basic_get(queue, auto_ack=True)[2] for _ in range(4)]
        equal(got, [b"direct", b"topic", b"through", b"headers"], "routed")
        equal(channel.basic_get(queue)[0], None, "nothing more")
        channel.exchange_unbind(names["topic"], names["fanout"], "")
        channel.queue_unbind(queue, names["direct"], "k")
        for exchange in names.values():
            channel.exchange_delete(exchange)


def dead_letters():
    with connect() as connection:
        channel = connection.channel()
        dead = channel.queue_declare("", exclusive=True).method.queue
        queue = channel.queue_declare("", exclusive=True, arguments={
            "x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead, "x-message-ttl": 20,
        }).method.queue
        channel.basic_publish("", queue, b"x")
        method, properties, body = messages(connection, channel, dead, 1)[0]
        channel.cancel()
        equal(body, b"x", "body")
        death = properties.headers["x-death"][0]
        equal((death["queue"], death["reason"], death["count"]), (queue, "expired", 1), "x-death")


def callbacks():
    """The callback adapter: everything pipelined, then a close from our side."""
    seen = []

    def opened(connection):
        connection.channel(on_open_callback=on_channel)

    def on_channel(channel):
        channel.confirm_delivery(lambda frame: seen.append(("confirm", frame.method.delivery_tag)))
        channel.queue_declare("", exclusive=True, callback=lambda f: declared(channel, f.method.queue))

    def declared(channel, queue):
        channel.basic_consume(queue, delivered, auto_ack=True)
        channel.basic_publish("", queue, b"x")

    def delivered(channel, method, properties, body):
        seen.append(("message", body))
        channel.connection.ioloop.call_later(0, channel.connection.close)

    connection = pika.SelectConnection(
        pika.URLParameters(URL), on_open_callback=opened,
        on_close_callback=lambda c, reason: (seen.append(("closed", reason.reply_code)), c.ioloop.stop()),
        on_open_error_callback=lambda c, error: (seen.append(("error", error)), c.ioloop.stop()),
    )
    connection.ioloop.call_later(PATIENCE, connection.ioloop.stop)
    connection.ioloop.start()
    equal([s for s in seen if s[0] != "confirm"], [("message", b"x"), ("closed", 200)], "events")


def many_channels():
    with connect() as connection:
        channels = [connection.channel() for _ in range(200)]
        queue = channels[0].queue_declare("", exclusive=True).method.queue
        for channel in channels:
            channel.basic_publish("", queue, b"x")
            channel.close()
        with connect() as other:
            channel = other.channel()
            raises(ex.ChannelClosedByBroker, 405, lambda: channel.basic_get(queue), "another connection")


if __name__ == "__main__":
    main([
        publish_and_consume, big_message, confirms_and_returns, errors_close_the_channel,
        errors_close_the_connection, refused, redelivery, prefetch, cancelled_by_the_broker, transactions,
        topology, dead_letters, callbacks, many_channels,
    ])
