//! From the protocol header to connection.open-ok, and every way not to get there.

use crate::case::cases;

cases! {
    /// The answer to a header of another version is the header the broker wants.
    header_of_another_version: r#"
        connect a
        a send "AMQP\x00\x01\x00\x00"
        wait a protocol
        wait a closed
    "#;

    /// What is not AMQP at all gets the same answer.
    header_of_another_protocol: r#"
        connect a
        a send "GET / HTTP/1.1\x0d\x0a\x0d\x0a"
        wait a protocol
        wait a closed
    "#;

    header_of_0_8: r#"
        connect a
        a send "AMQP\x01\x01\x08\x00"
        wait a protocol
        wait a closed
    "#;

    header_of_amqp_0_9: r#"
        connect a
        a send "AMQP\x01\x01\x00\x09"
        wait a connection.start
    "#;

    /// All the steps in turn, and an orderly close.
    in_order: r#"
        connect a
        a send "AMQP\x00\x00\x09\x01"
        wait a connection.start
        a connection.start-ok mechanism=PLAIN response="\0guest\0guest" locale=en_US
        a connection.tune-ok channel_max=2047 frame_max=131072 heartbeat=0
        a connection.open virtual_host=VHOST
        a1 channel.open
        a1 channel.close reply_code=200 reply_text="bye"
        a connection.close reply_code=200 reply_text="bye"
    "#;

    /// Everything up to connection.open in one go.
    pipelined: r#"
        connect a
        a send "AMQP\x00\x00\x09\x01"
        a& connection.start-ok mechanism=PLAIN response="\0guest\0guest" locale=en_US
        a connection.tune-ok channel_max=2047 frame_max=131072 heartbeat=60
        a& connection.open virtual_host=VHOST
        a1& channel.open
        a1& queue.declare queue=q
        wait a 1:queue.declare-ok
    "#;

    amqplain: r#"
        connect a
        a send "AMQP\x00\x00\x09\x01"
        wait a connection.start
        a connection.start-ok mechanism=AMQPLAIN response="\x05LOGINS\x00\x00\x00\x05guest\x08PASSWORDS\x00\x00\x00\x05guest" locale=en_US
        a connection.tune-ok channel_max=2047 frame_max=131072 heartbeat=0
        a connection.open virtual_host=VHOST
    "#;

    wrong_password_told: r#"
        connect a
        a send "AMQP\x00\x00\x09\x01"
        wait a connection.start
        a connection.start-ok mechanism=PLAIN response="\0guest\0wrong" locale=en_US client_properties={capabilities: {authentication_failure_close: true}}
    "#;

    wrong_password_not_told: r#"
        connect a
        a send "AMQP\x00\x00\x09\x01"
        wait a connection.start
        a connection.start-ok mechanism=PLAIN response="\0guest\0wrong" locale=en_US
    "#;

    unknown_user: r#"
        connect a
        a send "AMQP\x00\x00\x09\x01"
        wait a connection.start
        a connection.start-ok mechanism=PLAIN response="\0nobody\0x" locale=en_US client_properties={capabilities: {authentication_failure_close: true}}
    "#;

    wrong_password_amqplain: r#"
        connect a
        a send "AMQP\x00\x00\x09\x01"
        wait a connection.start
        a connection.start-ok mechanism=AMQPLAIN response="\x05LOGINS\x00\x00\x00\x05guest\x08PASSWORDS\x00\x00\x00\x05wrong" locale=en_US client_properties={capabilities: {authentication_failure_close: true}}
    "#;

    malformed_plain: r#"
        connect a
        a send "AMQP\x00\x00\x09\x01"
        wait a connection.start
        a connection.start-ok mechanism=PLAIN response="guest" locale=en_US client_properties={capabilities: {authentication_failure_close: true}}
    "#;

    malformed_amqplain: r#"
        connect a
        a send "AMQP\x00\x00\x09\x01"
        wait a connection.start
        a connection.start-ok mechanism=AMQPLAIN response="\x05LOGINS\x00\x00\x00\x05guest" locale=en_US client_properties={capabilities: {authentication_failure_close: true}}
    "#;

    unknown_mechanism: r#"
        connect a
        a send "AMQP\x00\x00\x09\x01"
        wait a connection.start
        a connection.start-ok mechanism=SCRAM response="" locale=en_US client_properties={capabilities: {authentication_failure_close: true}}
    "#;

    second_start_ok: r#"
        connect a
        a send "AMQP\x00\x00\x09\x01"
        wait a connection.start
        a connection.start-ok mechanism=PLAIN response="\0guest\0guest" locale=en_US
        a connection.start-ok mechanism=PLAIN response="\0guest\0guest" locale=en_US
    "#;

    unknown_vhost: r#"
        connect a
        a send "AMQP\x00\x00\x09\x01"
        wait a connection.start
        a connection.start-ok mechanism=PLAIN response="\0guest\0guest" locale=en_US
        a connection.tune-ok channel_max=2047 frame_max=131072 heartbeat=0
        a connection.open virtual_host=VHOST-no
    "#;

    vhost_without_permission: r#"
        admin user VHOST-u pw
        connect a
        a send "AMQP\x00\x00\x09\x01"
        wait a connection.start
        a connection.start-ok mechanism=PLAIN response="\0VHOST-u\0pw" locale=en_US
        a connection.tune-ok channel_max=2047 frame_max=131072 heartbeat=0
        a connection.open virtual_host=VHOST
        admin no-user VHOST-u
    "#;

    /// Smaller than offered is accepted.
    tune_lower: r#"
        connect a
        a send "AMQP\x00\x00\x09\x01"
        wait a connection.start
        a connection.start-ok mechanism=PLAIN response="\0guest\0guest" locale=en_US
        a connection.tune-ok channel_max=2 frame_max=8192 heartbeat=10
        a connection.open virtual_host=VHOST
        a2 channel.open
        a3 channel.open
    "#;

    tune_higher_heartbeat: r#"
        connect a
        a send "AMQP\x00\x00\x09\x01"
        wait a connection.start
        a connection.start-ok mechanism=PLAIN response="\0guest\0guest" locale=en_US
        a connection.tune-ok channel_max=2047 frame_max=131072 heartbeat=600
        a connection.open virtual_host=VHOST
    "#;

    tune_channel_max_higher: r#"
        connect a
        a send "AMQP\x00\x00\x09\x01"
        wait a connection.start
        a connection.start-ok mechanism=PLAIN response="\0guest\0guest" locale=en_US
        a connection.tune-ok channel_max=4000 frame_max=131072 heartbeat=0
        a connection.open virtual_host=VHOST
    "#;

    /// Zero asks for no limit, which is more than is offered.
    tune_channel_max_zero: r#"
        connect a
        a send "AMQP\x00\x00\x09\x01"
        wait a connection.start
        a connection.start-ok mechanism=PLAIN response="\0guest\0guest" locale=en_US
        a connection.tune-ok channel_max=0 frame_max=131072 heartbeat=0
        a connection.open virtual_host=VHOST
    "#;

    tune_frame_max_too_small: r#"
        connect a
        a send "AMQP\x00\x00\x09\x01"
        wait a connection.start
        a connection.start-ok mechanism=PLAIN response="\0guest\0guest" locale=en_US
        a connection.tune-ok channel_max=2047 frame_max=4000 heartbeat=0
        a connection.open virtual_host=VHOST
    "#;

    tune_frame_max_smallest: r#"
        connect a
        a send "AMQP\x00\x00\x09\x01"
        wait a connection.start
        a connection.start-ok mechanism=PLAIN response="\0guest\0guest" locale=en_US
        a connection.tune-ok channel_max=2047 frame_max=4096 heartbeat=0
        a connection.open virtual_host=VHOST
    "#;

    tune_frame_max_too_large: r#"
        connect a
        a send "AMQP\x00\x00\x09\x01"
        wait a connection.start
        a connection.start-ok mechanism=PLAIN response="\0guest\0guest" locale=en_US
        a connection.tune-ok channel_max=2047 frame_max=200000 heartbeat=0
        a connection.open virtual_host=VHOST
    "#;

    tune_frame_max_zero: r#"
        connect a
        a send "AMQP\x00\x00\x09\x01"
        wait a connection.start
        a connection.start-ok mechanism=PLAIN response="\0guest\0guest" locale=en_US
        a connection.tune-ok channel_max=2047 frame_max=0 heartbeat=0
        a connection.open virtual_host=VHOST
    "#;

    open_before_tune_ok: r#"
        connect a
        a send "AMQP\x00\x00\x09\x01"
        wait a connection.start
        a connection.start-ok mechanism=PLAIN response="\0guest\0guest" locale=en_US
        a connection.open virtual_host=VHOST
    "#;

    channel_before_open: r#"
        connect a
        a send "AMQP\x00\x00\x09\x01"
        wait a connection.start
        a connection.start-ok mechanism=PLAIN response="\0guest\0guest" locale=en_US
        a connection.tune-ok channel_max=2047 frame_max=131072 heartbeat=0
        a1 channel.open
    "#;

    close_before_open: r#"
        connect a
        a send "AMQP\x00\x00\x09\x01"
        wait a connection.start
        a connection.start-ok mechanism=PLAIN response="\0guest\0guest" locale=en_US
        a connection.tune-ok channel_max=2047 frame_max=131072 heartbeat=0
        a connection.close reply_code=200
    "#;

    second_open: r#"
        open a
        a connection.open virtual_host=VHOST
    "#;

    second_tune_ok: r#"
        open a
        a& connection.tune-ok channel_max=2047 frame_max=131072 heartbeat=0
        wait a connection.close
    "#;

    /// A heartbeat of a second is kept up by the broker.
    heartbeat_from_the_broker: r#"
        connect a
        a send "AMQP\x00\x00\x09\x01"
        wait a connection.start
        a connection.start-ok mechanism=PLAIN response="\0guest\0guest" locale=en_US
        a connection.tune-ok channel_max=2047 frame_max=131072 heartbeat=1
        a connection.open virtual_host=VHOST
        wait a heartbeat
        a heartbeat
        a connection.close reply_code=200
    "#;

    /// A client that falls silent is cut off without a word.
    heartbeat_missed: r#"
        connect a
        a send "AMQP\x00\x00\x09\x01"
        wait a connection.start
        a connection.start-ok mechanism=PLAIN response="\0guest\0guest" locale=en_US
        a connection.tune-ok channel_max=2047 frame_max=131072 heartbeat=1
        a connection.open virtual_host=VHOST
        wait a closed
    "#;

    /// Whoever comes without a name is guest.
    anonymous: r#"
        connect a
        a send "AMQP\x00\x00\x09\x01"
        wait a connection.start
        a connection.start-ok mechanism=ANONYMOUS response="" locale=en_US
        a connection.tune-ok channel_max=2047 frame_max=131072 heartbeat=0
        a connection.open virtual_host=VHOST
    "#;

    plain_with_an_identity: r#"
        connect a
        a send "AMQP\x00\x00\x09\x01"
        wait a connection.start
        a connection.start-ok mechanism=PLAIN response="someone\0guest\0guest" locale=en_US
    "#;

    unknown_locale: r#"
        connect a
        a send "AMQP\x00\x00\x09\x01"
        wait a connection.start
        a connection.start-ok mechanism=PLAIN response="\0guest\0guest" locale=xx
    "#;

    empty_vhost: r#"
        connect a
        a send "AMQP\x00\x00\x09\x01"
        wait a connection.start
        a connection.start-ok mechanism=PLAIN response="\0guest\0guest" locale=en_US
        a connection.tune-ok channel_max=2047 frame_max=131072 heartbeat=0
        a connection.open virtual_host=""
    "#;
}
