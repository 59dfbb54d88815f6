//! Direct reply-to: answers without a queue.

use crate::case::cases;

cases! {
    request_and_reply: r#"
        open client
        open server
        client1 channel.open
        server1 channel.open
        server1 queue.declare queue=rpc
        server1 basic.consume queue=rpc consumer_tag=s no_ack=true
        client1 basic.consume queue="amq.rabbitmq.reply-to" consumer_tag=c no_ack=true
        client1 basic.publish routing_key=rpc body="question" p.reply_to="amq.rabbitmq.reply-to" p.correlation_id="7"
        wait server1 basic.deliver
        server1 basic.publish routing_key="amq.rabbitmq.reply-to.1" mandatory=true body="answer" p.correlation_id="7"
        wait client1 basic.deliver
    "#;

    needs_no_ack: r#"
        open a
        a1 channel.open
        a1 basic.consume queue="amq.rabbitmq.reply-to" consumer_tag=c
    "#;

    only_once: r#"
        open a
        a1 channel.open
        a1 basic.consume queue="amq.rabbitmq.reply-to" consumer_tag=c no_ack=true
        a1 basic.consume queue="amq.rabbitmq.reply-to" consumer_tag=d no_ack=true
    "#;

    publish_without_a_consumer: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=rpc
        a1 basic.publish routing_key=rpc body="question" p.reply_to="amq.rabbitmq.reply-to"
        wait a1 channel.close
    "#;

    cancelled_and_started_again: r#"
        open a
        a1 channel.open
        a1 basic.consume queue="amq.rabbitmq.reply-to" consumer_tag=c no_ack=true
        a1 basic.cancel consumer_tag=c
        a1 basic.consume queue="amq.rabbitmq.reply-to" consumer_tag=d no_ack=true
    "#;

    declare: r#"
        open a
        a1 channel.open
        a1 queue.declare queue="amq.rabbitmq.reply-to" passive=true
        a1 queue.declare queue="amq.rabbitmq.reply-to"
    "#;

    reply_to_one_that_is_gone: r#"
        open client
        open server
        client1 channel.open
        server1 channel.open
        server1 queue.declare queue=rpc
        server1 basic.consume queue=rpc consumer_tag=s no_ack=true
        client1 basic.consume queue="amq.rabbitmq.reply-to" consumer_tag=c no_ack=true
        client1 basic.publish routing_key=rpc body="question" p.reply_to="amq.rabbitmq.reply-to"
        wait server1 basic.deliver
        client connection.close reply_code=200
        server1 basic.publish routing_key="amq.rabbitmq.reply-to.1" mandatory=true body="answer"
        wait server1 basic.return
    "#;

    declare_the_full_name: r#"
        open client
        open server
        client1 channel.open
        server1 channel.open
        server1 queue.declare queue=rpc
        server1 basic.consume queue=rpc consumer_tag=s no_ack=true
        client1 basic.consume queue="amq.rabbitmq.reply-to" consumer_tag=c no_ack=true
        client1 basic.publish routing_key=rpc body="question" p.reply_to="amq.rabbitmq.reply-to"
        wait server1 basic.deliver
        server1 queue.declare queue="amq.rabbitmq.reply-to.1" passive=true
        client connection.close reply_code=200
        server1 queue.declare queue="amq.rabbitmq.reply-to.1" passive=true
    "#;

    declare_a_made_up_name: r#"
        open a
        a1 channel.open
        a1 queue.declare queue="amq.rabbitmq.reply-to.nonsense" passive=true
    "#;
}
