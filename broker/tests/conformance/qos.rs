//! How many deliveries may be outstanding. That no more came is proven by `basic.get`, which
//! takes what was held back.

use crate::case::cases;

cases! {
    per_consumer: r#"
        open a
        a1 channel.open
        a2 channel.open
        a1 queue.declare queue=q
        a1 basic.qos prefetch_count=2
        a1 basic.consume queue=q consumer_tag=c
        a1 basic.publish routing_key=q body="1"
        a1 basic.publish routing_key=q body="2"
        a1 basic.publish routing_key=q body="3"
        a1 basic.publish routing_key=q body="4"
        wait a1 basic.deliver*2
        a1 basic.ack delivery_tag=1
        wait a1 basic.deliver
        a1 basic.get queue=q
        a1 basic.get queue=q
        a1 basic.ack delivery_tag=3 multiple=true
        a1 basic.publish routing_key=q body="5"
        wait a1 basic.deliver
    "#;

    /// Each consumer has a limit of its own.
    two_consumers: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q
        a1 basic.qos prefetch_count=1
        a1 basic.consume queue=q consumer_tag=c
        a1 basic.consume queue=q consumer_tag=d
        a1 basic.publish routing_key=q body="1"
        a1 basic.publish routing_key=q body="2"
        a1 basic.publish routing_key=q body="3"
        wait a1 basic.deliver*2
        a1 basic.get queue=q no_ack=true
    "#;

    /// A change is for consumers that come after it.
    change: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q
        a1 queue.declare queue=r
        a1 basic.qos prefetch_count=1
        a1 basic.consume queue=q consumer_tag=c
        a1 basic.qos prefetch_count=2
        a1 basic.consume queue=r consumer_tag=d
        a1 basic.publish routing_key=q body="q1"
        wait a1 basic.deliver
        a1 basic.publish routing_key=q body="q2"
        a1 basic.get queue=q no_ack=true
        a1 basic.publish routing_key=r body="r1"
        a1 basic.publish routing_key=r body="r2"
        wait a1 basic.deliver*2
        a1 basic.publish routing_key=r body="r3"
        a1 basic.get queue=r no_ack=true
    "#;

    zero_is_no_limit: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q
        a1 basic.qos prefetch_count=1
        a1 basic.qos prefetch_count=0
        a1 basic.consume queue=q consumer_tag=c
        a1 basic.publish routing_key=q body="1"
        a1 basic.publish routing_key=q body="2"
        a1 basic.publish routing_key=q body="3"
        wait a1 basic.deliver*3
    "#;

    prefetch_size: r#"
        open a
        a1 channel.open
        a1 basic.qos prefetch_size=1000
    "#;

    /// One limit for all consumers of the channel.
    global: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q
        a1 queue.declare queue=r
        a1 basic.qos prefetch_count=2 global=true
        a1 basic.consume queue=q consumer_tag=c
        a1 basic.publish routing_key=q body="q1"
        a1 basic.publish routing_key=q body="q2"
        wait a1 basic.deliver*2
        a1 basic.consume queue=r consumer_tag=d
        a1 basic.publish routing_key=r body="r1"
        a1 basic.get queue=r no_ack=true
        a1 basic.ack delivery_tag=1
        a1 basic.publish routing_key=r body="r2"
        wait a1 basic.deliver
    "#;

    /// Raising it lets held deliveries go.
    global_raised: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q
        a1 basic.publish routing_key=q body="1"
        a1 basic.publish routing_key=q body="2"
        a1 basic.publish routing_key=q body="3"
        a1 basic.qos prefetch_count=1 global=true
        a1 basic.consume queue=q consumer_tag=c
        wait a1 basic.deliver
        a1 basic.qos prefetch_count=2 global=true
        wait a1 basic.deliver
        a1 basic.qos prefetch_count=0 global=true
        wait a1 basic.deliver
    "#;

    both: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q
        a1 basic.qos prefetch_count=5 global=true
        a1 basic.qos prefetch_count=1
        a1 basic.consume queue=q consumer_tag=c
        a1 basic.publish routing_key=q body="1"
        wait a1 basic.deliver
        a1 basic.publish routing_key=q body="2"
        a1 basic.get queue=q no_ack=true
    "#;

    /// Automatic acknowledgement is not limited.
    no_ack_is_not_limited: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q
        a1 basic.qos prefetch_count=1
        a1 basic.consume queue=q consumer_tag=c no_ack=true
        a1 basic.publish routing_key=q body="1"
        a1 basic.publish routing_key=q body="2"
        a1 basic.publish routing_key=q body="3"
        wait a1 basic.deliver*3
    "#;

    /// A get counts against nothing.
    get_does_not_count: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q
        a1 basic.qos prefetch_count=1
        a1 basic.publish routing_key=q body="1"
        a1 basic.publish routing_key=q body="2"
        a1 basic.get queue=q
        a1 basic.consume queue=q consumer_tag=c
        wait a1 basic.deliver
    "#;

    nack_frees: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q
        a1 basic.qos prefetch_count=1
        a1 basic.consume queue=q consumer_tag=c
        a1 basic.publish routing_key=q body="1"
        a1 basic.publish routing_key=q body="2"
        wait a1 basic.deliver
        a1 basic.nack delivery_tag=1 requeue=false
        wait a1 basic.deliver
        a1 basic.reject delivery_tag=2 requeue=true
        wait a1 basic.deliver
        a1 basic.ack delivery_tag=3
    "#;

    /// After a cancel the consumer's own limit goes with it.
    cancelled_consumer: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q
        a1 basic.qos prefetch_count=1
        a1 basic.consume queue=q consumer_tag=c
        a1 basic.publish routing_key=q body="1"
        wait a1 basic.deliver
        a1 basic.cancel consumer_tag=c
        a1 basic.consume queue=q consumer_tag=d
        a1 basic.publish routing_key=q body="2"
        wait a1 basic.deliver
    "#;
}
