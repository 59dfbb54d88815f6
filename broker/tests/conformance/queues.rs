//! Declaring, binding, purging and deleting queues.

use crate::case::cases;

cases! {
    declare_twice: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q
        a1 queue.declare queue=q
        a1 basic.publish routing_key=q body="x"
        eventually a queue.declare queue=q => messages=1
        a1 basic.consume queue=q consumer_tag=c
        wait a1 basic.deliver
        a1 queue.declare queue=q
    "#;

    server_named: r#"
        open a
        a1 channel.open
        a1 queue.declare queue="" exclusive=true
        a1 queue.declare queue="" exclusive=true
        a1 basic.publish routing_key="amq.gen-1" body="x"
        a1 basic.get queue="amq.gen-1" no_ack=true
    "#;

    /// Only the broker may say such a name, though the queue is there.
    server_named_again: r#"
        open a
        a1 channel.open
        a1 queue.declare queue="" exclusive=true
        a1 queue.declare queue="amq.gen-1" exclusive=true
        a1 channel.open
        a1 queue.declare queue="amq.gen-1" passive=true
    "#;

    /// An empty name stands for the queue last declared on the channel.
    last_declared: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q
        a1 queue.bind queue="" exchange="amq.fanout"
        a1 basic.publish exchange="amq.fanout" body="1"
        a1 basic.publish exchange="amq.fanout" body="2"
        a1 basic.get queue="" no_ack=true
        a1 queue.purge queue=""
        a1 basic.consume queue="" consumer_tag=c
        a1 queue.unbind queue="" exchange="amq.fanout"
        a1 queue.delete queue=""
        wait a1 basic.cancel
    "#;

    /// Binding with neither name: the queue's name is the routing key.
    last_declared_as_key: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q
        a1 queue.bind queue="" exchange="amq.direct" routing_key=""
        a1 basic.publish exchange="amq.direct" routing_key=q body="1"
        a1 basic.get queue=q no_ack=true
    "#;

    none_declared: r#"
        open a
        a1 channel.open
        a1 basic.consume queue=""
        a1 channel.open
        a1 queue.bind queue="" exchange="amq.direct"
        a1 channel.open
        a1 queue.delete queue=""
        a1 channel.open
        a1 queue.declare queue="" passive=true
    "#;

    passive: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q
        a1 queue.declare queue=q passive=true durable=true auto_delete=true arguments={x-max-length: 1}
        a1 queue.declare queue=none passive=true
    "#;

    inequivalent_durable: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q
        a1 queue.declare queue=q durable=true
    "#;

    inequivalent_auto_delete: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q
        a1 queue.declare queue=q auto_delete=true
    "#;

    inequivalent_exclusive: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q
        a1 queue.declare queue=q exclusive=true
    "#;

    inequivalent_not_exclusive: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q exclusive=true
        a1 queue.declare queue=q
    "#;

    /// Durable or not means nothing to a queue that goes with its connection.
    exclusive_whatever_durable: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q exclusive=true
        a1 queue.declare queue=q exclusive=true durable=true
        a1 queue.declare queue=r exclusive=true durable=true
        a1 queue.declare queue=r exclusive=true
        a1 queue.declare queue=r exclusive=true auto_delete=true
    "#;

    inequivalent_arguments: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q arguments={x-max-length: 1}
        a1 queue.declare queue=q arguments={x-max-length: 2}
        a1 channel.open
        a1 queue.declare queue=q
        a1 channel.open
        a1 queue.declare queue=q arguments={x-max-length: 1, x-message-ttl: 5000}
        a1 channel.open
        a1 queue.declare queue=r
        a1 queue.declare queue=r arguments={x-max-length: 1}
    "#;

    /// Integers of other widths are the same number.
    equivalent_arguments: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q arguments={x-max-length: 1}
        a1 queue.declare queue=q arguments={x-max-length: 1i64}
        a1 queue.declare queue=q arguments={x-max-length: 1u8}
    "#;

    inequivalent_other_arguments: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q arguments={x-dead-letter-exchange: "a", x-dead-letter-routing-key: "k", x-overflow: "reject-publish"}
        a1 queue.declare queue=q arguments={x-dead-letter-exchange: "b", x-dead-letter-routing-key: "k", x-overflow: "reject-publish"}
        a1 channel.open
        a1 queue.declare queue=q arguments={x-dead-letter-exchange: "a", x-dead-letter-routing-key: "l", x-overflow: "reject-publish"}
        a1 channel.open
        a1 queue.declare queue=q arguments={x-dead-letter-exchange: "a", x-dead-letter-routing-key: "k"}
        a1 channel.open
        a1 queue.declare queue=q arguments={x-dead-letter-exchange: "a", x-dead-letter-routing-key: "k", x-overflow: "reject-publish", x-max-priority: 3}
        a1 channel.open
        a1 queue.declare queue=q arguments={x-dead-letter-exchange: "a", x-dead-letter-routing-key: "k", x-overflow: "reject-publish", x-expires: 60000}
        a1 channel.open
        a1 queue.declare queue=q arguments={x-dead-letter-exchange: "a", x-dead-letter-routing-key: "k", x-overflow: "reject-publish", x-single-active-consumer: true}
        a1 channel.open
        a1 queue.declare queue=q durable=true arguments={x-queue-type: "quorum"}
        a1 channel.open
        a1 queue.declare queue=q arguments={x-dead-letter-exchange: "a", x-dead-letter-routing-key: "k", x-overflow: "reject-publish", x-mine: 3}
    "#;

    queue_type_is_classic_unless_said: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q durable=true
        a1 queue.declare queue=q durable=true arguments={x-queue-type: "classic"}
        a1 queue.declare queue=q durable=true arguments={x-queue-type: "quorum"}
    "#;

    reserved_name: r#"
        open a
        a1 channel.open
        a1 queue.declare queue="amq.mine"
        a1 channel.open
        a1 queue.declare queue="amq.mine" passive=true
    "#;

    exclusive_is_locked: r#"
        open a
        open b
        a1 channel.open
        b1 channel.open
        a1 queue.declare queue=q exclusive=true
        b1 queue.declare queue=q exclusive=true
        b1 channel.open
        b1 queue.declare queue=q
        b1 channel.open
        b1 queue.declare queue=q passive=true
        b1 channel.open
        b1 basic.consume queue=q
        b1 channel.open
        b1 basic.get queue=q
        b1 channel.open
        b1 queue.bind queue=q exchange="amq.fanout"
        b1 channel.open
        b1 queue.unbind queue=q exchange="amq.fanout"
        b1 queue.purge queue=q
        b1 channel.open
        b1 queue.delete queue=q
        a1 queue.delete queue=q
    "#;

    /// Another connection may still publish to it.
    exclusive_may_be_published_to: r#"
        open a
        open b
        a1 channel.open
        a2 channel.open
        b1 channel.open
        a1 queue.declare queue=q exclusive=true
        b1 confirm.select
        b1 basic.publish routing_key=q body="x"
        confirms b1 1
        a2 basic.get queue=q no_ack=true
    "#;

    exclusive_goes_with_its_connection: r#"
        open a
        open b
        a1 channel.open
        a1 queue.declare queue=q exclusive=true durable=true
        a1 channel.close reply_code=200
        a2 channel.open
        a2 queue.declare queue=q passive=true
        a connection.close reply_code=200
        b1 channel.open
        b1 queue.declare queue=q passive=true
    "#;

    exclusive_goes_when_its_connection_drops: r#"
        open a
        open b
        a1 channel.open
        a1 queue.declare queue=q exclusive=true
        a drop
        eventually b queue.declare queue=q passive=true => NOT_FOUND
    "#;

    auto_delete_needs_a_consumer_first: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q auto_delete=true
        a1 basic.get queue=q
        a1 basic.consume queue=q consumer_tag=c
        a1 basic.consume queue=q consumer_tag=d
        a1 basic.cancel consumer_tag=c
        a1 queue.declare queue=q passive=true
        a1 basic.cancel consumer_tag=d
        a1 queue.declare queue=q passive=true
    "#;

    auto_delete_with_the_channel: r#"
        open a
        a1 channel.open
        a2 channel.open
        a1 queue.declare queue=q auto_delete=true
        a1 basic.consume queue=q consumer_tag=c
        a1 channel.close reply_code=200
        eventually a queue.declare queue=q passive=true => NOT_FOUND
    "#;

    bind_unknown: r#"
        open a
        a1 channel.open
        a1 queue.bind queue=none exchange="amq.direct" routing_key=k
        a1 channel.open
        a1 queue.declare queue=q
        a1 queue.bind queue=q exchange=none routing_key=k
        a1 channel.open
        a1 queue.unbind queue=none exchange="amq.direct" routing_key=k
        a1 queue.unbind queue=q exchange=none routing_key=k
        a1 queue.unbind queue=q exchange="amq.direct" routing_key=never
    "#;

    bind_twice: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q
        a1 queue.bind queue=q exchange="amq.direct" routing_key=k
        a1 queue.bind queue=q exchange="amq.direct" routing_key=k
        a1 queue.unbind queue=q exchange="amq.direct" routing_key=k
        a1 basic.publish exchange="amq.direct" routing_key=k mandatory=true body="x"
        wait a1 basic.return
    "#;

    /// Arguments are part of what a binding is.
    bindings_differ_by_arguments: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q
        a1 queue.bind queue=q exchange="amq.direct" routing_key=k arguments={a: 1}
        a1 queue.bind queue=q exchange="amq.direct" routing_key=k arguments={a: 2}
        a1 queue.unbind queue=q exchange="amq.direct" routing_key=k arguments={a: 1}
        a1 basic.publish exchange="amq.direct" routing_key=k mandatory=true body="x"
        a1 queue.unbind queue=q exchange="amq.direct" routing_key=k
        a1 basic.publish exchange="amq.direct" routing_key=k mandatory=true body="y"
        a1 queue.unbind queue=q exchange="amq.direct" routing_key=k arguments={a: 2}
        a1 basic.publish exchange="amq.direct" routing_key=k mandatory=true body="z"
        wait a1 basic.return
        a1 queue.purge queue=q
    "#;

    purge: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q
        a1 basic.publish routing_key=q body="1"
        a1 basic.publish routing_key=q body="2"
        a1 basic.publish routing_key=q body="3"
        a1 basic.get queue=q
        a1 queue.purge queue=q
        a1 queue.purge queue=q
        a1 basic.nack delivery_tag=1 requeue=true
        a1 basic.get queue=q
        a1 queue.purge queue=none
    "#;

    delete: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q
        a1 basic.publish routing_key=q body="1"
        a1 basic.publish routing_key=q body="2"
        a1 queue.delete queue=q
        a1 queue.delete queue=q
        a1 queue.declare queue=q passive=true
    "#;

    delete_if_empty: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q
        a1 basic.publish routing_key=q body="1"
        a1 queue.delete queue=q if_empty=true
        a1 channel.open
        a1 queue.purge queue=q
        a1 queue.delete queue=q if_empty=true
    "#;

    delete_if_unused: r#"
        open a
        a1 channel.open
        a2 channel.open
        a1 queue.declare queue=q
        a2 basic.consume queue=q consumer_tag=c
        a1 queue.delete queue=q if_unused=true
        a1 channel.open
        a2 basic.cancel consumer_tag=c
        a1 queue.delete queue=q if_unused=true
    "#;

    nowait: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q nowait=true
        a1 queue.bind queue=q exchange="amq.direct" routing_key=k nowait=true
        a1 basic.publish exchange="amq.direct" routing_key=k body="x"
        a1 queue.purge queue=q nowait=true
        a1 basic.get queue=q no_ack=true
        a1 queue.delete queue=q nowait=true
        a1 queue.declare queue=q passive=true
    "#;

    nowait_error: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=none passive=true nowait=true
        wait a1 channel.close
    "#;

    name_of_255_octets: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=255*"q"
    "#;

    /// A reply text has room for 255 octets.
    text_too_long: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=255*"q" passive=true
    "#;

    /// It is not cut within what is not ASCII: that is more than RabbitMQ can say.
    text_too_long_to_cut: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=110*"é" passive=true
        wait a connection.close
    "#;

    text_cut_before_what_is_not_ascii: r#"
        open a
        a1 channel.open
        a1 queue.declare queue="012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567801é" passive=true
    "#;

    /// What is no name to this broker's own ways of writing comes back as it came.
    name_of_private_characters: r#"
        open a
        a1 channel.open
        a1 queue.declare queue="\xf4\x8f\xb9\x81q"
        a1 exchange.declare exchange="\xf4\x8f\xb9\x81x" type=fanout
        a1 queue.bind queue="\xf4\x8f\xb9\x81q" exchange="\xf4\x8f\xb9\x81x"
        a1 basic.consume queue="\xf4\x8f\xb9\x81q" consumer_tag="\xf4\x8f\xb9\x81t"
        a1 basic.publish exchange="\xf4\x8f\xb9\x81x" routing_key="\xf4\x8f\xb9\x81k" body="x"
        wait a1 basic.deliver
        a1 basic.cancel consumer_tag="\xf4\x8f\xb9\x81t"
        a1 queue.delete queue="\xf4\x8f\xb9\x81q"
    "#;

    name_with_newline: r#"
        open a
        a1 channel.open
        a1 queue.declare queue="a\nb"
        a1 queue.declare queue="a\nb" passive=true
    "#;

    name_that_is_no_utf8: r#"
        open a
        a1 channel.open
        a1 queue.declare queue="\xff\xfe"
    "#;

    unknown_queue_type: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q durable=true arguments={x-queue-type: "nonsense"}
        a1 channel.open
        a1 queue.declare queue=q durable=true arguments={x-queue-type: 1}
    "#;
}
