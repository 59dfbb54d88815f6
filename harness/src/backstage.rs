//! The harness's own AMQP session, straight to the broker, behind no fault: it lays out the topology
//! before a run and counts what is left after it.

use gauntlet_judge::history::What;
use gauntlet_judge::history::ledger::{Ledger, parse_id};
use gauntlet_judge::scenario::Queue;
use lapin::options::{BasicGetOptions, QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection, ConnectionProperties, ErrorKind};

use crate::recorder::Recorder;

fn not_found(error: &lapin::Error) -> bool {
    matches!(error.kind(), ErrorKind::ProtocolError(e) if e.get_id() == 404)
}

/// Takes everything that is left in a queue, and records it.
async fn take_all(
    channel: &Channel,
    name: &str,
    recorder: &Recorder,
) -> Result<(), BackstageError> {
    let mut ready = 0;
    let options = BasicGetOptions { no_ack: true };
    while let Some(message) = channel
        .basic_get(name.into(), options)
        .await
        .map_err(failed(format!("take a message from `{name}`")))?
    {
        ready += 1;
        let id = message.delivery.properties.message_id().as_ref().map(|id| id.as_str());
        let Some(id) = id.and_then(parse_id) else { continue };
        let redelivered = message.delivery.redelivered;
        recorder.record(What::Remaining { id, queue: name.to_owned(), redelivered });
    }
    recorder.record(What::QueueCounted { queue: name.to_owned(), ready });
    Ok(())
}

/// The name of the harness's own connections, by which they are left out of what a subject holds.
pub const OWN_NAME: &str = "gauntlet (harness)";

/// The suffix of the queue that takes what a subject rejects.
pub const DEAD_SUFFIX: &str = ".dead";

/// What the harness's own session could not do.
#[derive(Debug, thiserror::Error)]
#[error("failed to {what}: {source}")]
pub struct BackstageError {
    what: String,
    source: lapin::Error,
}

fn failed(what: impl Into<String>) -> impl FnOnce(lapin::Error) -> BackstageError {
    move |source| BackstageError { what: what.into(), source }
}

/// Connects under the harness's own name.
pub async fn connect(url: &str) -> Result<Connection, BackstageError> {
    let properties = ConnectionProperties::default().with_connection_name(OWN_NAME.into());
    Connection::connect(url, properties).await.map_err(failed("connect the harness to the broker"))
}

/// A session: one connection, one channel.
pub struct AdminSession {
    connection: Connection,
    channel: Channel,
}

impl AdminSession {
    /// Opens a session.
    pub async fn open(url: &str) -> Result<AdminSession, BackstageError> {
        let connection = connect(url).await?;
        let channel = connection.create_channel().await.map_err(failed("open a channel"))?;
        Ok(AdminSession { connection, channel })
    }

    /// Declares the queue, durable, and the one that takes what is rejected from it.
    pub async fn declare(&self, queue: &str, kind: &Queue) -> Result<(), BackstageError> {
        self.declare_one(&format!("{queue}{DEAD_SUFFIX}"), FieldTable::default()).await?;
        self.declare_work(queue, kind).await
    }

    async fn declare_work(&self, queue: &str, kind: &Queue) -> Result<(), BackstageError> {
        let dead = format!("{queue}{DEAD_SUFFIX}");
        let mut arguments = FieldTable::default();
        let text = |text: &str| AMQPValue::LongString(text.into());
        if kind.dead_letters {
            arguments.insert("x-dead-letter-exchange".into(), text(""));
            arguments.insert("x-dead-letter-routing-key".into(), text(&dead));
        }
        if kind.quorum {
            arguments.insert("x-queue-type".into(), text("quorum"));
        }
        self.declare_one(queue, arguments).await
    }

    async fn declare_one(&self, name: &str, arguments: FieldTable) -> Result<(), BackstageError> {
        let declared =
            self.channel.queue_declare(name.into(), QueueDeclareOptions::durable(), arguments);
        declared.await.map(drop).map_err(failed(format!("declare the queue `{name}`")))
    }

    /// Deletes the queue with all it holds, and redeclares it in the same breath: nobody is to find it missing.
    pub async fn redeclare(&self, queue: &str, kind: &Queue) -> Result<(), BackstageError> {
        let unanswered = QueueDeleteOptions { nowait: true, ..QueueDeleteOptions::default() };
        self.delete_as(queue, unanswered).await?;
        self.declare_work(queue, kind).await
    }

    /// Deletes the queue with all it holds.
    pub async fn delete(&self, queue: &str) -> Result<(), BackstageError> {
        self.delete_as(queue, QueueDeleteOptions::default()).await
    }

    async fn delete_as(
        &self,
        queue: &str,
        options: QueueDeleteOptions,
    ) -> Result<(), BackstageError> {
        let deleted = self.channel.queue_delete(queue.into(), options).await;
        deleted.map(drop).map_err(failed(format!("delete the queue `{queue}`")))
    }

    /// Messages ready in the queue; those delivered and unsettled are not among them.
    pub async fn ready(&self, queue: &str) -> Result<u32, BackstageError> {
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let answer = self.channel.queue_declare(queue.into(), options, FieldTable::default()).await;
        Ok(answer.map_err(failed(format!("look at the queue `{queue}`")))?.message_count())
    }

    /// Takes everything that is left in the queue, in its dead-letter queue and, where the subject published copies of
    /// messages, in its own, and records it.
    pub async fn count_remaining(
        &self,
        queue: &str,
        recorder: &Recorder,
    ) -> Result<(), BackstageError> {
        let dead = format!("{queue}{DEAD_SUFFIX}");
        take_all(&self.channel, queue, recorder).await?;
        take_all(&self.channel, &dead, recorder).await?;
        let others = recorder.look(Ledger::queues_of_copies);
        for name in others.into_iter().filter(|name| name != queue && *name != dead) {
            self.count_copies(name, recorder).await?;
        }
        Ok(())
    }

    /// Takes what is left in a queue of the subject's own; none of that name, and one that is somebody's alone, are
    /// no failure.
    async fn count_copies(&self, name: String, recorder: &Recorder) -> Result<(), BackstageError> {
        // What cannot be looked at costs the channel.
        let opened = self.connection.create_channel().await;
        let channel = opened.map_err(failed("open a channel"))?;
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let there = channel.queue_declare(name.as_str().into(), options, FieldTable::default());
        match there.await {
            Ok(_) => take_all(&channel, &name, recorder).await?,
            Err(e) if not_found(&e) => recorder.record(What::QueueAbsent { queue: name }),
            Err(error) => tracing::debug!(%error, queue = name, "a queue that is not looked at"),
        }
        Ok(())
    }

    /// Closes the session.
    pub async fn close(self) {
        // The run is over; a broker that is gone already has closed it for us.
        let _ = self.connection.close(200, "done".into()).await;
    }
}
