"""aio-pika: what an asyncio service does with it."""

import asyncio

import aio_pika
import aiormq
from aio_pika import DeliveryMode, ExchangeType, Message
from aio_pika.patterns import RPC, Master
from check import PATIENCE, URL, equal, main, name


def case(body):
    """A coroutine as a case, with an end to its patience."""
    def run():
        asyncio.run(asyncio.wait_for(body(), 3 * PATIENCE))
    run.__name__ = body.__name__
    return run


@case
async def publish_and_iterate():
    connection = await aio_pika.connect(URL)
    async with connection:
        channel = await connection.channel()
        await channel.set_qos(prefetch_count=10)
        queue = await channel.declare_queue("", exclusive=True)
        sent = [Message(str(n).encode(), headers={"n": n}, delivery_mode=DeliveryMode.PERSISTENT) for n in range(50)]
        await asyncio.gather(*(channel.default_exchange.publish(m, queue.name) for m in sent))
        got = []
        async with queue.iterator() as messages:
            async for message in messages:
                async with message.process():
                    got.append(message.headers["n"])
                if len(got) == 50:
                    break
        equal(sorted(got), list(range(50)), "numbers")
        declared = await channel.declare_queue(queue.name, passive=True)
        equal(declared.declaration_result.message_count, 0, "left in the queue")


@case
async def exchanges():
    async with await aio_pika.connect_robust(URL) as connection:
        channel = await connection.channel()
        topic = await channel.declare_exchange(name("topic"), ExchangeType.TOPIC, auto_delete=True)
        fanout = await channel.declare_exchange(name("fanout"), ExchangeType.FANOUT, auto_delete=True)
        queue = await channel.declare_queue("", exclusive=True)
        await queue.bind(topic, "a.#")
        await topic.bind(fanout, "")
        await topic.publish(Message(b"1"), "a.b")
        await fanout.publish(Message(b"2"), "a")
        await fanout.publish(Message(b"lost"), "b", mandatory=False)
        got = [(await queue.get(no_ack=True)).body for _ in range(2)]
        equal(got, [b"1", b"2"], "routed")
        equal(await queue.get(no_ack=True, fail=False), None, "nothing more")
        await queue.unbind(topic, "a.#")
        await topic.unbind(fanout, "")


@case
async def returns():
    async with await aio_pika.connect(URL) as connection:
        channel = await connection.channel(on_return_raises=True)
        try:
            await channel.default_exchange.publish(Message(b"x"), name("none"))
        except aio_pika.exceptions.PublishError as error:
            equal("NO_ROUTE" in str(error), True, f"NO_ROUTE in {error}")
        else:
            raise AssertionError("an unroutable message raised nothing")


@case
async def errors():
    async with await aio_pika.connect(URL) as connection:
        async def fails(kind, call, what):
            try:
                await call(await connection.channel())
            except kind:
                return
            raise AssertionError(f"{what}: no {kind.__name__}")

        exceptions = aiormq.exceptions
        await fails(exceptions.ChannelNotFoundEntity, lambda c: c.declare_queue(name("none"), passive=True), "passive")
        await fails(exceptions.ChannelNotFoundEntity, lambda c: c.get_exchange(name("none")), "exchange")
        await fails(exceptions.ChannelAccessRefused, lambda c: c.declare_queue("amq.mine"), "reserved")
        channel = await connection.channel()
        queue = await channel.declare_queue("", exclusive=True)
        async with await aio_pika.connect(URL) as other:
            try:
                await (await other.channel()).declare_queue(queue.name, passive=True)
            except exceptions.ChannelLockedResource:
                pass
            else:
                raise AssertionError("an exclusive queue was not locked")


@case
async def refused():
    wrong = URL.replace("guest:guest", "guest:wrong")
    try:
        await aio_pika.connect(wrong)
    except aiormq.exceptions.ProbableAuthenticationError:
        return
    raise AssertionError("a wrong password was accepted")


@case
async def remote_procedures():
    async with await aio_pika.connect_robust(URL) as connection:
        channel = await connection.channel()
        rpc = await RPC.create(channel)

        async def multiply(*, x, y):
            return x * y

        async def fail():
            raise ValueError("on purpose")

        method, failing = name("multiply"), name("fail")
        await rpc.register(method, multiply, auto_delete=True)
        await rpc.register(failing, fail, auto_delete=True)
        results = await asyncio.gather(*(rpc.call(method, {"x": n, "y": 2}) for n in range(20)))
        equal(results, [n * 2 for n in range(20)], "results")
        try:
            await rpc.call(failing)
        except ValueError:
            pass
        else:
            raise AssertionError("a failing procedure did not fail")
        await rpc.close()


@case
async def workers():
    async with await aio_pika.connect_robust(URL) as connection:
        channel = await connection.channel()
        master = Master(channel)
        done, queue = asyncio.get_running_loop().create_future(), name("work")
        seen = []

        async def work(*, task):
            seen.append(task)
            if len(seen) == 10 and not done.done():
                done.set_result(None)

        worker = await master.create_worker(queue, work, auto_delete=True)
        for task in range(10):
            await master.create_task(queue, {"task": task})
        await done
        equal(sorted(seen), list(range(10)), "tasks")
        await worker.close()


@case
async def dead_letters():
    async with await aio_pika.connect(URL) as connection:
        channel = await connection.channel()
        dead = await channel.declare_queue("", exclusive=True)
        queue = await channel.declare_queue("", exclusive=True, arguments={
            "x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead.name,
        })
        await channel.default_exchange.publish(Message(b"x", expiration=0.02), queue.name)
        await channel.default_exchange.publish(Message(b"y"), queue.name)
        arrived = asyncio.Queue()
        await dead.consume(arrived.put, no_ack=True)
        message = await arrived.get()
        equal(message.headers["x-death"][0]["reason"], "expired", "reason")
        await (await queue.get()).reject(requeue=False)
        message = await arrived.get()
        equal((message.body, message.headers["x-death"][0]["reason"]), (b"y", "rejected"), "second")


@case
async def transactions():
    async with await aio_pika.connect(URL) as connection:
        channel = await connection.channel(publisher_confirms=False)
        queue = await channel.declare_queue("", exclusive=True)
        async with channel.transaction():
            await channel.default_exchange.publish(Message(b"x"), queue.name)
        equal((await queue.get(no_ack=True)).body, b"x", "committed")
        try:
            async with channel.transaction():
                await channel.default_exchange.publish(Message(b"y"), queue.name)
                raise ValueError("on purpose")
        except ValueError:
            pass
        equal(await queue.get(fail=False), None, "rolled back")


@case
async def redelivery():
    async with await aio_pika.connect(URL) as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue("", exclusive=True)
        await channel.default_exchange.publish(Message(b"x"), queue.name)
        message = await queue.get()
        equal(message.redelivered, False, "first")
        await message.nack(requeue=True)
        message = await queue.get()
        equal(message.redelivered, True, "second")
        await message.ack()


@case
async def quorum():
    async with await aio_pika.connect(URL) as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue(name("quorum"), durable=True, arguments={"x-queue-type": "quorum"})
        await channel.default_exchange.publish(Message(b"x"), queue.name)
        await (await queue.get()).nack(requeue=True)
        message = await queue.get()
        equal(message.headers["x-delivery-count"], 1, "x-delivery-count")
        await message.ack()
        await queue.delete(if_unused=False, if_empty=False)


if __name__ == "__main__":
    main([
        publish_and_iterate, exchanges, returns, errors, refused, remote_procedures, workers, dead_letters,
        transactions, redelivery, quorum,
    ])
