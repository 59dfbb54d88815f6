//! Transactions.

use crate::case::cases;

cases! {
    commit: r#"
        open a
        a1 channel.open
        a2 channel.open
        a1 queue.declare queue=q
        a1 tx.select
        a1 tx.select
        a1 basic.publish routing_key=q body="1"
        a1 basic.publish routing_key=q body="2"
        a2 basic.get queue=q no_ack=true
        a1 tx.commit
        a2 basic.get queue=q no_ack=true
        a2 basic.get queue=q no_ack=true
    "#;

    rollback: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q
        a1 tx.select
        a1 basic.publish routing_key=q body="1"
        a1 tx.rollback
        a1 tx.commit
        a1 basic.get queue=q no_ack=true
    "#;

    /// Acks are taken back; the messages stay unacknowledged, not requeued.
    rollback_of_acks: r#"
        open a
        a1 channel.open
        a2 channel.open
        a1 queue.declare queue=q
        a1 basic.publish routing_key=q body="1"
        a1 basic.publish routing_key=q body="2"
        a1 tx.select
        a1 basic.get queue=q
        a1 basic.get queue=q
        a1 basic.ack delivery_tag=1
        a1 basic.ack delivery_tag=2
        a1 tx.rollback
        a2 basic.get queue=q no_ack=true
        a1 basic.ack delivery_tag=1
        a1 tx.commit
        a1 channel.close reply_code=200
        eventually a queue.declare queue=q passive=true => messages=1
        a2 basic.get queue=q no_ack=true
    "#;

    commit_of_nacks: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q
        a1 basic.publish routing_key=q body="1"
        a1 tx.select
        a1 basic.get queue=q
        a1 basic.nack delivery_tag=1 requeue=true
        a1 basic.get queue=q
        a1 tx.commit
        a1 basic.get queue=q
    "#;

    commit_without_select: r#"
        open a
        a1 channel.open
        a1 tx.commit
        a1 channel.open
        a1 tx.rollback
    "#;

    select_after_confirm: r#"
        open a
        a1 channel.open
        a1 confirm.select
        a1 tx.select
    "#;

    confirm_after_select: r#"
        open a
        a1 channel.open
        a1 tx.select
        a1 confirm.select
    "#;

    /// A return comes with the commit.
    mandatory: r#"
        open a
        a1 channel.open
        a1 tx.select
        a1 basic.publish routing_key=none mandatory=true body="1"
        a1& tx.commit
        wait a1 basic.return
        wait a1 tx.commit-ok
    "#;

    unknown_exchange: r#"
        open a
        a1 channel.open
        a1 tx.select
        a1 basic.publish exchange=none body="1"
        wait a1 channel.close
    "#;

    ack_of_unknown: r#"
        open a
        a1 channel.open
        a1 tx.select
        a1 basic.ack delivery_tag=5
        wait a1 channel.close
    "#;

    channel_closed: r#"
        open a
        a1 channel.open
        a2 channel.open
        a1 queue.declare queue=q
        a1 tx.select
        a1 basic.publish routing_key=q body="1"
        a1 channel.close reply_code=200
        a2 basic.get queue=q
    "#;

    /// An ack in a transaction frees the prefetch window with the commit.
    acks_and_prefetch: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q
        a1 basic.publish routing_key=q body="1"
        a1 basic.publish routing_key=q body="2"
        a1 basic.qos prefetch_count=1
        a1 tx.select
        a1 basic.consume queue=q consumer_tag=c
        wait a1 basic.deliver
        a1 basic.ack delivery_tag=1
        a1 channel.flow active=true
        a1 channel.flow active=true
        a1& tx.commit
        wait a1 tx.commit-ok basic.deliver
    "#;
}
