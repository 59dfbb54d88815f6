//! What an operator changes while clients are connected: policies, users, virtual hosts.

use crate::case::cases;

cases! {
    policy_on_a_live_queue: r#"
        open a
        a1 channel.open
        a1 confirm.select
        a1 queue.declare queue=q
        a1 basic.publish routing_key=q body="1"
        a1 basic.publish routing_key=q body="2"
        a1 basic.publish routing_key=q body="3"
        confirms a1 3
        admin policy p ^q$ queues max-length=1
        eventually a queue.declare queue=q passive=true => messages=1
        a1 basic.get queue=q no_ack=true
    "#;

    policy_removed: r#"
        open a
        a1 channel.open
        admin policy p ^q$ queues max-length=1,overflow=reject-publish
        a1 confirm.select
        a1 queue.declare queue=q
        a1 basic.publish routing_key=q body="1"
        confirms a1 1
        a1 basic.publish routing_key=q body="2"
        confirms a1 2
        admin no-policy p
        a1 queue.declare queue=q passive=true
        a1 channel.flow active=true
    "#;

    /// Of an argument and a policy the stricter counts.
    policy_and_argument: r#"
        open a
        a1 channel.open
        admin policy p ^q$ queues max-length=2
        a1 queue.declare queue=q arguments={x-max-length: 5}
        a1 basic.publish routing_key=q body="1"
        a1 basic.publish routing_key=q body="2"
        a1 basic.publish routing_key=q body="3"
        a1 basic.get queue=q no_ack=true
    "#;

    delivery_limit_by_policy: r#"
        open a
        a1 channel.open
        admin policy p ^q$ queues delivery-limit=1,dead-letter-exchange=amq.fanout
        a1 queue.declare queue=dead
        a1 queue.bind queue=dead exchange="amq.fanout"
        a1 queue.declare queue=q durable=true arguments={x-queue-type: "quorum"}
        a1 confirm.select
        a1 basic.publish routing_key=q body="x"
        confirms a1 1
        a1 basic.consume queue=q consumer_tag=c
        wait a1 basic.deliver
        a1 basic.nack delivery_tag=1 requeue=true
        wait a1 basic.deliver
        a1 basic.consume queue=dead consumer_tag=d
        a1 basic.nack delivery_tag=2 requeue=true
        wait a1 basic.deliver
    "#;

    /// An expression is looked for anywhere in a name; the empty one is found in all of them.
    policy_for_all_names: r#"
        open a
        a1 channel.open
        admin policy p EMPTY queues max-length=1
        a1 queue.declare queue=q
        a1 basic.publish routing_key=q body="1"
        a1 basic.publish routing_key=q body="2"
        a1 basic.get queue=q no_ack=true
    "#;

    /// It counts where a queue can be of that type, and when it is declared again.
    default_queue_type: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=before durable=true
        admin default-type quorum
        a1 queue.declare queue=q durable=true
        a1 queue.declare queue=q durable=true arguments={x-queue-type: "quorum"}
        a1 queue.declare queue=transient
        a1 queue.declare queue=transient arguments={x-queue-type: "classic"}
        a1 queue.declare queue=own exclusive=true durable=true
        a1 queue.declare queue=own exclusive=true durable=true arguments={x-queue-type: "classic"}
        a1 queue.declare queue=fleeting durable=true auto_delete=true
        a1 queue.declare queue=fleeting durable=true auto_delete=true arguments={x-queue-type: "classic"}
        a1 queue.declare durable=true
        a1 channel.open
        a1 queue.declare queue=q durable=true arguments={x-queue-type: "classic"}
        a1 channel.open
        a1 queue.declare queue=limited durable=true arguments={x-max-priority: 3}
        a1 channel.open
        a1 queue.declare queue=before durable=true
    "#;

    policy_for_exchanges_alone: r#"
        open a
        a1 channel.open
        admin policy p .* exchanges alternate-exchange=amq.fanout
        a1 queue.declare queue=lost
        a1 queue.bind queue=lost exchange="amq.fanout"
        a1 basic.publish exchange="amq.direct" routing_key=no body="x"
        a1 basic.get queue=lost no_ack=true
        a1 basic.publish exchange="" routing_key=no body="y"
        a1 basic.get queue=lost no_ack=true
    "#;

    user_deleted: r#"
        admin user VHOST-u pw
        admin permissions VHOST-u .* .* .*
        open a user="VHOST-u" password="pw"
        a1 channel.open
        a1 queue.declare queue=q
        admin no-user VHOST-u
        wait a connection.close
    "#;

    vhost_deleted: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q
        admin no-vhost
        wait a connection.close
        admin vhost
    "#;

    permission_taken_away: r#"
        admin user VHOST-u pw
        admin permissions VHOST-u .* .* .*
        open a user="VHOST-u" password="pw"
        a1 channel.open
        a1 queue.declare queue=q
        admin permissions VHOST-u ^$ ^$ ^$
        a2 channel.open
        a2 queue.declare queue=r
        a connection.close reply_code=200
        admin no-user VHOST-u
    "#;

    server_named_needs_permission: r#"
        admin user VHOST-u pw
        admin permissions VHOST-u ^mine ^mine ^mine
        open a user="VHOST-u" password="pw"
        a1 channel.open
        a1 queue.declare queue=mine arguments={x-dead-letter-exchange: "other"}
        a1 channel.open
        a1 exchange.declare exchange=mine type=fanout arguments={alternate-exchange: "other"}
        a1 channel.open
        a1 queue.declare queue=mine
        a1 queue.bind queue=other exchange=mine
        a1 channel.open
        a1 exchange.bind destination=mine source=other
        a1 channel.open
        a1 queue.unbind queue=mine exchange=other
        a connection.close reply_code=200
        admin no-user VHOST-u
    "#;
}
