//! What a broker started by Gauntlet is told: its configuration, and how its virtual machine behaves.

use std::net::Ipv4Addr;

/// How often connections, channels and queues report themselves, in ms: half of the time between two looks at
/// these reports, of which RabbitMQ allows one a second at most (`sample_retention_policies`, default 5 s).
const STATISTICS: u32 = 500;

/// `enabled_plugins`: the management API and what it needs.
pub(super) const PLUGINS: &str = "[rabbitmq_management].\n";

/// Two schedulers that do not spin while idle: several brokers share a machine with what is being tested.
pub(super) const VM: &str = "+S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none";

/// `rabbitmq.conf`: what is the same for every broker.
pub(super) fn common() -> String {
    // Nothing here changes what a consumer sees. Its heartbeat, limits and timeouts are RabbitMQ's defaults.
    format!(
        "loopback_users = none\n\
         log.console = true\n\
         log.console.level = info\n\
         disk_free_limit.absolute = 50MB\n\
         collect_statistics_interval = {STATISTICS}\n\
         management.sample_retention_policies.global.minute = 1\n\
         management.sample_retention_policies.basic.minute = 1\n\
         management.sample_retention_policies.detailed.minute = 1\n"
    )
}

/// `rabbitmq.conf` for a process on this machine: [`common`], and where to listen.
pub(super) fn local(address: Ipv4Addr, amqp: u16, management: u16) -> String {
    format!(
        "{}listeners.tcp.default = {address}:{amqp}\n\
         management.tcp.ip = {address}\n\
         management.tcp.port = {management}\n",
        common()
    )
}

#[cfg(test)]
mod tests {
    #[test]
    fn rendered() {
        let conf = super::local(std::net::Ipv4Addr::LOCALHOST, 20001, 20002);
        let expect = "loopback_users = none\nlog.console = true\nlog.console.level = info\n\
            disk_free_limit.absolute = 50MB\ncollect_statistics_interval = 500\n\
            management.sample_retention_policies.global.minute = 1\n\
            management.sample_retention_policies.basic.minute = 1\n\
            management.sample_retention_policies.detailed.minute = 1\n\
            listeners.tcp.default = 127.0.0.1:20001\nmanagement.tcp.ip = 127.0.0.1\n\
            management.tcp.port = 20002\n";
        assert_eq!(conf, expect);
    }
}
