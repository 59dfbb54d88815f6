//! Where each type of exchange sends a message.

use crate::case::cases;

cases! {
    default_exchange: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q
        a1 basic.publish routing_key=q body="x"
        a1 basic.get queue=q no_ack=true
    "#;

    direct: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q
        a1 queue.bind queue=q exchange="amq.direct" routing_key=one
        a1 queue.bind queue=q exchange="amq.direct" routing_key=two
        a1 basic.publish exchange="amq.direct" routing_key=one body="1"
        a1 basic.publish exchange="amq.direct" routing_key=two body="2"
        a1 basic.publish exchange="amq.direct" routing_key=three body="3"
        a1 basic.publish exchange="amq.direct" routing_key="" body="4"
        a1 basic.get queue=q no_ack=true
        a1 basic.get queue=q no_ack=true
        a1 basic.get queue=q no_ack=true
    "#;

    /// However many bindings lead to a queue, it gets one copy.
    one_copy_a_queue: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q
        a1 queue.bind queue=q exchange="amq.topic" routing_key="a.*"
        a1 queue.bind queue=q exchange="amq.topic" routing_key="a.#"
        a1 queue.bind queue=q exchange="amq.topic" routing_key="a.b"
        a1 basic.publish exchange="amq.topic" routing_key="a.b" body="x"
        a1 basic.get queue=q no_ack=true
        a1 basic.get queue=q no_ack=true
    "#;

    fanout: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q
        a1 queue.declare queue=r
        a1 queue.bind queue=q exchange="amq.fanout" routing_key=one
        a1 queue.bind queue=r exchange="amq.fanout"
        a1 basic.publish exchange="amq.fanout" routing_key=any body="x"
        a1 basic.get queue=q no_ack=true
        a1 basic.get queue=r no_ack=true
    "#;

    topic: r##"
        open a
        a1 channel.open
        a1 queue.declare queue=star
        a1 queue.declare queue=hash
        a1 queue.declare queue=all
        a1 queue.declare queue=mixed
        a1 queue.declare queue=empty
        a1 queue.bind queue=star exchange="amq.topic" routing_key="*.b.*"
        a1 queue.bind queue=hash exchange="amq.topic" routing_key="a.#"
        a1 queue.bind queue=all exchange="amq.topic" routing_key="#"
        a1 queue.bind queue=mixed exchange="amq.topic" routing_key="#.c.*"
        a1 queue.bind queue=empty exchange="amq.topic" routing_key=""
        a1 basic.publish exchange="amq.topic" routing_key="a.b.c" body="1"
        a1 basic.publish exchange="amq.topic" routing_key="a" body="2"
        a1 basic.publish exchange="amq.topic" routing_key="" body="3"
        a1 basic.publish exchange="amq.topic" routing_key="c.d" body="4"
        a1 basic.publish exchange="amq.topic" routing_key="a.c.c.c" body="5"
        a1 basic.publish exchange="amq.topic" routing_key="a..c" body="6"
        a1 basic.publish exchange="amq.topic" routing_key=".b." body="7"
        a1 basic.publish exchange="amq.topic" routing_key="*.b.*" body="8"
        a1 basic.publish exchange="amq.topic" routing_key="b" body="9"
        a1 basic.get queue=star no_ack=true
        a1 basic.get queue=star no_ack=true
        a1 basic.get queue=star no_ack=true
        a1 basic.get queue=star no_ack=true
        a1 basic.get queue=hash no_ack=true
        a1 basic.get queue=hash no_ack=true
        a1 basic.get queue=hash no_ack=true
        a1 basic.get queue=hash no_ack=true
        a1 basic.get queue=hash no_ack=true
        a1 basic.get queue=mixed no_ack=true
        a1 basic.get queue=mixed no_ack=true
        a1 basic.get queue=mixed no_ack=true
        a1 basic.get queue=empty no_ack=true
        a1 basic.get queue=empty no_ack=true
        a1 queue.purge queue=all
    "##;

    /// A hash matches no word, one, or several; two of them no more than one.
    topic_hashes: r##"
        open a
        a1 channel.open
        a1 queue.declare queue=q
        a1 queue.bind queue=q exchange="amq.topic" routing_key="#.#"
        a1 queue.declare queue=r
        a1 queue.bind queue=r exchange="amq.topic" routing_key="*.#.b"
        a1 queue.declare queue=s
        a1 queue.bind queue=s exchange="amq.topic" routing_key="#.b.#"
        a1 basic.publish exchange="amq.topic" routing_key="" body="1"
        a1 basic.publish exchange="amq.topic" routing_key="b" body="2"
        a1 basic.publish exchange="amq.topic" routing_key="a.b" body="3"
        a1 basic.publish exchange="amq.topic" routing_key="a.x.y.b" body="4"
        a1 basic.publish exchange="amq.topic" routing_key="b.b.b" body="5"
        a1 basic.publish exchange="amq.topic" routing_key="ab.c" body="6"
        a1 queue.purge queue=q
        a1 basic.get queue=r no_ack=true
        a1 basic.get queue=r no_ack=true
        a1 basic.get queue=r no_ack=true
        a1 basic.get queue=r no_ack=true
        a1 queue.purge queue=s
    "##;

    topic_after_unbinding: r##"
        open a
        a1 channel.open
        a1 queue.declare queue=q
        a1 queue.bind queue=q exchange="amq.topic" routing_key="a.#"
        a1 queue.bind queue=q exchange="amq.topic" routing_key="a.*"
        a1 queue.unbind queue=q exchange="amq.topic" routing_key="a.#"
        a1 basic.publish exchange="amq.topic" routing_key="a" body="1"
        a1 basic.publish exchange="amq.topic" routing_key="a.b" body="2"
        a1 basic.get queue=q no_ack=true
        a1 basic.get queue=q no_ack=true
    "##;

    headers_all: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q
        a1 queue.bind queue=q exchange="amq.headers" arguments={x-match: "all", a: 1, b: "two"}
        a1 basic.publish exchange="amq.headers" body="1" p.headers={a: 1, b: "two", c: true}
        a1 basic.publish exchange="amq.headers" body="2" p.headers={a: 1}
        a1 basic.publish exchange="amq.headers" body="3" p.headers={a: 2, b: "two"}
        a1 basic.publish exchange="amq.headers" body="4"
        a1 basic.publish exchange="amq.headers" body="5" p.headers={a: 1i64, b: "two"}
        a1 basic.get queue=q no_ack=true
        a1 basic.get queue=q no_ack=true
        a1 basic.get queue=q no_ack=true
    "#;

    headers_any: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q
        a1 queue.bind queue=q exchange="amq.headers" arguments={x-match: "any", a: 1, b: "two"}
        a1 basic.publish exchange="amq.headers" body="1" p.headers={a: 1}
        a1 basic.publish exchange="amq.headers" body="2" p.headers={b: "two", a: 7}
        a1 basic.publish exchange="amq.headers" body="3" p.headers={c: 1}
        a1 basic.publish exchange="amq.headers" body="4"
        a1 basic.get queue=q no_ack=true
        a1 basic.get queue=q no_ack=true
        a1 basic.get queue=q no_ack=true
    "#;

    /// Without x-match all must match; headers that begin with x- do not count.
    headers_x_ignored: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q
        a1 queue.bind queue=q exchange="amq.headers" arguments={x-mine: 1, a: 1}
        a1 basic.publish exchange="amq.headers" body="1" p.headers={a: 1}
        a1 basic.publish exchange="amq.headers" body="2" p.headers={x-mine: 1}
        a1 basic.get queue=q no_ack=true
        a1 basic.get queue=q no_ack=true
    "#;

    headers_all_with_x: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q
        a1 queue.bind queue=q exchange="amq.headers" arguments={x-match: "all-with-x", x-mine: 1, a: 1}
        a1 basic.publish exchange="amq.headers" body="1" p.headers={a: 1}
        a1 basic.publish exchange="amq.headers" body="2" p.headers={x-mine: 1, a: 1}
        a1 basic.get queue=q no_ack=true
        a1 basic.get queue=q no_ack=true
    "#;

    headers_any_with_x: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q
        a1 queue.bind queue=q exchange="amq.headers" arguments={x-match: "any-with-x", x-mine: 1, a: 1}
        a1 basic.publish exchange="amq.headers" body="1" p.headers={a: 2}
        a1 basic.publish exchange="amq.headers" body="2" p.headers={x-mine: 1}
        a1 basic.get queue=q no_ack=true
        a1 basic.get queue=q no_ack=true
    "#;

    /// Bound to nothing: all of none match.
    headers_empty: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=all
        a1 queue.declare queue=any
        a1 queue.bind queue=all exchange="amq.headers"
        a1 queue.bind queue=any exchange="amq.headers" arguments={x-match: "any"}
        a1 basic.publish exchange="amq.headers" body="1"
        a1 basic.publish exchange="amq.headers" body="2" p.headers={a: 1}
        a1 queue.purge queue=all
        a1 queue.purge queue=any
    "#;

    /// A void in the binding asks for the key alone.
    headers_void: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q
        a1 queue.bind queue=q exchange="amq.match" arguments={a: void}
        a1 basic.publish exchange="amq.match" body="1" p.headers={a: 5}
        a1 basic.publish exchange="amq.match" body="2" p.headers={b: 5}
        a1 basic.get queue=q no_ack=true
        a1 basic.get queue=q no_ack=true
    "#;

    headers_bad_match: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q
        a1 queue.bind queue=q exchange="amq.headers" arguments={x-match: "some", a: 1}
        a1 channel.open
        a1 queue.bind queue=q exchange="amq.headers" arguments={x-match: 1, a: 1}
    "#;

    exchange_to_exchange: r#"
        open a
        a1 channel.open
        a1 exchange.declare exchange=e type=direct
        a1 exchange.declare exchange=f type=fanout
        a1 exchange.bind destination=f source=e routing_key=k
        a1 exchange.bind destination=f source=e routing_key=k
        a1 queue.declare queue=q
        a1 queue.bind queue=q exchange=f
        a1 basic.publish exchange=e routing_key=k body="1"
        a1 basic.publish exchange=e routing_key=no body="2"
        a1 exchange.unbind destination=f source=e routing_key=k
        a1 basic.publish exchange=e routing_key=k body="3"
        a1 basic.get queue=q no_ack=true
        a1 basic.get queue=q no_ack=true
    "#;

    /// A circle of exchanges ends, with one copy a queue.
    circle: r#"
        open a
        a1 channel.open
        a1 exchange.declare exchange=e type=fanout
        a1 exchange.declare exchange=f type=fanout
        a1 exchange.bind destination=f source=e
        a1 exchange.bind destination=e source=f
        a1 queue.declare queue=q
        a1 queue.bind queue=q exchange=f
        a1 basic.publish exchange=e body="1"
        a1 queue.purge queue=q
    "#;

    alternate_exchange: r#"
        open a
        a1 channel.open
        a1 exchange.declare exchange=spare type=fanout
        a1 exchange.declare exchange=e type=direct arguments={alternate-exchange: "spare"}
        a1 queue.declare queue=q
        a1 queue.declare queue=lost
        a1 queue.bind queue=q exchange=e routing_key=q
        a1 queue.bind queue=lost exchange=spare
        a1 basic.publish exchange=e routing_key=q body="1"
        a1 basic.publish exchange=e routing_key=other mandatory=true body="2"
        a1 basic.get queue=q no_ack=true
        a1 basic.get queue=lost no_ack=true
        a1 basic.get queue=lost no_ack=true
    "#;

    alternate_exchange_missing: r#"
        open a
        a1 channel.open
        a1 exchange.declare exchange=e type=direct arguments={alternate-exchange: "none"}
        a1 basic.publish exchange=e routing_key=other mandatory=true body="2"
        wait a1 basic.return
    "#;

    alternate_exchange_by_policy: r#"
        open a
        a1 channel.open
        admin policy p ^e$ exchanges alternate-exchange=amq.fanout
        a1 exchange.declare exchange=e type=direct
        a1 queue.declare queue=lost
        a1 queue.bind queue=lost exchange="amq.fanout"
        a1 basic.publish exchange=e routing_key=other mandatory=true body="2"
        a1 basic.get queue=lost no_ack=true
    "#;

    cc_and_bcc: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q1
        a1 queue.declare queue=q2
        a1 queue.declare queue=q3
        a1 basic.publish routing_key=q1 body="x" p.headers={CC: ["q2"], BCC: ["q3"], other: 1}
        a1 basic.get queue=q1 no_ack=true
        a1 basic.get queue=q2 no_ack=true
        a1 basic.get queue=q3 no_ack=true
    "#;

    cc_of_wrong_type: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q1
        a1 basic.publish routing_key=q1 body="x" p.headers={CC: "q2"}
        wait a1 channel.close
        a1 channel.open
        a1 basic.publish routing_key=q1 body="x" p.headers={BCC: "q2"}
        wait a1 channel.close
        a1 channel.open
        a1 basic.publish routing_key=q1 body="x" p.headers={BCC: [1]}
        a1 basic.get queue=q1 no_ack=true
    "#;
}
