//! Queues that let go of messages: time to live, expiry, length, dead letters, priorities.

use crate::case::cases;

cases! {
    message_ttl: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q arguments={x-message-ttl: 50}
        a1 confirm.select
        a1 basic.publish routing_key=q body="1"
        confirms a1 1
        eventually a queue.declare queue=q passive=true => messages=0
        a1 basic.get queue=q
    "#;

    /// At once, unless a consumer takes it.
    message_ttl_zero: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q arguments={x-message-ttl: 0}
        a1 confirm.select
        a1 basic.publish routing_key=q body="1"
        confirms a1 1
        a1 basic.get queue=q
        a1 basic.consume queue=q consumer_tag=c
        a1 basic.publish routing_key=q body="2"
        wait a1 basic.deliver
        confirms a1 2
    "#;

    expiration: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q
        a1 queue.declare queue=dead
        a1 queue.declare queue=t arguments={x-dead-letter-exchange: "", x-dead-letter-routing-key: "dead"}
        a1 basic.consume queue=dead consumer_tag=c
        a1 basic.publish routing_key=t body="1" p.expiration="20"
        a1 basic.publish routing_key=t body="2" p.expiration="60000"
        wait a1 basic.deliver
        a1 basic.get queue=t no_ack=true
    "#;

    expiration_zero: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q
        a1 basic.publish routing_key=q body="1" p.expiration="0"
        a1 basic.get queue=q no_ack=true
    "#;

    /// The shorter of the two counts.
    ttl_of_queue_and_message: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=dead
        a1 basic.consume queue=dead consumer_tag=c
        a1 queue.declare queue=t arguments={x-message-ttl: 30, x-dead-letter-exchange: "", x-dead-letter-routing-key: "dead"}
        a1 basic.publish routing_key=t body="1" p.expiration="60000"
        wait a1 basic.deliver
    "#;

    ttl_by_policy: r#"
        open a
        a1 channel.open
        admin policy p ^t$ queues message-ttl=30,dead-letter-exchange=amq.fanout
        a1 queue.declare queue=dead
        a1 queue.bind queue=dead exchange="amq.fanout"
        a1 basic.consume queue=dead consumer_tag=c
        a1 queue.declare queue=t
        a1 basic.publish routing_key=t body="1"
        wait a1 basic.deliver
    "#;

    /// Use puts it off. That it is gone shows in its binding: asking for it would be use.
    queue_expires: r#"
        open a
        a1 channel.open
        a1 exchange.declare exchange=e type=fanout
        a1 queue.declare queue=q arguments={x-expires: 50}
        a1 queue.bind queue=q exchange=e
        a1 basic.consume queue=q consumer_tag=c
        a1 basic.publish routing_key=q body="1"
        wait a1 basic.deliver
        a1 basic.cancel consumer_tag=c
        eventually a exchange.delete exchange=e if_unused=true => exchange.delete-ok
        a1 queue.declare queue=q passive=true
    "#;

    queue_expires_unused: r#"
        open a
        a1 channel.open
        a1 exchange.declare exchange=e type=fanout
        a1 queue.declare queue=q arguments={x-expires: 300}
        a1 queue.bind queue=q exchange=e
        eventually a exchange.delete exchange=e if_unused=true => exchange.delete-ok
        a1 queue.declare queue=q passive=true
    "#;

    max_length_drop_head: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q arguments={x-max-length: 2}
        a1 basic.publish routing_key=q body="1"
        a1 basic.publish routing_key=q body="2"
        a1 basic.publish routing_key=q body="3"
        a1 basic.get queue=q no_ack=true
        a1 basic.get queue=q no_ack=true
        a1 basic.get queue=q no_ack=true
    "#;

    max_length_zero: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q arguments={x-max-length: 0}
        a1 confirm.select
        a1 basic.publish routing_key=q body="1"
        confirms a1 1
        a1 basic.get queue=q no_ack=true
    "#;

    max_length_bytes: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q arguments={x-max-length-bytes: 10}
        a1 basic.publish routing_key=q body="aaaa"
        a1 basic.publish routing_key=q body="bbbb"
        a1 basic.publish routing_key=q body="cccc"
        a1 basic.get queue=q no_ack=true
        a1 basic.get queue=q no_ack=true
        a1 basic.get queue=q no_ack=true
        a1 basic.publish routing_key=q body="longer than that"
        a1 basic.get queue=q no_ack=true
    "#;

    /// Only what is ready counts.
    max_length_and_unacked: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q arguments={x-max-length: 1}
        a1 basic.publish routing_key=q body="1"
        a1 basic.get queue=q
        a1 basic.publish routing_key=q body="2"
        a1 basic.get queue=q
        a1 basic.nack delivery_tag=2 multiple=true requeue=true
        a1 basic.get queue=q
        a1 basic.get queue=q
    "#;

    reject_publish: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q arguments={x-max-length: 1, x-overflow: "reject-publish"}
        a1 confirm.select
        a1 basic.publish routing_key=q body="1"
        confirms a1 1
        a1 basic.publish routing_key=q body="2"
        confirms a1 2
        a1 basic.get queue=q no_ack=true
        a1 basic.publish routing_key=q body="3"
        confirms a1 3
    "#;

    reject_publish_dlx: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=dead
        a1 queue.declare queue=q arguments={x-max-length: 1, x-overflow: "reject-publish-dlx", x-dead-letter-exchange: "", x-dead-letter-routing-key: "dead"}
        a1 confirm.select
        a1 basic.publish routing_key=q body="1"
        confirms a1 1
        a1 basic.consume queue=dead consumer_tag=c
        a1 basic.publish routing_key=q body="2"
        wait a1 basic.deliver
        confirms a1 2
    "#;

    priorities: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q arguments={x-max-priority: 5}
        a1 basic.publish routing_key=q body="none"
        a1 basic.publish routing_key=q body="1" p.priority=1
        a1 basic.publish routing_key=q body="5" p.priority=5
        a1 basic.publish routing_key=q body="9" p.priority=9
        a1 basic.publish routing_key=q body="3" p.priority=3
        a1 basic.publish routing_key=q body="3 again" p.priority=3
        a1 basic.get queue=q
        a1 basic.get queue=q
        a1 basic.get queue=q
        a1 basic.nack delivery_tag=3 requeue=true
        a1 basic.get queue=q
        a1 basic.get queue=q
        a1 basic.get queue=q
        a1 basic.get queue=q
        a1 basic.get queue=q
    "#;

    /// A message that expires at the tail waits for those before it.
    expiry_waits_for_the_head: r#"
        open a
        a1 channel.open
        a1 confirm.select
        a1 queue.declare queue=q
        a1 queue.declare queue=t arguments={x-message-ttl: 20}
        a1 basic.publish routing_key=q body="1"
        a1 basic.publish routing_key=q body="2" p.expiration="10"
        a1 basic.publish routing_key=t body="clock"
        confirms a1 3
        eventually a queue.declare queue=t passive=true => messages=0
        a1 queue.declare queue=q passive=true
        a1 basic.get queue=q no_ack=true
        a1 basic.get queue=q no_ack=true
    "#;

    expired_behind_the_head_is_not_delivered: r#"
        open a
        a1 channel.open
        a1 confirm.select
        a1 queue.declare queue=q
        a1 queue.declare queue=t arguments={x-message-ttl: 20}
        a1 basic.publish routing_key=q body="1"
        a1 basic.publish routing_key=q body="2" p.expiration="10"
        a1 basic.publish routing_key=q body="3"
        a1 basic.publish routing_key=t body="clock"
        confirms a1 4
        eventually a queue.declare queue=t passive=true => messages=0
        a1 basic.consume queue=q consumer_tag=c
        wait a1 basic.deliver*2
    "#;

    /// A priority queue that is full loses its lowest first.
    priorities_and_max_length: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q arguments={x-max-priority: 5, x-max-length: 2}
        a1 basic.publish routing_key=q body="low" p.priority=1
        a1 basic.publish routing_key=q body="high" p.priority=5
        a1 basic.publish routing_key=q body="middle" p.priority=3
        a1 basic.get queue=q no_ack=true
        a1 basic.get queue=q no_ack=true
        a1 basic.get queue=q no_ack=true
    "#;
}
