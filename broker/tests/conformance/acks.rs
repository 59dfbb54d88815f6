//! Settling deliveries: ack, nack, reject, recover, get, and where messages go back to.

use crate::case::cases;

cases! {
    ack_unknown: r#"
        open a
        a1 channel.open
        a1 basic.ack delivery_tag=3
        wait a1 channel.close
    "#;

    ack_twice: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q
        a1 basic.publish routing_key=q body="1"
        a1 basic.get queue=q
        a1 basic.ack delivery_tag=1
        a1 basic.ack delivery_tag=1
        wait a1 channel.close
    "#;

    nack_unknown: r#"
        open a
        a1 channel.open
        a1 basic.nack delivery_tag=3
        wait a1 channel.close
    "#;

    reject_unknown: r#"
        open a
        a1 channel.open
        a1 basic.reject delivery_tag=3
        wait a1 channel.close
    "#;

    ack_unknown_multiple: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q
        a1 basic.publish routing_key=q body="1"
        a1 basic.get queue=q
        a1 basic.ack delivery_tag=7 multiple=true
        wait a1 channel.close
    "#;

    /// All below a tag that is already settled: nothing to do, an error all the same.
    ack_settled_multiple: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q
        a1 basic.publish routing_key=q body="1"
        a1 basic.publish routing_key=q body="2"
        a1 basic.get queue=q
        a1 basic.get queue=q
        a1 basic.ack delivery_tag=2 multiple=true
        a1 basic.ack delivery_tag=2 multiple=true
        wait a1 channel.close
    "#;

    /// Even where a tag below it is still open.
    ack_multiple_up_to_a_settled_tag: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q
        a1 basic.publish routing_key=q body="1"
        a1 basic.publish routing_key=q body="2"
        a1 basic.publish routing_key=q body="3"
        a1 basic.get queue=q
        a1 basic.get queue=q
        a1 basic.get queue=q
        a1 basic.ack delivery_tag=2
        a1 basic.ack delivery_tag=2 multiple=true
        wait a1 channel.close
    "#;

    ack_zero: r#"
        open a
        a1 channel.open
        a1 basic.ack delivery_tag=0
        wait a1 channel.close
    "#;

    /// Zero and multiple: everything there is.
    ack_zero_multiple: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q
        a1 basic.publish routing_key=q body="1"
        a1 basic.publish routing_key=q body="2"
        a1 basic.get queue=q
        a1 basic.get queue=q
        a1 basic.ack delivery_tag=0 multiple=true
        a1 basic.ack delivery_tag=0 multiple=true
        a1 basic.get queue=q
        a1 basic.ack delivery_tag=1
        wait a1 channel.close
    "#;

    ack_multiple: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q
        a1 basic.publish routing_key=q body="1"
        a1 basic.publish routing_key=q body="2"
        a1 basic.publish routing_key=q body="3"
        a1 basic.get queue=q
        a1 basic.get queue=q
        a1 basic.get queue=q
        a1 basic.ack delivery_tag=2 multiple=true
        a1 basic.nack delivery_tag=3 requeue=true
        a1 basic.get queue=q no_ack=true
        a1 basic.get queue=q no_ack=true
    "#;

    /// Tags are of a channel: another one does not know them.
    ack_on_another_channel: r#"
        open a
        a1 channel.open
        a2 channel.open
        a1 queue.declare queue=q
        a1 basic.publish routing_key=q body="1"
        a1 basic.get queue=q
        a2 basic.ack delivery_tag=1
        wait a2 channel.close
        a1 basic.ack delivery_tag=1
        a1 basic.get queue=q
    "#;

    nack_discards: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q
        a1 basic.publish routing_key=q body="1"
        a1 basic.publish routing_key=q body="2"
        a1 basic.get queue=q
        a1 basic.get queue=q
        a1 basic.nack delivery_tag=2 multiple=true requeue=false
        a1 basic.get queue=q
    "#;

    reject_discards: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q
        a1 basic.publish routing_key=q body="1"
        a1 basic.get queue=q
        a1 basic.reject delivery_tag=1 requeue=false
        a1 basic.get queue=q
    "#;

    /// Back to where it was, and marked.
    requeue_to_its_place: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q
        a1 basic.publish routing_key=q body="1"
        a1 basic.publish routing_key=q body="2"
        a1 basic.publish routing_key=q body="3"
        a1 basic.publish routing_key=q body="4"
        a1 basic.get queue=q
        a1 basic.get queue=q
        a1 basic.get queue=q
        a1 basic.nack delivery_tag=3 requeue=true
        a1 basic.nack delivery_tag=1 requeue=true
        a1 basic.get queue=q no_ack=true
        a1 basic.get queue=q no_ack=true
        a1 basic.get queue=q no_ack=true
        a1 basic.reject delivery_tag=2 requeue=true
        a1 basic.get queue=q no_ack=true
    "#;

    nack_zero_multiple: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q
        a1 basic.publish routing_key=q body="1"
        a1 basic.publish routing_key=q body="2"
        a1 basic.get queue=q
        a1 basic.get queue=q
        a1 basic.nack delivery_tag=0 multiple=true requeue=true
        a1 basic.get queue=q no_ack=true
        a1 basic.get queue=q no_ack=true
    "#;

    /// A consumer that requeues gets the message again.
    requeue_to_the_same_consumer: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q
        a1 basic.qos prefetch_count=1
        a1 basic.consume queue=q consumer_tag=c
        a1 basic.publish routing_key=q body="1"
        wait a1 basic.deliver
        a1 basic.nack delivery_tag=1 requeue=true
        wait a1 basic.deliver
        a1 basic.reject delivery_tag=2 requeue=true
        wait a1 basic.deliver
    "#;

    recover: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q
        a1 basic.publish routing_key=q body="1"
        a1 basic.publish routing_key=q body="2"
        a1 basic.get queue=q
        a1 basic.get queue=q
        a1 basic.recover requeue=true
        a1 basic.get queue=q
        a1 basic.get queue=q
        a1 basic.ack delivery_tag=1
        wait a1 channel.close
    "#;

    recover_to_a_consumer: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q
        a1 basic.consume queue=q consumer_tag=c
        a1 basic.publish routing_key=q body="1"
        a1 basic.publish routing_key=q body="2"
        wait a1 basic.deliver*2
        a1& basic.recover requeue=true
        wait a1 basic.recover-ok basic.deliver*2
        a1 basic.ack delivery_tag=4 multiple=true
    "#;

    recover_without_requeue: r#"
        open a
        a1 channel.open
        a1 basic.recover requeue=false
    "#;

    recover_async: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q
        a1 basic.publish routing_key=q body="1"
        a1 basic.get queue=q
        a1 basic.recover-async requeue=true
        a1 basic.get queue=q
    "#;

    get_empty: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q
        a1 basic.get queue=q
        a1 basic.get queue=none
    "#;

    get_counts_what_is_left: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q
        a1 basic.publish routing_key=q body="1"
        a1 basic.publish routing_key=q body="2"
        a1 basic.publish routing_key=q body="3"
        a1 basic.get queue=q
        a1 basic.get queue=q no_ack=true
        a1 basic.get queue=q
        a1 basic.get queue=q
        a1 basic.ack delivery_tag=2
        wait a1 channel.close
    "#;

    /// Gets and deliveries number together.
    one_sequence_of_tags: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q
        a1 queue.declare queue=r
        a1 basic.publish routing_key=q body="1"
        a1 basic.get queue=q
        a1 basic.consume queue=r consumer_tag=c
        a1 basic.publish routing_key=r body="2"
        wait a1 basic.deliver
        a1 basic.publish routing_key=q body="3"
        a1 basic.get queue=q
    "#;

    nack_zero_multiple_of_nothing: r#"
        open a
        a1 channel.open
        a1 basic.nack delivery_tag=0 multiple=true requeue=true
        a1 channel.flow active=true
    "#;

    /// A queue that goes takes what was unacknowledged with it; acks to it are no error.
    ack_after_the_queue_is_gone: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q
        a1 basic.publish routing_key=q body="1"
        a1 basic.get queue=q
        a1 queue.delete queue=q
        a1 basic.ack delivery_tag=1
        a1 channel.flow active=true
        a1 basic.ack delivery_tag=1
        wait a1 channel.close
    "#;

    /// Only what is requeued is marked.
    redelivered_only_if_delivered: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q
        a1 basic.qos prefetch_count=1
        a1 basic.publish routing_key=q body="1"
        a1 basic.publish routing_key=q body="2"
        a1 basic.consume queue=q consumer_tag=c
        wait a1 basic.deliver
        a1 basic.cancel consumer_tag=c
        a1 basic.nack delivery_tag=1 requeue=true
        a1 basic.get queue=q no_ack=true
        a1 basic.get queue=q no_ack=true
    "#;
}
