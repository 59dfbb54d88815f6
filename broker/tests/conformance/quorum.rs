//! Quorum queues: counted deliveries, the limit to them, and what else differs.

use crate::case::cases;

cases! {
    declare: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q durable=true arguments={x-queue-type: "quorum"}
        a1 queue.declare queue=q durable=true arguments={x-queue-type: "quorum"}
        a1 queue.declare queue=q durable=true
        a1 channel.open
        a1 queue.declare queue=q durable=true arguments={x-queue-type: "classic"}
        a1 channel.open
        a1 queue.delete queue=q
    "#;

    delivery_count: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q durable=true arguments={x-queue-type: "quorum"}
        a1 confirm.select
        a1 basic.publish routing_key=q body="x" p.headers={mine: 1}
        confirms a1 1
        a1 basic.qos prefetch_count=1
        a1 basic.consume queue=q consumer_tag=c
        wait a1 basic.deliver
        a1 basic.nack delivery_tag=1 requeue=true
        wait a1 basic.deliver
        a1 basic.reject delivery_tag=2 requeue=true
        wait a1 basic.deliver
        a1 basic.ack delivery_tag=3
        a1 channel.flow active=true
    "#;

    delivery_limit: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=dead
        a1 queue.bind queue=dead exchange="amq.fanout"
        a1 queue.declare queue=q durable=true arguments={x-queue-type: "quorum", x-delivery-limit: 2, x-dead-letter-exchange: "amq.fanout"}
        a1 confirm.select
        a1 basic.publish routing_key=q body="x"
        confirms a1 1
        a1 basic.consume queue=q consumer_tag=c
        wait a1 basic.deliver
        a1 basic.nack delivery_tag=1 requeue=true
        wait a1 basic.deliver
        a1 basic.nack delivery_tag=2 requeue=true
        wait a1 basic.deliver
        a1 basic.nack delivery_tag=3 requeue=true
        a1 basic.consume queue=dead consumer_tag=d
        wait a1 basic.deliver
    "#;

    /// Without a limit of its own a queue has twenty.
    delivery_limit_of_twenty: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=dead
        a1 queue.declare queue=q durable=true arguments={x-queue-type: "quorum", x-dead-letter-exchange: "", x-dead-letter-routing-key: "dead"}
        a1 confirm.select
        a1 basic.publish routing_key=q body="x"
        confirms a1 1
        a1 basic.consume queue=dead consumer_tag=d
        a1 basic.consume queue=q consumer_tag=c
        wait a1 basic.deliver
        a1 basic.nack delivery_tag=1 requeue=true
        wait a1 basic.deliver
        a1 basic.nack delivery_tag=2 requeue=true
        wait a1 basic.deliver
        a1 basic.nack delivery_tag=3 requeue=true
        wait a1 basic.deliver
        a1 basic.nack delivery_tag=4 requeue=true
        wait a1 basic.deliver
        a1 basic.nack delivery_tag=5 requeue=true
        wait a1 basic.deliver
        a1 basic.nack delivery_tag=6 requeue=true
        wait a1 basic.deliver
        a1 basic.nack delivery_tag=7 requeue=true
        wait a1 basic.deliver
        a1 basic.nack delivery_tag=8 requeue=true
        wait a1 basic.deliver
        a1 basic.nack delivery_tag=9 requeue=true
        wait a1 basic.deliver
        a1 basic.nack delivery_tag=10 requeue=true
        wait a1 basic.deliver
        a1 basic.nack delivery_tag=11 requeue=true
        wait a1 basic.deliver
        a1 basic.nack delivery_tag=12 requeue=true
        wait a1 basic.deliver
        a1 basic.nack delivery_tag=13 requeue=true
        wait a1 basic.deliver
        a1 basic.nack delivery_tag=14 requeue=true
        wait a1 basic.deliver
        a1 basic.nack delivery_tag=15 requeue=true
        wait a1 basic.deliver
        a1 basic.nack delivery_tag=16 requeue=true
        wait a1 basic.deliver
        a1 basic.nack delivery_tag=17 requeue=true
        wait a1 basic.deliver
        a1 basic.nack delivery_tag=18 requeue=true
        wait a1 basic.deliver
        a1 basic.nack delivery_tag=19 requeue=true
        wait a1 basic.deliver
        a1 basic.nack delivery_tag=20 requeue=true
        wait a1 basic.deliver
        a1 basic.nack delivery_tag=21 requeue=true
        wait a1 basic.deliver
    "#;

    /// Losing the connection counts, too.
    delivery_count_after_a_loss: r#"
        open a
        open b
        a1 channel.open
        b1 channel.open
        a1 queue.declare queue=q durable=true arguments={x-queue-type: "quorum"}
        a1 confirm.select
        a1 basic.publish routing_key=q body="x"
        confirms a1 1
        a1 basic.consume queue=q consumer_tag=c
        wait a1 basic.deliver
        b1 basic.consume queue=q consumer_tag=d
        a drop
        wait b1 basic.deliver
    "#;

    get: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q durable=true arguments={x-queue-type: "quorum"}
        a1 confirm.select
        a1 basic.get queue=q
        a1 basic.publish routing_key=q body="x"
        confirms a1 1
        a1 basic.get queue=q
        a1 basic.nack delivery_tag=1 requeue=true
        a1 basic.get queue=q
        a1 basic.ack delivery_tag=2
        a1 basic.get queue=q
    "#;

    rejected_without_requeue: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=dead
        a1 queue.declare queue=q durable=true arguments={x-queue-type: "quorum", x-dead-letter-exchange: "", x-dead-letter-routing-key: "dead"}
        a1 basic.consume queue=dead consumer_tag=d no_ack=true
        a1 confirm.select
        a1 basic.publish routing_key=q body="x"
        confirms a1 1
        a1 basic.get queue=q
        a1 basic.nack delivery_tag=1 requeue=false
        wait a1 basic.deliver
    "#;

    global_qos: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q durable=true arguments={x-queue-type: "quorum"}
        a1 basic.qos prefetch_count=1 global=true
        a1 basic.consume queue=q consumer_tag=c
    "#;

    prefetch: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q durable=true arguments={x-queue-type: "quorum"}
        a1 basic.qos prefetch_count=1
        a1 basic.consume queue=q consumer_tag=c
        a1 confirm.select
        a1 basic.publish routing_key=q body="1"
        wait a1 basic.deliver
        confirms a1 1
        a1 basic.publish routing_key=q body="2"
        confirms a1 2
        a1 basic.ack delivery_tag=1
        wait a1 basic.deliver
    "#;

    exclusive_consumer: r#"
        open a
        a1 channel.open
        a2 channel.open
        a1 queue.declare queue=q durable=true arguments={x-queue-type: "quorum"}
        a1 basic.consume queue=q consumer_tag=c exclusive=true
        a2 basic.consume queue=q consumer_tag=d
    "#;

    single_active_consumer: r#"
        open a
        a1 channel.open
        a2 channel.open
        a3 channel.open
        a1 queue.declare queue=q durable=true arguments={x-queue-type: "quorum", x-single-active-consumer: true}
        a1 basic.consume queue=q consumer_tag=c1
        a2 basic.consume queue=q consumer_tag=c2
        a3 basic.publish routing_key=q body="1"
        wait a 1:basic.deliver
        a1 basic.ack delivery_tag=1
        a1 basic.cancel consumer_tag=c1
        a3 basic.publish routing_key=q body="2"
        wait a 2:basic.deliver
    "#;

    queue_deleted: r#"
        open a
        open b
        a1 channel.open
        b1 channel.open
        a1 queue.declare queue=q durable=true arguments={x-queue-type: "quorum"}
        a1 basic.consume queue=q consumer_tag=c
        b1 queue.delete queue=q
        wait a1 basic.cancel
    "#;

    if_unused_and_if_empty: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q durable=true arguments={x-queue-type: "quorum"}
        a1 queue.delete queue=q if_empty=true
        a1 channel.open
        a1 queue.delete queue=q if_unused=true
    "#;

    reject_publish: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q durable=true arguments={x-queue-type: "quorum", x-message-ttl: 60000}
        a1 confirm.select
        a1 basic.publish routing_key=q body="1" p.expiration="60000" p.priority=3
        confirms a1 1
        a1 basic.get queue=q no_ack=true
    "#;

    purge: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q durable=true arguments={x-queue-type: "quorum"}
        a1 confirm.select
        a1 basic.publish routing_key=q body="1"
        a1 basic.publish routing_key=q body="2"
        confirms a1 2
        a1 queue.purge queue=q
        a1 basic.get queue=q no_ack=true
    "#;

    reject_publish_when_full: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q durable=true arguments={x-queue-type: "quorum", x-max-length: 2}
        a1 confirm.select
        a1 basic.publish routing_key=q body="1"
        a1 basic.publish routing_key=q body="2"
        a1 basic.publish routing_key=q body="3"
        confirms a1 3
        a1 basic.get queue=q no_ack=true
        a1 basic.get queue=q no_ack=true
        a1 basic.get queue=q no_ack=true
    "#;

    message_ttl: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=dead
        a1 queue.declare queue=q durable=true arguments={x-queue-type: "quorum", x-message-ttl: 20, x-dead-letter-exchange: "", x-dead-letter-routing-key: "dead"}
        a1 basic.consume queue=dead consumer_tag=d no_ack=true
        a1 basic.publish routing_key=q body="x"
        wait a1 basic.deliver
    "#;

    /// Requeued in its place while within the limit.
    requeue_order: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q durable=true arguments={x-queue-type: "quorum"}
        a1 confirm.select
        a1 basic.publish routing_key=q body="1"
        a1 basic.publish routing_key=q body="2"
        a1 basic.publish routing_key=q body="3"
        confirms a1 3
        a1 basic.get queue=q
        a1 basic.get queue=q
        a1 basic.nack delivery_tag=1 requeue=true
        a1 basic.nack delivery_tag=2 requeue=true
        a1 basic.get queue=q
        a1 basic.get queue=q
        a1 basic.get queue=q
    "#;

    channel_closed: r#"
        open a
        a1 channel.open
        a2 channel.open
        a1 queue.declare queue=q durable=true arguments={x-queue-type: "quorum"}
        a1 confirm.select
        a1 basic.publish routing_key=q body="1"
        confirms a1 1
        a1 basic.consume queue=q consumer_tag=c
        wait a1 basic.deliver
        a2 basic.consume queue=q consumer_tag=d
        a1& channel.close reply_code=200
        wait a 1:channel.close-ok 2:basic.deliver
    "#;
}
