//! Streams: read from any offset, as often as wanted, and never used up.

use crate::case::cases;

cases! {
    first: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q durable=true arguments={x-queue-type: "stream"}
        a1 confirm.select
        a1 basic.publish routing_key=q body="0"
        confirms a1 1
        a1 basic.publish routing_key=q body="1"
        confirms a1 2
        a1 basic.qos prefetch_count=10
        a1 basic.consume queue=q consumer_tag=c arguments={x-stream-offset: "first"}
        wait a1 basic.deliver*2
        a1 basic.publish routing_key=q body="2"
        wait a1 basic.deliver
        confirms a1 3
        a1 basic.ack delivery_tag=3 multiple=true
        a1 channel.flow active=true
    "#;

    next: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q durable=true arguments={x-queue-type: "stream"}
        a1 confirm.select
        a1 basic.publish routing_key=q body="0"
        confirms a1 1
        a1 basic.qos prefetch_count=10
        a1 basic.consume queue=q consumer_tag=c arguments={x-stream-offset: "next"}
        a1 basic.consume queue=q consumer_tag=d
        a1 basic.cancel consumer_tag=d
        a1 basic.publish routing_key=q body="1"
        wait a1 basic.deliver
        confirms a1 2
    "#;

    /// The default.
    next_unless_told: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q durable=true arguments={x-queue-type: "stream"}
        a1 confirm.select
        a1 basic.publish routing_key=q body="0"
        confirms a1 1
        a1 basic.qos prefetch_count=10
        a1 basic.consume queue=q consumer_tag=c
        a1 basic.publish routing_key=q body="1"
        wait a1 basic.deliver
        confirms a1 2
    "#;

    last: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q durable=true arguments={x-queue-type: "stream"}
        a1 confirm.select
        a1 basic.publish routing_key=q body="0"
        confirms a1 1
        a1 basic.publish routing_key=q body="1"
        confirms a1 2
        a1 basic.qos prefetch_count=10
        a1 basic.consume queue=q consumer_tag=c arguments={x-stream-offset: "last"}
        wait a1 basic.deliver
    "#;

    last_of_none: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q durable=true arguments={x-queue-type: "stream"}
        a1 basic.qos prefetch_count=10
        a1 basic.consume queue=q consumer_tag=c arguments={x-stream-offset: "last"}
        a1 basic.publish routing_key=q body="0"
        wait a1 basic.deliver
    "#;

    offset: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q durable=true arguments={x-queue-type: "stream"}
        a1 confirm.select
        a1 basic.publish routing_key=q body="0"
        a1 basic.publish routing_key=q body="1"
        a1 basic.publish routing_key=q body="2"
        confirms a1 3
        a1 basic.qos prefetch_count=10
        a1 basic.consume queue=q consumer_tag=c arguments={x-stream-offset: 1}
        wait a1 basic.deliver*2
    "#;

    offset_beyond_the_end: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q durable=true arguments={x-queue-type: "stream"}
        a1 confirm.select
        a1 basic.publish routing_key=q body="0"
        confirms a1 1
        a1 basic.qos prefetch_count=10
        a1 basic.consume queue=q consumer_tag=c arguments={x-stream-offset: 3}
        a1 basic.publish routing_key=q body="1"
        a1 basic.publish routing_key=q body="2"
        a1 basic.publish routing_key=q body="3"
        a1 basic.publish routing_key=q body="4"
        wait a1 basic.deliver*2
        confirms a1 5
    "#;

    offset_as_text: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q durable=true arguments={x-queue-type: "stream"}
        a1 basic.qos prefetch_count=10
        a1 basic.consume queue=q consumer_tag=c arguments={x-stream-offset: "5"}
    "#;

    offset_unknown: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q durable=true arguments={x-queue-type: "stream"}
        a1 basic.qos prefetch_count=10
        a1 basic.consume queue=q consumer_tag=c arguments={x-stream-offset: "newest"}
    "#;

    offset_negative: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q durable=true arguments={x-queue-type: "stream"}
        a1 confirm.select
        a1 basic.publish routing_key=q body="0"
        confirms a1 1
        a1 basic.qos prefetch_count=10
        a1 basic.consume queue=q consumer_tag=c arguments={x-stream-offset: -1}
        wait a1 basic.deliver
    "#;

    offset_no_number: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q durable=true arguments={x-queue-type: "stream"}
        a1 basic.qos prefetch_count=10
        a1 basic.consume queue=q consumer_tag=c arguments={x-stream-offset: true}
    "#;

    interval_too_small: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q durable=true arguments={x-queue-type: "stream"}
        a1 basic.qos prefetch_count=10
        a1 basic.consume queue=q consumer_tag=c arguments={x-stream-offset: "0h"}
    "#;

    interval: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q durable=true arguments={x-queue-type: "stream"}
        a1 confirm.select
        a1 basic.publish routing_key=q body="0"
        confirms a1 1
        a1 basic.publish routing_key=q body="1"
        confirms a1 2
        a1 basic.qos prefetch_count=10
        a1 basic.consume queue=q consumer_tag=c arguments={x-stream-offset: "1h"}
        wait a1 basic.deliver*2
    "#;

    timestamp: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q durable=true arguments={x-queue-type: "stream"}
        a1 confirm.select
        a1 basic.publish routing_key=q body="0"
        confirms a1 1
        a1 basic.qos prefetch_count=10
        a1 basic.consume queue=q consumer_tag=past arguments={x-stream-offset: 1000000000time}
        wait a1 basic.deliver
        a1 basic.cancel consumer_tag=past
        a1 basic.consume queue=q consumer_tag=future arguments={x-stream-offset: 4000000000time}
        a1 basic.publish routing_key=q body="1"
        wait a1 basic.deliver
        confirms a1 2
    "#;

    /// Every settlement is credit for one more.
    prefetch: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q durable=true arguments={x-queue-type: "stream"}
        a1 confirm.select
        a1 basic.publish routing_key=q body="0"
        a1 basic.publish routing_key=q body="1"
        a1 basic.publish routing_key=q body="2"
        a1 basic.publish routing_key=q body="3"
        confirms a1 4
        a1 basic.qos prefetch_count=1
        a1 basic.consume queue=q consumer_tag=c arguments={x-stream-offset: "first"}
        wait a1 basic.deliver
        a1 channel.flow active=true
        a1 basic.ack delivery_tag=1
        wait a1 basic.deliver
        a1 basic.nack delivery_tag=2 requeue=true
        wait a1 basic.deliver
        a1 basic.reject delivery_tag=3 requeue=false
        wait a1 basic.deliver
        a1 channel.flow active=true
    "#;

    recover: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q durable=true arguments={x-queue-type: "stream"}
        a1 confirm.select
        a1 basic.publish routing_key=q body="0"
        a1 basic.publish routing_key=q body="1"
        confirms a1 2
        a1 basic.qos prefetch_count=1
        a1 basic.consume queue=q consumer_tag=c arguments={x-stream-offset: "first"}
        wait a1 basic.deliver
        a1 basic.recover requeue=true
        a1 basic.ack delivery_tag=2
        a1 channel.flow active=true
    "#;

    /// Each consumer reads everything.
    two_consumers: r#"
        open a
        a1 channel.open
        a2 channel.open
        a1 queue.declare queue=q durable=true arguments={x-queue-type: "stream"}
        a1 basic.qos prefetch_count=10
        a2 basic.qos prefetch_count=10
        a1 basic.consume queue=q consumer_tag=c arguments={x-stream-offset: "first"}
        a2 basic.consume queue=q consumer_tag=d arguments={x-stream-offset: "first"} exclusive=true
        a2 basic.publish routing_key=q body="0"
        wait a 1:basic.deliver 2:basic.deliver
    "#;

    /// What was not acknowledged does not come back by itself.
    channel_closed: r#"
        open a
        a1 channel.open
        a2 channel.open
        a1 queue.declare queue=q durable=true arguments={x-queue-type: "stream"}
        a1 basic.qos prefetch_count=10
        a2 basic.qos prefetch_count=10
        a1 basic.consume queue=q consumer_tag=c
        a2 basic.consume queue=q consumer_tag=d
        a1 basic.publish routing_key=q body="0"
        wait a 1:basic.deliver 2:basic.deliver
        a1 channel.close reply_code=200
        a2 channel.flow active=true
        a2 basic.consume queue=q consumer_tag=e arguments={x-stream-offset: 0}
        wait a2 basic.deliver
    "#;

    consumer_again: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q durable=true arguments={x-queue-type: "stream"}
        a1 basic.qos prefetch_count=10
        a1 basic.consume queue=q consumer_tag=c arguments={x-stream-offset: "first"}
        a1 basic.publish routing_key=q body="0"
        wait a1 basic.deliver
        a1 basic.cancel consumer_tag=c
        a1 basic.ack delivery_tag=1
        a1 basic.consume queue=q consumer_tag=c arguments={x-stream-offset: "first"}
        wait a1 basic.deliver
    "#;

    deleted_under_a_consumer: r#"
        open a
        open b
        a1 channel.open
        b1 channel.open
        a1 queue.declare queue=q durable=true arguments={x-queue-type: "stream"}
        a1 basic.qos prefetch_count=10
        a1 basic.consume queue=q consumer_tag=c
        b1 queue.delete queue=q
        wait a1 basic.cancel
    "#;

    counted: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q durable=true arguments={x-queue-type: "stream"}
        a1 confirm.select
        a1 basic.publish routing_key=q body="0"
        a1 basic.publish routing_key=q body="1"
        confirms a1 2
        a1 basic.qos prefetch_count=10
        a1 basic.consume queue=q consumer_tag=c arguments={x-stream-offset: "first"}
        wait a1 basic.deliver*2
        a1 basic.ack delivery_tag=2 multiple=true
        eventually a queue.declare queue=q passive=true => messages=2
    "#;
}
