//! Streams: how they are declared, refused and looked at, and what else queues do that they do otherwise.

use crate::case::cases;

cases! {
    declare: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q durable=true arguments={x-queue-type: "stream", x-max-length-bytes: 1000000, x-max-age: "1h", x-stream-max-segment-size-bytes: 500000}
        a1 queue.declare queue=q durable=true arguments={x-queue-type: "stream", x-max-length-bytes: 1000000, x-max-age: "1h", x-stream-max-segment-size-bytes: 500000}
        a1 queue.declare queue=q passive=true
        a1 queue.declare queue=q durable=true arguments={x-queue-type: "stream", x-max-length-bytes: 1000000, x-max-age: "2h", x-stream-max-segment-size-bytes: 500000}
        a1 channel.open
        a1 queue.declare queue=q durable=true arguments={x-queue-type: "stream", x-max-length-bytes: 1000000, x-max-age: "1h"}
        a1 channel.open
        a1 queue.declare queue=q durable=true
        a1 channel.open
        a1 queue.delete queue=q
    "#;

    server_named: r#"
        open a
        a1 channel.open
        a1 queue.declare queue="" durable=true arguments={x-queue-type: "stream"}
    "#;

    max_age_of_wrong_form: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q durable=true arguments={x-queue-type: "stream", x-max-age: "1w"}
        a1 channel.open
        a1 queue.declare queue=q durable=true arguments={x-queue-type: "stream", x-max-age: "0s"}
        a1 channel.open
        a1 queue.declare queue=q durable=true arguments={x-queue-type: "stream", x-max-age: 5}
        a1 channel.open
        a1 queue.declare queue=q durable=true arguments={x-queue-type: "classic", x-max-age: "1h"}
    "#;

    max_age_without_a_number: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q durable=true arguments={x-queue-type: "stream", x-max-age: "h"}
    "#;

    segment_size: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q durable=true arguments={x-queue-type: "stream", x-stream-max-segment-size-bytes: -1}
        a1 channel.open
        a1 queue.declare queue=q durable=true arguments={x-queue-type: "stream", x-stream-max-segment-size-bytes: "1"}
        a1 channel.open
        a1 queue.declare queue=q durable=true arguments={x-queue-type: "stream", x-stream-max-segment-size-bytes: 3000000001i64}
        a1 channel.open
        a1 queue.declare queue=q durable=true arguments={x-queue-type: "stream", x-stream-max-segment-size-bytes: 3000000000i64}
    "#;

    initial_cluster_size: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q durable=true arguments={x-queue-type: "stream", x-initial-cluster-size: 0}
        a1 channel.open
        a1 queue.declare queue=q durable=true arguments={x-queue-type: "stream", x-initial-cluster-size: "1"}
        a1 channel.open
        a1 queue.declare queue=q durable=true arguments={x-queue-type: "stream", x-initial-cluster-size: 1}
    "#;

    filter_size: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q durable=true arguments={x-queue-type: "stream", x-stream-filter-size-bytes: 15}
        a1 channel.open
        a1 queue.declare queue=q durable=true arguments={x-queue-type: "stream", x-stream-filter-size-bytes: 16}
    "#;

    arguments_refused: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q durable=true arguments={x-queue-type: "stream", x-max-priority: 5}
        a1 channel.open
        a1 queue.declare queue=q durable=true arguments={x-queue-type: "stream", x-dead-letter-exchange: "amq.fanout"}
        a1 channel.open
        a1 queue.declare queue=q durable=true arguments={x-queue-type: "stream", x-expires: 1000}
        a1 channel.open
        a1 queue.declare queue=q durable=true arguments={x-queue-type: "stream", x-max-length: 5}
        a1 channel.open
        a1 queue.declare queue=q durable=true arguments={x-queue-type: "stream", x-overflow: "drop-head"}
        a1 channel.open
        a1 queue.declare queue=q durable=true arguments={x-queue-type: "stream", x-single-active-consumer: true}
        a1 channel.open
        a1 queue.declare queue=q durable=true arguments={x-queue-type: "stream", x-delivery-limit: 5}
    "#;

    /// A consumer needs a prefetch, and must acknowledge.
    consume_refused: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q durable=true arguments={x-queue-type: "stream"}
        a1 basic.consume queue=q consumer_tag=c
        a1 channel.open
        a1 basic.qos prefetch_count=10
        a1 basic.consume queue=q consumer_tag=c no_ack=true
    "#;

    consume_without_prefetch_and_ack: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q durable=true arguments={x-queue-type: "stream"}
        a1 basic.consume queue=q consumer_tag=c no_ack=true
    "#;

    global_qos: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q durable=true arguments={x-queue-type: "stream"}
        a1 basic.qos prefetch_count=10
        a1 basic.qos prefetch_count=10 global=true
        a1 basic.consume queue=q consumer_tag=c
    "#;

    global_qos_alone: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q durable=true arguments={x-queue-type: "stream"}
        a1 basic.qos prefetch_count=10 global=true
        a1 basic.consume queue=q consumer_tag=c
    "#;

    get: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q durable=true arguments={x-queue-type: "stream"}
        a1 basic.get queue=q
    "#;

    purge: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q durable=true arguments={x-queue-type: "stream"}
        a1 queue.purge queue=q
    "#;

    /// No flag holds a stream back, and its messages are not told.
    if_unused_and_if_empty: r#"
        open a
        a1 channel.open
        a2 channel.open
        a1 queue.declare queue=q durable=true arguments={x-queue-type: "stream"}
        a1 basic.qos prefetch_count=10
        a1 basic.consume queue=q consumer_tag=c
        a1 basic.publish routing_key=q body="0"
        wait a1 basic.deliver
        a2 queue.delete queue=q if_empty=true if_unused=true
        wait a1 basic.cancel
    "#;

    /// Time to live and priority mean nothing.
    properties: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q durable=true arguments={x-queue-type: "stream"}
        a1 queue.bind queue=q exchange="amq.topic" routing_key="a.*"
        a1 basic.qos prefetch_count=10
        a1 basic.consume queue=q consumer_tag=c arguments={x-stream-offset: "first"}
        a1 basic.publish exchange="amq.topic" routing_key="a.b" body="x" p.content_type="text/plain" p.content_encoding="gzip" p.delivery_mode=2 p.priority=3 p.correlation_id="c1" p.reply_to="r" p.expiration="0" p.message_id="m1" p.timestamp=5 p.type="t" p.user_id="guest" p.app_id="app"
        wait a1 basic.deliver
        a1 basic.publish routing_key=q body="" p.delivery_mode=1
        wait a1 basic.deliver
        a1 basic.publish routing_key=q body="" p.cluster_id="c"
        wait a1 basic.deliver
    "#;

    headers: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q durable=true arguments={x-queue-type: "stream"}
        a1 basic.qos prefetch_count=10
        a1 basic.consume queue=q consumer_tag=c arguments={x-stream-offset: "first"}
        a1 basic.publish routing_key=q body="x" p.headers={a: 1, b: "text", c: true, d: 5i64, e: 6i16, f: 7u8, g: 8i8, h: 9u16, i: 10u32, j: 11time}
        wait a1 basic.deliver
        a1 basic.publish routing_key=q body="x" p.headers={x-mine: 1, x-text: "t", y: 2}
        wait a1 basic.deliver
        a1 basic.publish routing_key=q body="x" p.headers={x-stream-offset: 77, CC: ["nowhere"], BCC: ["nowhere2"]}
        wait a1 basic.deliver
    "#;

    headers_nested: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q durable=true arguments={x-queue-type: "stream"}
        a1 basic.qos prefetch_count=10
        a1 basic.consume queue=q consumer_tag=c arguments={x-stream-offset: "first"}
        a1 basic.publish routing_key=q body="x" p.headers={a: {b: 1}, c: [1, "two"], d: 1, x-e: {b: 1, t: "t"}, x-f: [1, "two"]}
        wait a1 basic.deliver
        a1 basic.publish routing_key=q body="x" p.headers={a: {b: 1}}
        wait a1 basic.deliver
    "#;

    /// A message may be in a stream and in other queues.
    dead_letters_into_a_stream: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q durable=true arguments={x-queue-type: "stream"}
        a1 queue.declare queue=c arguments={x-dead-letter-exchange: "", x-dead-letter-routing-key: "q"}
        a1 basic.publish routing_key=c body="x"
        a1 basic.get queue=c
        a1 basic.reject delivery_tag=1 requeue=false
        a1 basic.qos prefetch_count=10
        a1 basic.consume queue=q consumer_tag=s arguments={x-stream-offset: "first"}
        wait a1 basic.deliver
    "#;

    mandatory: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q durable=true arguments={x-queue-type: "stream"}
        a1 confirm.select
        a1 basic.publish routing_key=q mandatory=true body="x"
        confirms a1 1
    "#;

    transaction: r#"
        open a
        a1 channel.open
        a2 channel.open
        a1 queue.declare queue=q durable=true arguments={x-queue-type: "stream"}
        a1 basic.qos prefetch_count=1
        a2 tx.select
        a2 basic.publish routing_key=q body="0"
        a2 basic.publish routing_key=q body="1"
        a2 tx.commit
        a1 basic.consume queue=q consumer_tag=c arguments={x-stream-offset: "first"}
        wait a1 basic.deliver
        a1 basic.ack delivery_tag=1
        wait a1 basic.deliver
    "#;

    policy: r#"
        open a
        a1 channel.open
        admin policy p ^q$ queues max-length=1
        a1 queue.declare queue=q durable=true arguments={x-queue-type: "stream"}
        a1 confirm.select
        a1 basic.publish routing_key=q body="0"
        a1 basic.publish routing_key=q body="1"
        confirms a1 2
        a1 basic.qos prefetch_count=10
        a1 basic.consume queue=q consumer_tag=c arguments={x-stream-offset: "first"}
        wait a1 basic.deliver*2
    "#;

    /// A filter may let more through than it names, so what is wanted comes, and nothing is said of the rest.
    filter: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q durable=true arguments={x-queue-type: "stream"}
        a1 confirm.select
        a1 basic.publish routing_key=q body="0" p.headers={x-stream-filter-value: "blue"}
        confirms a1 1
        a1 basic.publish routing_key=q body="1"
        confirms a1 2
        a1 basic.publish routing_key=q body="2" p.headers={x-stream-filter-value: "red"}
        confirms a1 3
        a1 basic.qos prefetch_count=10
        a1 basic.consume queue=q consumer_tag=r arguments={x-stream-offset: "first", x-stream-filter: "red"}
        wait a1 basic.deliver
        a1 basic.cancel consumer_tag=r
        a1 basic.consume queue=q consumer_tag=u arguments={x-stream-offset: "first", x-stream-filter: ["green", "red"], x-stream-match-unfiltered: true}
        wait a1 basic.deliver*2
        a1 basic.cancel consumer_tag=u
    "#;

    headers_of_every_type: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q durable=true arguments={x-queue-type: "stream"}
        a1 basic.qos prefetch_count=10
        a1 basic.consume queue=q consumer_tag=c arguments={x-stream-offset: "first"}
        a1 basic.publish routing_key=q body="x" p.headers={f: 1.5f32, d: 2.5}
        wait a1 basic.deliver
        a1 basic.publish routing_key=q body="x" p.headers={v: void}
        wait a1 basic.deliver
        a1 basic.publish routing_key=q body="x" p.headers={o: x"ab"}
        wait a1 basic.deliver
    "#;

    odd_properties: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q durable=true arguments={x-queue-type: "stream"}
        a1 basic.qos prefetch_count=10
        a1 basic.consume queue=q consumer_tag=c arguments={x-stream-offset: "first"}
        a1 basic.publish routing_key=q body="x" p.delivery_mode=7 p.expiration="+0060"
        wait a1 basic.deliver
        a1 basic.publish routing_key=q body="x" p.priority=0 p.content_type="" p.message_id=""
        wait a1 basic.deliver
    "#;

    consumer_arguments: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q durable=true arguments={x-queue-type: "stream"}
        a1 queue.declare queue=c
        a1 queue.declare queue=r durable=true arguments={x-queue-type: "quorum"}
        a1 basic.qos prefetch_count=10
        a1 basic.consume queue=c arguments={x-stream-offset: "first"}
        a1 channel.open
        a1 basic.consume queue=r arguments={x-stream-offset: "first"}
        a1 channel.open
        a1 basic.qos prefetch_count=10
        a1 basic.consume queue=q arguments={x-priority: 5}
        a1 channel.open
        a1 basic.consume queue=q arguments={x-stream-offset: "5"}
        a1 channel.open
        a1 basic.qos prefetch_count=10
        a1 basic.consume queue=q consumer_tag=u arguments={mine: 5}
    "#;

    text_is_no_offset: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q durable=true arguments={x-queue-type: "stream"}
        a1 basic.qos prefetch_count=10
        a1 basic.consume queue=q arguments={x-stream-offset: "5\"é"}
    "#;

    filter_size_of_classic_queue: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q durable=true arguments={x-stream-filter-size-bytes: 16}
        a1 queue.declare queue=s durable=true arguments={x-queue-type: "stream", x-stream-filter-size-bytes: 16}
        a1 queue.declare queue=s durable=true arguments={x-queue-type: "stream", x-stream-filter-size-bytes: 17}
        a1 queue.declare queue=t durable=true arguments={x-queue-type: "stream", x-stream-filter-size-bytes: "16"}
    "#;

    consumer_arguments_of_another_type: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q durable=true arguments={x-queue-type: "stream"}
        a1 queue.declare queue=c
        a1 basic.qos prefetch_count=10
        a1 basic.consume queue=c arguments={x-stream-offset: "5"}
        a1 channel.open
        a1 basic.qos prefetch_count=10
        a1 basic.consume queue=q arguments={x-priority: "high"}
        a1 channel.open
        a1 basic.qos prefetch_count=10 global=true
        a1 queue.declare queue=r durable=true arguments={x-queue-type: "quorum"}
        a1 basic.consume queue=r arguments={x-priority: "high"}
    "#;

    policy_of_streams: r#"
        open a
        a1 channel.open
        admin policy p ^q$ streams max-age=1h
        a1 queue.declare queue=q durable=true arguments={x-queue-type: "stream", x-max-age: "1s"}
        a1 confirm.select
        a1 basic.publish routing_key=q body="0"
        confirms a1 1
        a1 basic.qos prefetch_count=10
        a1 basic.consume queue=q consumer_tag=c arguments={x-stream-offset: "first"}
        wait a1 basic.deliver
    "#;
}
