//! Opening, closing and using channels, and closing connections.

use crate::case::cases;

cases! {
    open_twice: r#"
        open a
        a1 channel.open
        a1 channel.open
    "#;

    use_unopened: r#"
        open a
        a1 queue.declare queue=q
    "#;

    publish_unopened: r#"
        open a
        a1 basic.publish routing_key=q body="x"
        wait a closed
    "#;

    use_closed: r#"
        open a
        a1 channel.open
        a1 channel.close reply_code=200
        a1 queue.declare queue=q
    "#;

    close_unopened: r#"
        open a
        a1 channel.close reply_code=200
    "#;

    close_ok_unasked: r#"
        open a
        a1 channel.open
        a1 channel.close-ok
        a1 queue.declare queue=q
    "#;

    reopen: r#"
        open a
        a1 channel.open
        a1 channel.close reply_code=200
        a1 channel.open
        a1 queue.declare queue=q
    "#;

    reopen_after_an_error: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q passive=true
        a1 channel.open
        a1 queue.declare queue=q
    "#;

    close_with_any_code: r#"
        open a
        a1 channel.open
        a1 channel.close reply_code=541 reply_text="something else" class_id=60 method_id=40
        a connection.close reply_code=320 reply_text="going"
    "#;

    /// Until the client has answered channel.close, whatever it sends is ignored.
    use_between_close_and_close_ok: r#"
        open a
        a manual
        a1 channel.open
        a1 queue.declare queue=q passive=true
        a1& queue.declare queue=q2
        a1& basic.publish routing_key=q2 body="x"
        a2 channel.open
        a1 channel.close-ok
        a1 channel.open
        a1 queue.declare queue=q2
    "#;

    /// Both ends close at once: the broker still answers the client's close.
    close_crossing_close: r#"
        open a
        a manual
        a1 channel.open
        a1 queue.declare queue=q passive=true
        a1& channel.close reply_code=200
        wait a1 channel.close-ok
        a1 channel.close-ok
        a1 channel.open
    "#;

    open_between_close_and_close_ok: r#"
        open a
        a manual
        a1 channel.open
        a1 queue.declare queue=q passive=true
        a1& channel.open
        wait a closed
    "#;

    /// Other channels do not feel an error.
    errors_stay_on_their_channel: r#"
        open a
        a1 channel.open
        a2 channel.open
        a1 queue.declare queue=q passive=true
        a2 queue.declare queue=q
    "#;

    several_errors_at_once: r#"
        open a
        a1 channel.open
        a1& queue.declare queue=q1 passive=true
        a1& queue.declare queue=q2 passive=true
        a1& queue.declare queue=q3 passive=true
        wait a1 channel.close
        a1 channel.open
    "#;

    above_channel_max: r#"
        connect a
        a send "AMQP\x00\x00\x09\x01"
        wait a connection.start
        a connection.start-ok mechanism=PLAIN response="\0guest\0guest" locale=en_US
        a connection.tune-ok channel_max=2 frame_max=131072 heartbeat=0
        a connection.open virtual_host=VHOST
        a1 channel.open
        a2 channel.open
        a3 channel.open
    "#;

    highest_channel: r#"
        open a
        a2047 channel.open
        a2048 channel.open
    "#;

    highest_channel_number: r#"
        open a
        a65535 channel.open
    "#;

    flow_on: r#"
        open a
        a1 channel.open
        a1 channel.flow active=true
    "#;

    flow_off: r#"
        open a
        a1 channel.open
        a1 channel.flow active=false
    "#;

    flow_ok_unasked: r#"
        open a
        a1 channel.open
        a1 channel.flow-ok active=true
        wait a closed
    "#;

    update_secret: r#"
        open a
        a connection.update-secret new_secret="guest" reason="renewed"
        a1 channel.open
    "#;

    /// What was sent before the close is done.
    publish_then_close: r#"
        open a
        open b
        a1 channel.open
        a1 queue.declare queue=q
        a1 basic.publish routing_key=q body="x"
        a connection.close reply_code=200
        b1 channel.open
        b1 basic.get queue=q no_ack=true
    "#;

    publish_then_close_channel: r#"
        open a
        a1 channel.open
        a2 channel.open
        a1 queue.declare queue=q
        a1 basic.publish routing_key=q body="x"
        a1 channel.close reply_code=200
        a2 basic.get queue=q no_ack=true
    "#;

    /// A channel that fails takes nothing back but its unacknowledged messages.
    unacked_return_when_a_channel_fails: r#"
        open a
        a1 channel.open
        a2 channel.open
        a1 queue.declare queue=q
        a1 basic.publish routing_key=q body="1"
        a1 basic.publish routing_key=q body="2"
        a1 basic.publish routing_key=q body="3"
        a1 basic.get queue=q
        a1 basic.get queue=q
        a1 basic.ack delivery_tag=1
        a1 queue.declare queue=none passive=true
        eventually a queue.declare queue=q passive=true => messages=2
        a2 basic.get queue=q no_ack=true
        a2 basic.get queue=q no_ack=true
        a2 basic.get queue=q no_ack=true
    "#;

    unacked_return_when_a_connection_goes: r#"
        open a
        open b
        a1 channel.open
        b1 channel.open
        a1 queue.declare queue=q
        a1 basic.publish routing_key=q body="1"
        a1 basic.publish routing_key=q body="2"
        a1 basic.get queue=q
        a1 basic.get queue=q
        a drop
        eventually b queue.declare queue=q passive=true => messages=2
        b1 basic.get queue=q no_ack=true
        b1 basic.get queue=q no_ack=true
    "#;

    blocked_capability_is_no_error: r#"
        open a caps=none
        a1 channel.open
        a1 queue.declare queue=q
    "#;

    update_secret_wrong: r#"
        open a
        a connection.update-secret new_secret="wrong" reason="renewed"
        a1 channel.open
    "#;

    everything_after_connection_close_is_ignored: r#"
        open a
        open b
        a1 channel.open
        a& connection.close reply_code=200
        a1& queue.declare queue=late
        wait a connection.close-ok
        b1 channel.open
        b1 queue.declare queue=late passive=true
    "#;
}
