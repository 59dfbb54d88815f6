//! A queue in a virtual host of its own: publishing into it, and taking out what is left.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use gauntlet_harness::broker::Broker;
use lapin::options::{
    BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties};

use super::RUN;
use super::until::{until, when};

/// The name of every queue here; the virtual hosts differ.
pub const QUEUE: &str = "work";

/// A virtual host no other test uses.
pub fn new_vhost(name: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(1);
    format!("test-{}-{name}-{}", *RUN, COUNT.fetch_add(1, Ordering::Relaxed))
}

/// A durable queue, and a connection straight to the broker.
pub struct Queue {
    pub broker: Arc<Broker>,
    pub vhost: String,
    connection: Connection,
    channel: Channel,
    published: BTreeSet<String>,
}

impl Queue {
    /// Declares it in a new virtual host.
    pub async fn declare(broker: &Arc<Broker>, name: &str) -> Queue {
        let vhost = new_vhost(name);
        broker.create_vhost(&vhost).await.expect("a virtual host can be made");
        let (connection, channel) = open(broker, &vhost).await.expect("the broker is there");
        declare(&channel).await.expect("a queue can be declared");
        Queue { broker: broker.clone(), vhost, connection, channel, published: BTreeSet::new() }
    }

    /// Connects again, after the broker was away.
    pub async fn reconnect(&mut self) {
        (self.connection, self.channel) =
            open(&self.broker, &self.vhost).await.expect("the broker is there again");
    }

    /// So many more persistent messages, all confirmed.
    pub async fn publish(&mut self, count: usize) {
        self.publish_as("m", count).await;
    }

    /// The same, with ids that begin like this.
    pub async fn publish_as(&mut self, prefix: &str, count: usize) {
        let mut confirms = Vec::new();
        for _ in 0..count {
            let id = format!("{prefix}{}", self.published.len());
            let properties = BasicProperties::default();
            let properties = properties.with_delivery_mode(2).with_message_id(id.as_str().into());
            let options = BasicPublishOptions::default();
            let sent =
                self.channel.basic_publish("".into(), QUEUE.into(), options, b"x", properties);
            confirms.push(sent.await.expect("it can be published"));
            self.published.insert(id);
        }
        for confirm in confirms {
            let confirm = confirm.await.expect("the broker answers");
            assert!(matches!(confirm, Confirmation::Ack(_)), "{confirm:?}");
        }
    }

    /// The ids of everything published.
    pub fn published(&self) -> &BTreeSet<String> {
        &self.published
    }

    /// Takes what is left, until nothing published is neither in `elsewhere` nor taken.
    pub async fn left_beside(&self, elsewhere: &BTreeSet<String>) -> BTreeSet<String> {
        let mut left = BTreeSet::new();
        until("every message is an effect or in the queue", Duration::from_secs(10), async || {
            let options = BasicGetOptions { no_ack: true };
            while let Some(message) =
                self.channel.basic_get(QUEUE.into(), options).await.expect("the queue is there")
            {
                let id = message.delivery.properties.message_id().as_ref().expect("ids are set");
                assert!(left.insert(id.to_string()), "{id} is in the queue twice");
            }
            let missing: Vec<_> = self
                .published
                .iter()
                .filter(|id| !left.contains(*id) && !elsewhere.contains(*id))
                .collect();
            when(missing.is_empty(), || format!("{missing:?}"))
        })
        .await;
        left
    }

    /// Deletes the virtual host with all in it.
    pub async fn delete(self) {
        // What is deleted next needs no goodbye.
        let _ = self.connection.close(200, "done".into()).await;
        self.broker.delete_vhost(&self.vhost).await.expect("a virtual host can be deleted");
    }
}

/// Opens a connection to the broker, and a channel that confirms.
pub async fn open(broker: &Broker, vhost: &str) -> lapin::Result<(Connection, Channel)> {
    let connection =
        Connection::connect(&broker.url(vhost), ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    Ok((connection, channel))
}

/// Declares the queue of this name, durable.
pub async fn declare(channel: &Channel) -> lapin::Result<()> {
    let options = QueueDeclareOptions::durable();
    channel.queue_declare(QUEUE.into(), options, FieldTable::default()).await.map(|_queue| ())
}

/// How many messages are ready in the queue of this name.
pub async fn ready(channel: &Channel) -> lapin::Result<u32> {
    let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    let queue = channel.queue_declare(QUEUE.into(), options, FieldTable::default()).await?;
    Ok(queue.message_count())
}
