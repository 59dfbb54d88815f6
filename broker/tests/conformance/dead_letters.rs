//! Where messages go that a queue lets go of, and what they carry then.

use crate::case::cases;

cases! {
    rejected: r#"
        open a
        a1 channel.open
        a1 exchange.declare exchange=dlx type=direct
        a1 queue.declare queue=dead
        a1 queue.bind queue=dead exchange=dlx routing_key=q
        a1 queue.declare queue=q arguments={x-dead-letter-exchange: "dlx"}
        a1 basic.consume queue=dead consumer_tag=c no_ack=true
        a1 basic.publish routing_key=q body="1" p.headers={mine: 1} p.delivery_mode=2 p.content_type="text/plain"
        a1 basic.get queue=q
        a1 basic.reject delivery_tag=1 requeue=false
        wait a1 basic.deliver
        a1 basic.publish exchange="" routing_key=q body="2"
        a1 basic.get queue=q
        a1 basic.nack delivery_tag=3 requeue=false
        wait a1 basic.deliver
    "#;

    expired: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=dead
        a1 queue.bind queue=dead exchange="amq.fanout"
        a1 queue.declare queue=q arguments={x-dead-letter-exchange: "amq.fanout"}
        a1 basic.consume queue=dead consumer_tag=c no_ack=true
        a1 basic.publish routing_key=q body="1" p.expiration="10"
        wait a1 basic.deliver
    "#;

    maxlen: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=dead
        a1 queue.declare queue=q arguments={x-max-length: 1, x-dead-letter-exchange: "", x-dead-letter-routing-key: "dead"}
        a1 basic.consume queue=dead consumer_tag=c no_ack=true
        a1 basic.publish routing_key=q body="1"
        a1 basic.publish routing_key=q body="2"
        wait a1 basic.deliver
        a1 basic.get queue=q no_ack=true
    "#;

    /// Through two queues and once more: newest first, one entry a queue and reason.
    history: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=one arguments={x-dead-letter-exchange: "", x-dead-letter-routing-key: "two"}
        a1 queue.declare queue=two arguments={x-dead-letter-exchange: "", x-dead-letter-routing-key: "one"}
        a1 basic.consume queue=one consumer_tag=c1
        a1 basic.consume queue=two consumer_tag=c2
        a1 basic.publish routing_key=one body="x"
        wait a1 basic.deliver
        a1 basic.reject delivery_tag=1 requeue=false
        wait a1 basic.deliver
        a1 basic.reject delivery_tag=2 requeue=false
        wait a1 basic.deliver
        a1 basic.reject delivery_tag=3 requeue=false
        wait a1 basic.deliver
        a1 basic.ack delivery_tag=4
    "#;

    /// A message that would go round by itself is dropped.
    cycle: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q arguments={x-message-ttl: 10, x-dead-letter-exchange: "", x-dead-letter-routing-key: "q"}
        a1 confirm.select
        a1 basic.publish routing_key=q body="x"
        confirms a1 1
        eventually a queue.declare queue=q passive=true => messages=0
    "#;

    /// Round by way of a consumer's reject is no cycle.
    cycle_by_reject: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q arguments={x-dead-letter-exchange: "", x-dead-letter-routing-key: "q"}
        a1 basic.consume queue=q consumer_tag=c
        a1 basic.publish routing_key=q body="x"
        wait a1 basic.deliver
        a1 basic.reject delivery_tag=1 requeue=false
        wait a1 basic.deliver
        a1 basic.reject delivery_tag=2 requeue=false
        wait a1 basic.deliver
    "#;

    /// To an exchange that is not there: dropped.
    unknown_exchange: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q arguments={x-dead-letter-exchange: "none"}
        a1 basic.publish routing_key=q body="x"
        a1 basic.get queue=q
        a1 basic.reject delivery_tag=1 requeue=false
        a1 basic.get queue=q
    "#;

    without_routing_key_keeps_it: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=dead
        a1 queue.bind queue=dead exchange="amq.topic" routing_key="original.*"
        a1 queue.declare queue=q arguments={x-dead-letter-exchange: "amq.topic"}
        a1 queue.bind queue=q exchange="amq.direct" routing_key="original.key"
        a1 basic.consume queue=dead consumer_tag=c no_ack=true
        a1 basic.publish exchange="amq.direct" routing_key="original.key" body="x"
        a1 basic.get queue=q
        a1 basic.reject delivery_tag=1 requeue=false
        wait a1 basic.deliver
    "#;

    with_cc: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=dead
        a1 queue.bind queue=dead exchange="amq.fanout"
        a1 queue.declare queue=q arguments={x-dead-letter-exchange: "amq.fanout"}
        a1 basic.consume queue=dead consumer_tag=c no_ack=true
        a1 basic.publish routing_key=other body="x" p.headers={CC: ["q", "r"]}
        a1 basic.get queue=q
        a1 basic.reject delivery_tag=1 requeue=false
        wait a1 basic.deliver
    "#;

    by_policy: r#"
        open a
        a1 channel.open
        admin policy p ^q$ queues dead-letter-exchange=amq.fanout,dead-letter-routing-key=new
        a1 queue.declare queue=dead
        a1 queue.bind queue=dead exchange="amq.fanout"
        a1 queue.declare queue=q
        a1 basic.consume queue=dead consumer_tag=c no_ack=true
        a1 basic.publish routing_key=q body="x"
        a1 basic.get queue=q
        a1 basic.reject delivery_tag=1 requeue=false
        wait a1 basic.deliver
    "#;

    /// Deleting or purging a queue is no death.
    not_by_purge: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=dead
        a1 queue.bind queue=dead exchange="amq.fanout"
        a1 queue.declare queue=q arguments={x-dead-letter-exchange: "amq.fanout"}
        a1 basic.publish routing_key=q body="1"
        a1 queue.purge queue=q
        a1 basic.publish routing_key=q body="2"
        a1 queue.delete queue=q
        a1 basic.get queue=dead
    "#;

    /// A publisher that says where it died is not believed, but kept.
    forged_x_death: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=dead
        a1 queue.bind queue=dead exchange="amq.fanout"
        a1 queue.declare queue=q arguments={x-dead-letter-exchange: "amq.fanout"}
        a1 basic.consume queue=dead consumer_tag=c no_ack=true
        a1 basic.publish routing_key=q body="1" p.headers={x-death: "mine", x-first-death-queue: "mine"}
        a1 basic.get queue=q
        a1 basic.reject delivery_tag=1 requeue=false
        wait a1 basic.deliver
    "#;

    /// With a routing key of its own a dead letter forgets where else it was to go.
    with_cc_and_a_new_key: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=dead
        a1 queue.declare queue=r
        a1 queue.declare queue=q arguments={x-dead-letter-exchange: "", x-dead-letter-routing-key: "dead"}
        a1 basic.consume queue=dead consumer_tag=c no_ack=true
        a1 basic.publish routing_key=q body="x" p.headers={CC: ["r"], BCC: ["s"], mine: 1}
        a1 basic.get queue=r no_ack=true
        a1 basic.get queue=q
        a1 basic.reject delivery_tag=2 requeue=false
        wait a1 basic.deliver
        a1 basic.get queue=r no_ack=true
    "#;

    /// What was dead once is dead-lettered again from the queue it came to.
    in_a_chain: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=third
        a1 queue.declare queue=second arguments={x-message-ttl: 10, x-dead-letter-exchange: "", x-dead-letter-routing-key: "third"}
        a1 queue.declare queue=first arguments={x-message-ttl: 10, x-dead-letter-exchange: "", x-dead-letter-routing-key: "second"}
        a1 basic.consume queue=third consumer_tag=c no_ack=true
        a1 basic.publish routing_key=first body="x"
        wait a1 basic.deliver
    "#;

    /// Several at once keep their order.
    in_order: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=dead
        a1 queue.declare queue=q arguments={x-dead-letter-exchange: "", x-dead-letter-routing-key: "dead"}
        a1 basic.publish routing_key=q body="1"
        a1 basic.publish routing_key=q body="2"
        a1 basic.publish routing_key=q body="3"
        a1 basic.get queue=q
        a1 basic.get queue=q
        a1 basic.get queue=q
        a1 basic.nack delivery_tag=3 multiple=true requeue=false
        a1 basic.consume queue=dead consumer_tag=c no_ack=true
        wait a1 basic.deliver*3
    "#;
}
