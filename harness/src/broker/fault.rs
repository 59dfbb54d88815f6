//! What happens to a broker when the conductor asks for it; what can is data: [`gauntlet_judge::broker_fault`].

use std::time::Duration;

use gauntlet_amqp::codec::MethodId;

use super::Broker;

/// The method of a rule that has passed [`BrokerFault::check`].
pub(crate) fn method(name: &str) -> MethodId {
    name.parse().unwrap_or(MethodId::NONE)
}

impl Broker {
    /// Has what was declared written to disk. RabbitMQ does that some time after it answered: a kill before would
    /// lose the queue, which is a test of another thing.
    pub async fn write_down_topology(&self) -> Result<(), super::BrokerError> {
        match self.model() {
            Some(_) => Ok(()),
            // No error where Mnesia is not in use.
            None => self.eval("catch mnesia:sync_log().").await,
        }
    }

    /// Raises the memory alarm, or clears it.
    pub async fn memory_alarm(&self, on: bool) -> Result<(), super::BrokerError> {
        match self.model() {
            Some(model) => {
                model.with(|core| core.set_memory_alarm(on));
                Ok(())
            }
            None => {
                let alarm = "resource_limit, memory, node()";
                let call = match on {
                    true => format!("rabbit_alarm:set_alarm({{{{{alarm}}}, []}})."),
                    false => format!("rabbit_alarm:clear_alarm({{{alarm}}})."),
                };
                self.eval(&call).await
            }
        }
    }

    /// Sets after how long an unsettled delivery closes its channel, for channels opened from now on.
    pub async fn consumer_timeout(&self, timeout: Duration) -> Result<(), super::BrokerError> {
        // RabbitMQ looks once a minute; a run is over by then.
        self.look_for_late_acks(timeout, (timeout / 4).max(Duration::from_millis(1))).await
    }

    /// Sets it back to what RabbitMQ does by itself.
    pub async fn reset_consumer_timeout(&self) -> Result<(), super::BrokerError> {
        let usual = gauntlet_broker::Config::default();
        self.look_for_late_acks(usual.consumer_timeout, usual.consumer_timeout_tick).await
    }

    async fn look_for_late_acks(
        &self,
        timeout: Duration,
        tick: Duration,
    ) -> Result<(), super::BrokerError> {
        if let Some(model) = self.model() {
            model.with(|core| core.set_consumer_timeout(timeout, tick));
            return Ok(());
        }
        let set = |key: &str, value: Duration| {
            format!("application:set_env(rabbit, {key}, {})", value.as_millis())
        };
        let (timeout, tick) =
            (set("consumer_timeout", timeout), set("channel_tick_interval", tick));
        self.eval(&format!("{timeout}, {tick}.")).await
    }
}
