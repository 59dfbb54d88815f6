//! The arguments of queues that are refused, and with what words.

use crate::case::cases;

cases! {
    message_ttl: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q arguments={x-message-ttl: -1}
        a1 channel.open
        a1 queue.declare queue=q arguments={x-message-ttl: "5"}
        a1 channel.open
        a1 queue.declare queue=q arguments={x-message-ttl: 1.5}
        a1 channel.open
        a1 queue.declare queue=q arguments={x-message-ttl: 99999999999i64}
        a1 queue.declare queue=r arguments={x-message-ttl: 0}
    "#;

    expires: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q arguments={x-expires: 0}
        a1 channel.open
        a1 queue.declare queue=q arguments={x-expires: -1}
        a1 channel.open
        a1 queue.declare queue=q arguments={x-expires: "5"}
        a1 channel.open
        a1 queue.declare queue=q arguments={x-expires: 99999999999i64}
    "#;

    max_length: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q arguments={x-max-length: -1}
        a1 channel.open
        a1 queue.declare queue=q arguments={x-max-length: "5"}
        a1 channel.open
        a1 queue.declare queue=q arguments={x-max-length-bytes: -5}
        a1 channel.open
        a1 queue.declare queue=q arguments={x-max-length-bytes: true}
    "#;

    overflow: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q arguments={x-overflow: "nonsense"}
        a1 channel.open
        a1 queue.declare queue=q arguments={x-overflow: 1}
    "#;

    max_priority: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q arguments={x-max-priority: 256}
        a1 channel.open
        a1 queue.declare queue=q arguments={x-max-priority: -1}
        a1 channel.open
        a1 queue.declare queue=q arguments={x-max-priority: "5"}
    "#;

    dead_letter: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q arguments={x-dead-letter-exchange: 1}
        a1 channel.open
        a1 queue.declare queue=q arguments={x-dead-letter-routing-key: "k"}
        a1 channel.open
        a1 queue.declare queue=q arguments={x-dead-letter-exchange: "e", x-dead-letter-routing-key: 1}
        a1 channel.open
        a1 queue.declare queue=q arguments={x-dead-letter-strategy: "at-least-once"}
    "#;

    single_active_consumer: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q arguments={x-single-active-consumer: 1}
        a1 channel.open
        a1 queue.declare queue=q arguments={x-single-active-consumer: "true"}
    "#;

    queue_mode: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q arguments={x-queue-mode: "lazy"}
        a1 queue.declare queue=r arguments={x-queue-mode: "nonsense"}
    "#;

    queue_version: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q arguments={x-queue-version: 2}
        a1 queue.declare queue=r arguments={x-queue-version: 1}
        a1 queue.declare queue=s arguments={x-queue-version: 3}
    "#;

    queue_leader_locator: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q arguments={x-queue-leader-locator: "client-local"}
        a1 queue.declare queue=r arguments={x-queue-leader-locator: "nonsense"}
    "#;

    /// What a classic queue knows nothing of.
    classic_with_arguments_of_quorum: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q arguments={x-delivery-limit: 3}
        a1 channel.open
        a1 queue.declare queue=q arguments={x-quorum-initial-group-size: 3}
        a1 channel.open
        a1 queue.declare queue=q arguments={x-max-age: "1h"}
        a1 channel.open
        a1 queue.declare queue=q arguments={x-max-in-memory-length: 3}
    "#;

    quorum_must_be_durable: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q arguments={x-queue-type: "quorum"}
    "#;

    quorum_not_exclusive: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q durable=true exclusive=true arguments={x-queue-type: "quorum"}
    "#;

    quorum_not_auto_delete: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q durable=true auto_delete=true arguments={x-queue-type: "quorum"}
    "#;

    quorum_not_server_named: r#"
        open a
        a1 channel.open
        a1 queue.declare queue="" durable=true arguments={x-queue-type: "quorum"}
    "#;

    quorum_refuses: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q durable=true arguments={x-queue-type: "quorum", x-max-priority: 3}
        a1 channel.open
        a1 queue.declare queue=q durable=true arguments={x-queue-type: "quorum", x-queue-mode: "lazy"}
        a1 channel.open
        a1 queue.declare queue=r durable=true arguments={x-queue-type: "quorum", x-overflow: "reject-publish-dlx"}
        a1 queue.declare queue=s durable=true arguments={x-queue-type: "quorum", x-delivery-limit: "3"}
        a1 queue.declare queue=q durable=true arguments={x-queue-type: "quorum", x-max-age: "1h"}
        a1 channel.open
        a1 queue.declare queue=q durable=true arguments={x-queue-type: "quorum", x-dead-letter-strategy: "nonsense"}
    "#;

    quorum_negative_delivery_limit: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q durable=true arguments={x-queue-type: "quorum", x-delivery-limit: -1}
    "#;

    stream_refuses: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q arguments={x-queue-type: "stream"}
        a1 channel.open
        a1 queue.declare queue=q durable=true exclusive=true arguments={x-queue-type: "stream"}
        a1 channel.open
        a1 queue.declare queue=q durable=true auto_delete=true arguments={x-queue-type: "stream"}
        a1 channel.open
        a1 queue.declare queue=q durable=true arguments={x-queue-type: "stream", x-message-ttl: 5}
    "#;

    consumer_priority_of_wrong_type: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q
        a1 basic.consume queue=q arguments={x-priority: "high"}
    "#;
}
