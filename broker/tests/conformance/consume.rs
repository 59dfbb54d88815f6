//! Consumers: starting, cancelling, sharing a queue.

use crate::case::cases;

cases! {
    deliver: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q
        a1 basic.publish routing_key=q body="1"
        a1 basic.publish routing_key=q body="2"
        a1 basic.consume queue=q consumer_tag=c
        wait a1 basic.deliver*2
        a1 basic.publish routing_key=q body="3"
        wait a1 basic.deliver
        a1 basic.ack delivery_tag=3 multiple=true
        a1 channel.flow active=true
    "#;

    unknown_queue: r#"
        open a
        a1 channel.open
        a1 basic.consume queue=none consumer_tag=c
    "#;

    server_named_tag: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q
        a1 basic.consume queue=q
        a1 basic.consume queue=q
        a1 basic.cancel consumer_tag="amq.ctag-1"
        a1 basic.publish routing_key=q body="x"
        wait a1 basic.deliver
    "#;

    duplicate_tag: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q
        a1 basic.consume queue=q consumer_tag=c
        a1 basic.consume queue=q consumer_tag=c
    "#;

    /// Tags are of a channel.
    same_tag_on_another_channel: r#"
        open a
        a1 channel.open
        a2 channel.open
        a1 queue.declare queue=q
        a1 basic.consume queue=q consumer_tag=c
        a2 basic.consume queue=q consumer_tag=c
    "#;

    nowait: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q
        a1 basic.publish routing_key=q body="x"
        a1 basic.consume queue=q consumer_tag=c nowait=true
        wait a1 basic.deliver
        a1 basic.cancel consumer_tag=c nowait=true
        a1 basic.cancel consumer_tag=c
    "#;

    exclusive: r#"
        open a
        a1 channel.open
        a2 channel.open
        a1 queue.declare queue=q
        a1 basic.consume queue=q consumer_tag=c exclusive=true
        a2 basic.consume queue=q consumer_tag=d
        a2 channel.open
        a2 basic.get queue=q
        a1 basic.cancel consumer_tag=c
        a2 basic.consume queue=q consumer_tag=d
    "#;

    exclusive_after_another: r#"
        open a
        a1 channel.open
        a2 channel.open
        a1 queue.declare queue=q
        a1 basic.consume queue=q consumer_tag=c
        a2 basic.consume queue=q consumer_tag=d exclusive=true
    "#;

    no_ack: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q
        a1 basic.publish routing_key=q body="1"
        a1 basic.publish routing_key=q body="2"
        a1 basic.consume queue=q consumer_tag=c no_ack=true
        wait a1 basic.deliver*2
        a1 basic.ack delivery_tag=1
        wait a1 channel.close
        a1 channel.open
        a1 basic.get queue=q
    "#;

    /// no_local is accepted and means nothing.
    no_local: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q
        a1 basic.consume queue=q consumer_tag=c no_local=true
        a1 basic.publish routing_key=q body="1"
        wait a1 basic.deliver
    "#;

    cancel_unknown: r#"
        open a
        a1 channel.open
        a1 basic.cancel consumer_tag=none
    "#;

    /// A cancelled consumer's messages stay its channel's to acknowledge.
    cancel_with_unacked: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q
        a1 basic.publish routing_key=q body="1"
        a1 basic.publish routing_key=q body="2"
        a1 basic.consume queue=q consumer_tag=c
        wait a1 basic.deliver*2
        a1 basic.cancel consumer_tag=c
        a1 basic.publish routing_key=q body="3"
        a1 basic.ack delivery_tag=1
        a1 basic.nack delivery_tag=2 requeue=true
        a1 basic.get queue=q no_ack=true
        a1 basic.get queue=q no_ack=true
        a1 basic.get queue=q no_ack=true
    "#;

    /// The broker tells of a queue that is gone.
    queue_deleted: r#"
        open a
        open b
        a1 channel.open
        b1 channel.open
        a1 queue.declare queue=q
        a1 basic.publish routing_key=q body="1"
        a1 basic.consume queue=q consumer_tag=c
        wait a1 basic.deliver
        b1 queue.delete queue=q
        wait a1 basic.cancel
        a1 basic.ack delivery_tag=1
        a1 channel.flow active=true
        a1 basic.cancel consumer_tag=c
    "#;

    queue_deleted_not_told: r#"
        open a caps=none
        open b
        a1 channel.open
        b1 channel.open
        a1 queue.declare queue=q
        a1 basic.consume queue=q consumer_tag=c
        b1 queue.delete queue=q
        a1 channel.flow active=true
        a1 basic.cancel consumer_tag=c
    "#;

    round_robin: r#"
        open a
        a1 channel.open
        a2 channel.open
        a3 channel.open
        a1 queue.declare queue=q
        a1 basic.consume queue=q consumer_tag=c1
        a2 basic.consume queue=q consumer_tag=c2
        a3 basic.publish routing_key=q body="1"
        a3 basic.publish routing_key=q body="2"
        a3 basic.publish routing_key=q body="3"
        a3 basic.publish routing_key=q body="4"
        wait a 1:basic.deliver*2 2:basic.deliver*2
    "#;

    round_robin_on_one_channel: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q
        a1 basic.consume queue=q consumer_tag=c1
        a1 basic.consume queue=q consumer_tag=c2
        a1 basic.publish routing_key=q body="1"
        a1 basic.publish routing_key=q body="2"
        a1 basic.publish routing_key=q body="3"
        a1 basic.publish routing_key=q body="4"
        wait a1 basic.deliver*4
    "#;

    /// The one with the higher priority is served while it can take more.
    priorities: r#"
        open a
        a1 channel.open
        a2 channel.open
        a3 channel.open
        a1 queue.declare queue=q
        a1 basic.qos prefetch_count=2
        a2 basic.qos prefetch_count=2
        a1 basic.consume queue=q consumer_tag=low
        a2 basic.consume queue=q consumer_tag=high arguments={x-priority: 10}
        a3 basic.publish routing_key=q body="1"
        a3 basic.publish routing_key=q body="2"
        a3 basic.publish routing_key=q body="3"
        wait a 1:basic.deliver 2:basic.deliver*2
        a2 basic.ack delivery_tag=1
        a2 channel.flow active=true
        a3 basic.publish routing_key=q body="4"
        wait a 2:basic.deliver
    "#;

    negative_priority: r#"
        open a
        a1 channel.open
        a2 channel.open
        a1 queue.declare queue=q
        a1 basic.consume queue=q consumer_tag=low arguments={x-priority: -1}
        a1 basic.consume queue=q consumer_tag=plain
        a2 basic.publish routing_key=q body="1"
        a2 basic.publish routing_key=q body="2"
        wait a1 basic.deliver*2
    "#;

    single_active_consumer: r#"
        open a
        a1 channel.open
        a2 channel.open
        a3 channel.open
        a1 queue.declare queue=q arguments={x-single-active-consumer: true}
        a1 basic.consume queue=q consumer_tag=c1
        a2 basic.consume queue=q consumer_tag=c2
        a3 basic.publish routing_key=q body="1"
        a3 basic.publish routing_key=q body="2"
        wait a 1:basic.deliver*2
        a1 basic.cancel consumer_tag=c1
        a3 basic.publish routing_key=q body="3"
        wait a 2:basic.deliver
        a1 basic.nack delivery_tag=2 multiple=true requeue=true
        wait a 2:basic.deliver*2
    "#;

    single_active_consumer_leaves: r#"
        open a
        open b
        a1 channel.open
        b1 channel.open
        a1 queue.declare queue=q arguments={x-single-active-consumer: true}
        a1 basic.consume queue=q consumer_tag=c1
        b1 basic.consume queue=q consumer_tag=c2
        b1 basic.publish routing_key=q body="1"
        wait a1 basic.deliver
        a connection.close reply_code=200
        wait b1 basic.deliver
    "#;

    single_active_consumer_is_not_exclusive: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q arguments={x-single-active-consumer: true}
        a1 basic.consume queue=q consumer_tag=c1 exclusive=true
    "#;

    /// A consumer of a channel that closes is gone; its messages go to the next.
    channel_closed: r#"
        open a
        a1 channel.open
        a2 channel.open
        a1 queue.declare queue=q
        a1 basic.consume queue=q consumer_tag=c1
        a2 basic.publish routing_key=q body="1"
        wait a1 basic.deliver
        a2 basic.consume queue=q consumer_tag=c2
        a1& channel.close reply_code=200
        wait a 1:channel.close-ok 2:basic.deliver
        a2 basic.ack delivery_tag=1
    "#;

    /// Messages a connection held come back in their order.
    connection_lost: r#"
        open a
        open b
        a1 channel.open
        b1 channel.open
        a1 queue.declare queue=q
        b1 basic.publish routing_key=q body="1"
        b1 basic.publish routing_key=q body="2"
        b1 basic.publish routing_key=q body="3"
        a1 basic.consume queue=q consumer_tag=c
        wait a1 basic.deliver*3
        a1 basic.ack delivery_tag=2
        a1 channel.flow active=true
        a drop
        eventually b queue.declare queue=q passive=true => messages=2
        b1 basic.consume queue=q consumer_tag=d
        wait b1 basic.deliver*2
    "#;

    big_bodies: r#"
        open a frame_max=8192
        a1 channel.open
        a1 queue.declare queue=q
        a1 basic.consume queue=q consumer_tag=c
        a1 basic.publish routing_key=q body=10000*"x"
        a1 basic.publish routing_key=q body=""
        a1 basic.publish routing_key=q body=3*"y"
        wait a1 basic.deliver*3
    "#;
}
