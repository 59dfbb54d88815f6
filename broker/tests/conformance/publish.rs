//! Publishing: returns, confirms, refusals, bodies and properties.

use crate::case::cases;

cases! {
    mandatory_return: r#"
        open a
        a1 channel.open
        a1 basic.publish routing_key=none mandatory=true body="hello" p.content_type="text/plain" p.headers={a: 1} p.delivery_mode=2
        wait a1 basic.return
        a1 basic.publish exchange="amq.fanout" routing_key=k mandatory=true body=""
        wait a1 basic.return
    "#;

    /// Without mandatory a message that goes nowhere is gone without a word.
    unroutable: r#"
        open a
        a1 channel.open
        a1 basic.publish routing_key=none body="x"
        a1 channel.flow active=true
    "#;

    unknown_exchange: r#"
        open a
        a1 channel.open
        a1 basic.publish exchange=none routing_key=k body="x"
        wait a1 channel.close
    "#;

    /// What follows the message that closed the channel is ignored, until the client answers.
    unknown_exchange_pipelined: r#"
        open a
        a manual
        a1 channel.open
        a1 queue.declare queue=q
        a1 basic.publish exchange=none routing_key=k body="x"
        a1 basic.publish routing_key=q body="y"
        a1& queue.declare queue=other
        wait a1 channel.close
        a1 channel.close-ok
        a1 channel.open
        a1 basic.get queue=q no_ack=true
        a1 queue.declare queue=other passive=true
    "#;

    immediate: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q
        a1 basic.publish routing_key=q immediate=true body="x"
        wait a closed
    "#;

    confirm_one: r#"
        open a
        a1 channel.open
        a1 confirm.select
        a1 queue.declare queue=q
        a1 basic.publish routing_key=q body="x"
        confirms a1 1
        a1 basic.publish routing_key=q body="y" p.delivery_mode=2
        confirms a1 2
    "#;

    confirm_many: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q durable=true
        a1 basic.publish routing_key=q body="before confirm.select: no number"
        a1 confirm.select
        a1 confirm.select
        a1 basic.publish routing_key=q body="1" p.delivery_mode=2
        a1 basic.publish routing_key=q body="2"
        a1 basic.publish routing_key=q body="3" p.delivery_mode=2
        a1 basic.publish routing_key=q body="4"
        a1 basic.publish routing_key=q body="5" p.delivery_mode=2
        confirms a1 5
        a1 queue.purge queue=q
    "#;

    confirm_select_nowait: r#"
        open a
        a1 channel.open
        a1 confirm.select nowait=true
        a1 basic.publish routing_key=none body="x"
        confirms a1 1
    "#;

    /// The return comes before the confirm.
    confirm_of_a_return: r#"
        open a
        a1 channel.open
        a1 confirm.select
        a1 basic.publish routing_key=none mandatory=true body="x"
        wait a1 basic.return
        wait a1 basic.ack
    "#;

    confirm_of_the_unroutable: r#"
        open a
        a1 channel.open
        a1 confirm.select
        a1 basic.publish routing_key=none body="x"
        confirms a1 1
    "#;

    confirm_fanout: r#"
        open a
        a1 channel.open
        a1 confirm.select
        a1 queue.declare queue=q
        a1 queue.declare queue=r durable=true
        a1 queue.bind queue=q exchange="amq.fanout"
        a1 queue.bind queue=r exchange="amq.fanout"
        a1 basic.publish exchange="amq.fanout" body="x" p.delivery_mode=2
        confirms a1 1
    "#;

    /// The message that closes a channel gets no confirm.
    confirm_of_an_error: r#"
        open a
        a1 channel.open
        a1 confirm.select
        a1 basic.publish exchange=none body="x"
        wait a1 channel.close
    "#;

    confirm_numbers_start_again: r#"
        open a
        a1 channel.open
        a1 confirm.select
        a1 basic.publish routing_key=none body="x"
        confirms a1 1
        a1 channel.close reply_code=200
        a2 channel.open
        a2 confirm.select
        a2 basic.publish routing_key=none body="x"
        confirms a2 1
    "#;

    /// Every property goes through as it came.
    properties: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q
        a1 basic.publish routing_key=q body="x" p.content_type="text/plain" p.content_encoding="gzip" p.headers={b: true, i8: -1i8, u8: 255u8, i16: -2i16, u16: 65535u16, i: -3, u32: 4u32, i64: -5i64, f: 1.5f32, d: 2.5, dec: 314e-2, s: "text", x: x"\x00\x01", t: 1700000000time, v: void, table: {inner: 1}, array: [1, "two", {three: 3}]} p.delivery_mode=2 p.priority=9 p.correlation_id="c" p.reply_to="r" p.expiration="60000" p.message_id="m" p.timestamp=1700000000time p.type="t" p.user_id="guest" p.app_id="a" p.cluster_id="cl"
        a1 basic.get queue=q no_ack=true
    "#;

    no_properties: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q
        a1 basic.publish routing_key=q body="x"
        a1 basic.publish routing_key=q body="y" p.headers={}
        a1 basic.get queue=q no_ack=true
        a1 basic.get queue=q no_ack=true
    "#;

    empty_body: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q
        a1 basic.publish routing_key=q
        a1 basic.publish routing_key=q p.content_type="text/plain"
        a1 basic.get queue=q no_ack=true
        a1 basic.get queue=q no_ack=true
    "#;

    /// The broker splits a body as the receiver's frame_max wants it.
    body_split: r#"
        open a
        open b frame_max=8192
        a1 channel.open
        b1 channel.open
        a1 queue.declare queue=q
        a1 confirm.select
        a1 basic.publish routing_key=q body=20000*"x"
        a1 basic.publish routing_key=q body=8184*"y"
        a1 basic.publish routing_key=q body=8185*"z"
        confirms a1 3
        b1 basic.get queue=q no_ack=true
        b1 basic.get queue=q no_ack=true
        b1 basic.get queue=q no_ack=true
    "#;

    big_body: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q
        a1 basic.publish routing_key=q body=1000000*"x"
        a1 basic.get queue=q no_ack=true
    "#;

    user_id_of_another: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q
        a1 basic.publish routing_key=q body="x" p.user_id="guest"
        a1 basic.publish routing_key=q body="x" p.user_id="other"
        wait a1 channel.close
    "#;

    bad_expiration: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q
        a1 basic.publish routing_key=q body="x" p.expiration="soon"
        wait a1 channel.close
        a1 channel.open
        a1 basic.publish routing_key=q body="x" p.expiration="-1"
        wait a1 channel.close
        a1 channel.open
        a1 basic.publish routing_key=q body="x" p.expiration=""
        wait a1 channel.close
        a1 channel.open
        a1 basic.publish routing_key=q body="x" p.expiration="5x"
        wait a1 channel.close
        a1 channel.open
        a1 basic.publish routing_key=q body="x" p.expiration="99999999999999"
        wait a1 channel.close
    "#;

    permissions: r#"
        admin user VHOST-u pw
        admin permissions VHOST-u ^mine ^mine ^mine
        open a user="VHOST-u" password="pw"
        a1 channel.open
        a1 queue.declare queue=other
        a1 channel.open
        a1 queue.declare queue=mine
        a1 exchange.declare exchange=other type=direct
        a1 channel.open
        a1 exchange.declare exchange=mine type=direct
        a1 basic.publish exchange="amq.direct" routing_key=mine body="x"
        wait a1 channel.close
        a1 channel.open
        a1 basic.publish routing_key=mine body="x"
        wait a1 channel.close
        a1 channel.open
        a1 queue.bind queue=mine exchange="amq.direct"
        a1 channel.open
        a1 queue.bind queue=mine exchange=mine routing_key=k
        a1 basic.publish exchange=mine routing_key=k body="x"
        a1 basic.get queue=mine no_ack=true
        a1 basic.get queue=unreadable no_ack=true
        a1 channel.open
        a1 basic.consume queue=unreadable
        a1 channel.open
        a1 queue.purge queue=unreadable
        a1 channel.open
        a1 queue.delete queue=unreadable
        a1 channel.open
        a1 exchange.delete exchange=other
        a1 channel.open
        a1 queue.declare queue=other passive=true
        a connection.close reply_code=200
        admin no-user VHOST-u
    "#;
}
