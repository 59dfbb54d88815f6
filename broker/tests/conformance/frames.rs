//! Frames that are malformed, out of place, too long, or unknown.

use crate::case::cases;

cases! {
    bad_end_octet: r#"
        open a
        a frame type=1 channel=1 payload="\x00\x14\x00\x0a\x00" end=0
        wait a closed
    "#;

    unknown_frame_type: r#"
        open a
        a1 channel.open
        a frame type=7 channel=1 payload="abc"
        wait a closed
    "#;

    unknown_frame_type_on_channel_0: r#"
        open a
        a frame type=7 channel=0 payload="abc"
        wait a closed
    "#;

    unknown_class: r#"
        open a
        a1 channel.open
        a frame type=1 channel=1 payload="\x00\xc8\x00\x0a"
        wait a closed
    "#;

    unknown_class_on_channel_0: r#"
        open a
        a frame type=1 channel=0 payload="\x00\xc8\x00\x0a"
        wait a closed
    "#;

    unknown_method: r#"
        open a
        a1 channel.open
        a frame type=1 channel=1 payload="\x00\x3c\x00\x63"
        wait a closed
    "#;

    /// access.request is answered, for the sake of old clients.
    access_request: r#"
        open a
        a1 channel.open
        a1 access.request realm="/data" active=true
    "#;

    truncated_method: r#"
        open a
        a1 channel.open
        a frame type=1 channel=1 payload="\x00\x32\x00\x0a\x00\x00\x05ab"
        wait a closed
    "#;

    truncated_table: r#"
        open a
        a1 channel.open
        a frame type=1 channel=1 payload="\x00\x32\x00\x0a\x00\x00\x01q\x00\x00\x00\x00\x09\x01xS\x00"
        wait a closed
    "#;

    method_without_ids: r#"
        open a
        a1 channel.open
        a frame type=1 channel=1 payload="\x00"
        wait a closed
    "#;

    /// Octets after the last field.
    method_too_long: r#"
        open a
        a1 channel.open
        a frame type=1 channel=1 payload="\x00\x5a\x00\x0a\x00\x00\x00"
        wait a closed
    "#;

    body_without_method: r#"
        open a
        a1 channel.open
        a1 body "abc"
        wait a closed
    "#;

    header_without_method: r#"
        open a
        a1 channel.open
        a1 header class=60 size=3
        wait a closed
    "#;

    method_instead_of_header: r#"
        open a
        a1 channel.open
        a1 basic.publish routing_key=q body=void
        a1& queue.declare queue=q
        wait a closed
    "#;

    method_instead_of_body: r#"
        open a
        a1 channel.open
        a1 basic.publish routing_key=q body=void
        a1 header class=60 size=3
        a1& queue.declare queue=q
        wait a closed
    "#;

    header_instead_of_body: r#"
        open a
        a1 channel.open
        a1 basic.publish routing_key=q body=void
        a1 header class=60 size=3
        a1 header class=60 size=3
        wait a closed
    "#;

    body_instead_of_header: r#"
        open a
        a1 channel.open
        a1 basic.publish routing_key=q body=void
        a1 body "abc"
        wait a closed
    "#;

    header_of_another_class: r#"
        open a
        a1 channel.open
        a1 basic.publish routing_key=q body=void
        a1 header class=50 size=3
        wait a closed
    "#;

    body_longer_than_announced: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q
        a1 basic.publish routing_key=q body=void
        a1 header class=60 size=3
        a1 body "abcdef"
        a1& queue.declare queue=q
        wait a closed
    "#;

    header_too_short: r#"
        open a
        a1 channel.open
        a1 basic.publish routing_key=q body=void
        a frame type=2 channel=1 payload="\x00\x3c\x00\x00\x00\x00"
        wait a closed
    "#;

    method_larger_than_frame_max: r#"
        open a frame_max=8192
        a1 channel.open
        a frame type=1 channel=1 payload=9000*"x"
        wait a closed
    "#;

    body_larger_than_frame_max: r#"
        open a frame_max=8192
        a1 channel.open
        a1 queue.declare queue=q
        a1 basic.publish routing_key=q body=void
        a1 header class=60 size=9000
        a1 body 9000*"x"
        wait a closed
    "#;

    /// The largest frame there may be: frame_max octets, head and end among them.
    body_of_exactly_frame_max: r#"
        open a frame_max=8192
        a1 channel.open
        a1 queue.declare queue=q
        a1 basic.publish routing_key=q body=void
        a1 header class=60 size=8184
        a1 body 8184*"x"
        a1 basic.get queue=q no_ack=true
    "#;

    /// Size by size, empty frames among them.
    body_in_pieces: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q
        a1 basic.publish routing_key=q body=void
        a1 header class=60 size=6
        a1 body "ab"
        a1 body "cde"
        a1 body "f"
        a1 basic.get queue=q no_ack=true
    "#;

    /// Announced as larger than any message may be.
    body_too_large: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q
        a1 basic.publish routing_key=q body=void
        a1 header class=60 size=20000000
        a& connection.update-secret new_secret="x" reason="barrier"
        wait a connection.update-secret-ok
    "#;

    body_too_large_sent: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q
        a1 basic.publish routing_key=q body=17000000*"x"
        wait a1 channel.close
    "#;

    heartbeat_on_channel_1: r#"
        open a
        a1 channel.open
        a frame type=8 channel=1
        a1 queue.declare queue=q
    "#;

    heartbeat_with_payload: r#"
        open a
        a frame type=8 channel=0 payload="x"
        a& channel.open
        wait a closed
    "#;

    channel_method_on_channel_0: r#"
        open a
        a& queue.declare queue=q
        wait a closed
    "#;

    channel_open_on_channel_0: r#"
        open a
        a& channel.open
        wait a closed
    "#;

    connection_method_on_channel_1: r#"
        open a
        a1 channel.open
        a1& connection.close reply_code=200
        wait a closed
    "#;

    content_on_channel_0: r#"
        open a
        a header class=60 size=3
        wait a closed
    "#;

    protocol_header_again: r#"
        open a
        a send "AMQP\x00\x00\x09\x01"
        wait a closed
    "#;

    a_reply_of_the_broker: r#"
        open a
        a1 channel.open
        a1 queue.declare-ok queue=q
        wait a closed
    "#;

    a_delivery_from_a_client: r#"
        open a
        a1 channel.open
        a1 basic.deliver consumer_tag=x delivery_tag=1 body="x"
        wait a closed
    "#;

    a_client_may_speak_of_blocked: r#"
        open a
        a connection.blocked reason="x"
        wait a closed
    "#;

    properties_cut_short: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q
        a1 basic.publish routing_key=q body=void
        a frame type=2 channel=1 payload="\x00\x3c\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x80\x00\x09ab"
        wait a closed
    "#;

    properties_with_octets_left: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q
        a1 basic.publish routing_key=q body=void
        a frame type=2 channel=1 payload="\x00\x3c\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x80\x00\x02abcd"
        wait a closed
    "#;

    /// A content header may have a weight, which means nothing.
    header_with_a_weight: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q
        a1 basic.publish routing_key=q body=void
        a frame type=2 channel=1 payload="\x00\x3c\x00\x05\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00"
        a1 body "x"
        a1& basic.get queue=q no_ack=true
        wait a closed
    "#;

    unknown_field_type: r#"
        open a
        a1 channel.open
        a frame type=1 channel=1 payload="\x00\x32\x00\x0a\x00\x00\x01q\x00\x00\x00\x00\x04\x01a?\x00"
        wait a closed
    "#;

    same_key_twice: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q arguments={x-max-length: 1, x-max-length: 2}
        a1 basic.publish routing_key=q body="1" p.headers={a: 1, a: 2}
        a1 basic.get queue=q no_ack=true
    "#;

    routing_key_that_is_no_utf8: r#"
        open a
        a1 channel.open
        a1 basic.publish routing_key="\xff\xfe" mandatory=true body="x"
        wait a1 basic.return
    "#;

    empty_body_frame: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q
        a1 basic.publish routing_key=q body=void
        a1 header class=60 size=2
        a1 body ""
        a1 body "ab"
        a1 basic.get queue=q no_ack=true
    "#;

    /// Channels interleave their contents.
    two_contents_at_once: r#"
        open a
        a1 channel.open
        a2 channel.open
        a1 queue.declare queue=q
        a1 queue.declare queue=r
        a1 basic.publish routing_key=q body=void
        a2 basic.publish routing_key=r body=void
        a1 header class=60 size=2
        a2 header class=60 size=2
        a2 body "cd"
        a1 body "ab"
        a1 basic.get queue=q no_ack=true
        a2 basic.get queue=r no_ack=true
    "#;
}
