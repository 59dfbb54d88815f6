//! Declaring and deleting exchanges, and what may not be.

use crate::case::cases;

cases! {
    each_type: r#"
        open a
        a1 channel.open
        a1 exchange.declare exchange=d type=direct
        a1 exchange.declare exchange=f type=fanout
        a1 exchange.declare exchange=t type=topic
        a1 exchange.declare exchange=h type=headers
        a1 exchange.declare exchange=d type=direct
    "#;

    predeclared: r#"
        open a
        a1 channel.open
        a1 exchange.declare exchange="amq.direct" passive=true
        a1 exchange.declare exchange="amq.fanout" passive=true
        a1 exchange.declare exchange="amq.topic" passive=true
        a1 exchange.declare exchange="amq.headers" passive=true
        a1 exchange.declare exchange="amq.match" passive=true
        a1 exchange.declare exchange="amq.rabbitmq.trace" passive=true
        a1 exchange.declare exchange="amq.direct" type=direct durable=true
    "#;

    passive_unknown: r#"
        open a
        a1 channel.open
        a1 exchange.declare exchange=none passive=true
    "#;

    /// Nothing but the name is compared.
    passive_of_another_type: r#"
        open a
        a1 channel.open
        a1 exchange.declare exchange=d type=direct
        a1 exchange.declare exchange=d type=fanout durable=true passive=true
    "#;

    unknown_type: r#"
        open a
        a1 channel.open
        a1 exchange.declare exchange=e type=nonsense
    "#;

    empty_type: r#"
        open a
        a1 channel.open
        a1 exchange.declare exchange=e
    "#;

    inequivalent_type: r#"
        open a
        a1 channel.open
        a1 exchange.declare exchange=e type=direct
        a1 exchange.declare exchange=e type=fanout
    "#;

    inequivalent_durable: r#"
        open a
        a1 channel.open
        a1 exchange.declare exchange=e type=direct
        a1 exchange.declare exchange=e type=direct durable=true
    "#;

    inequivalent_auto_delete: r#"
        open a
        a1 channel.open
        a1 exchange.declare exchange=e type=direct
        a1 exchange.declare exchange=e type=direct auto_delete=true
    "#;

    inequivalent_internal: r#"
        open a
        a1 channel.open
        a1 exchange.declare exchange=e type=direct
        a1 exchange.declare exchange=e type=direct internal=true
    "#;

    inequivalent_alternate_exchange: r#"
        open a
        a1 channel.open
        a1 exchange.declare exchange=e type=direct arguments={alternate-exchange: "one"}
        a1 exchange.declare exchange=e type=direct arguments={alternate-exchange: "two"}
    "#;

    missing_alternate_exchange: r#"
        open a
        a1 channel.open
        a1 exchange.declare exchange=e type=direct arguments={alternate-exchange: "one"}
        a1 exchange.declare exchange=e type=direct
    "#;

    /// Arguments that mean nothing are not compared.
    other_arguments: r#"
        open a
        a1 channel.open
        a1 exchange.declare exchange=e type=direct arguments={x-mine: 1}
        a1 exchange.declare exchange=e type=direct arguments={x-mine: 2}
    "#;

    alternate_exchange_of_wrong_type: r#"
        open a
        a1 channel.open
        a1 exchange.declare exchange=e type=direct arguments={alternate-exchange: 3}
    "#;

    reserved_name: r#"
        open a
        a1 channel.open
        a1 exchange.declare exchange="amq.mine" type=direct
    "#;

    reserved_name_passive: r#"
        open a
        a1 channel.open
        a1 exchange.declare exchange="amq.mine" type=direct passive=true
    "#;

    declare_default: r#"
        open a
        a1 channel.open
        a1 exchange.declare exchange="" type=direct durable=true
    "#;

    declare_default_passive: r#"
        open a
        a1 channel.open
        a1 exchange.declare exchange="" passive=true
    "#;

    delete_default: r#"
        open a
        a1 channel.open
        a1 exchange.delete exchange=""
    "#;

    delete_predeclared: r#"
        open a
        a1 channel.open
        a1 exchange.delete exchange="amq.fanout"
    "#;

    bind_to_default: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q
        a1 queue.bind queue=q exchange="" routing_key=k
    "#;

    unbind_from_default: r#"
        open a
        a1 channel.open
        a1 queue.declare queue=q
        a1 queue.unbind queue=q exchange="" routing_key=q
    "#;

    bind_exchange_to_default: r#"
        open a
        a1 channel.open
        a1 exchange.declare exchange=e type=fanout
        a1 exchange.bind destination=e source="" routing_key=k
    "#;

    bind_default_to_exchange: r#"
        open a
        a1 channel.open
        a1 exchange.declare exchange=e type=fanout
        a1 exchange.bind destination="" source=e routing_key=k
    "#;

    delete: r#"
        open a
        a1 channel.open
        a1 exchange.declare exchange=e type=fanout
        a1 exchange.delete exchange=e
        a1 exchange.declare exchange=e passive=true
    "#;

    /// Since long ago, deleting what is not there is no error.
    delete_unknown: r#"
        open a
        a1 channel.open
        a1 exchange.delete exchange=none
        a1 exchange.delete exchange=none if_unused=true
    "#;

    delete_if_unused: r#"
        open a
        a1 channel.open
        a1 exchange.declare exchange=e type=fanout
        a1 exchange.delete exchange=e if_unused=true
        a1 exchange.declare exchange=e type=fanout
        a1 queue.declare queue=q
        a1 queue.bind queue=q exchange=e
        a1 exchange.delete exchange=e if_unused=true
    "#;

    delete_removes_bindings: r#"
        open a
        a1 channel.open
        a1 exchange.declare exchange=e type=fanout
        a1 queue.declare queue=q
        a1 queue.bind queue=q exchange=e
        a1 exchange.delete exchange=e
        a1 exchange.declare exchange=e type=fanout
        a1 basic.publish exchange=e mandatory=true body="x"
        wait a1 basic.return
    "#;

    nowait: r#"
        open a
        a1 channel.open
        a1 exchange.declare exchange=e type=fanout nowait=true
        a1 exchange.declare exchange=f type=fanout nowait=true
        a1 exchange.bind destination=e source=f nowait=true
        a1 exchange.unbind destination=e source=f nowait=true
        a1 exchange.delete exchange=e nowait=true
        a1 exchange.declare exchange=f passive=true
        a1 exchange.declare exchange=e passive=true
    "#;

    auto_delete_when_the_last_binding_goes: r#"
        open a
        a1 channel.open
        a1 exchange.declare exchange=e type=fanout auto_delete=true
        a1 exchange.declare exchange=e passive=true
        a1 queue.declare queue=q
        a1 queue.bind queue=q exchange=e routing_key=1
        a1 queue.bind queue=q exchange=e routing_key=2
        a1 queue.unbind queue=q exchange=e routing_key=1
        a1 exchange.declare exchange=e passive=true
        a1 queue.unbind queue=q exchange=e routing_key=2
        a1 exchange.declare exchange=e passive=true
    "#;

    auto_delete_with_the_last_queue: r#"
        open a
        a1 channel.open
        a1 exchange.declare exchange=e type=fanout auto_delete=true
        a1 queue.declare queue=q
        a1 queue.bind queue=q exchange=e
        a1 queue.delete queue=q
        a1 exchange.declare exchange=e passive=true
    "#;

    /// An exchange is in use while it is the source of a binding.
    auto_delete_in_a_chain: r#"
        open a
        a1 channel.open
        a1 exchange.declare exchange=e type=fanout auto_delete=true
        a1 exchange.declare exchange=f type=fanout auto_delete=true
        a1 queue.declare queue=q
        a1 queue.bind queue=q exchange=f
        a1 exchange.bind destination=f source=e
        a1 queue.delete queue=q
        a1 exchange.declare exchange=f passive=true
        a1 channel.open
        a1 exchange.declare exchange=e passive=true
    "#;

    publish_to_internal: r#"
        open a
        a1 channel.open
        a1 exchange.declare exchange=e type=fanout internal=true
        a1 basic.publish exchange=e body="x"
        wait a1 channel.close
    "#;

    through_internal: r#"
        open a
        a1 channel.open
        a1 exchange.declare exchange=e type=fanout internal=true
        a1 exchange.declare exchange=f type=fanout
        a1 exchange.bind destination=e source=f
        a1 queue.declare queue=q
        a1 queue.bind queue=q exchange=e
        a1 basic.publish exchange=f body="x"
        a1 basic.get queue=q no_ack=true
    "#;

    bind_unknown: r#"
        open a
        a1 channel.open
        a1 exchange.declare exchange=e type=fanout
        a1 exchange.bind destination=none source=e
        a1 channel.open
        a1 exchange.bind destination=e source=none
        a1 channel.open
        a1 exchange.unbind destination=none source=e
        a1 exchange.unbind destination=e source=none
        a1 exchange.unbind destination=e source=e
    "#;

    name_too_strange: r#"
        open a
        a1 channel.open
        a1 exchange.declare exchange="a b\nc" type=direct
        a1 exchange.declare exchange="a b\nc" passive=true
        a1 exchange.declare exchange="a bc" passive=true
    "#;

    local_random: r#"
        open a
        a1 channel.open
        a1 exchange.declare exchange=e type=x-local-random
        a1 queue.declare queue=q
        a1 queue.bind queue=q exchange=e
        a1 basic.publish exchange=e routing_key=other body="x"
        a1 basic.get queue=q no_ack=true
    "#;

    type_of_a_plugin: r#"
        open a
        a1 channel.open
        a1 exchange.declare exchange=e type=x-delayed-message arguments={x-delayed-type: "direct"}
    "#;
}
