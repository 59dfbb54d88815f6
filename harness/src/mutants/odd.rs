//! What odd consumers do that are right all the same: another way to be done with a message, another way to ask for
//! one, and business of their own beside the work.
//!
//! Each stands for consumers that exist. They are made of the same [`body`](super::body) as the mutants, and a verdict
//! against one of them is Gauntlet's own mistake.

use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicGetOptions, BasicPublishOptions, BasicRejectOptions,
    ConfirmSelectOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Consumer, Error};
use tokio::time::{Instant, sleep_until};

use super::body::Worker;
use super::defect::Defect;

/// Of so many messages one is dealt with in the odd way, the first time it comes.
const ONE_IN: u32 = 10;
/// How long a copy is delayed, in milliseconds.
const DELAY: i32 = 100;
/// Between two polls of an empty queue.
const POLLS: Duration = Duration::from_millis(10);

/// Sets a channel up for its habit.
pub(super) async fn open(worker: &Worker, channel: &Channel) -> Result<Option<Consumer>, Error> {
    let durable = QueueDeclareOptions::durable();
    let text = |text: &str| AMQPValue::LongString(text.into());
    match worker.defect() {
        Defect::RetriesByCopy => {
            channel.confirm_select(ConfirmSelectOptions::default()).await?;
        }
        Defect::SetsAside => {
            channel.confirm_select(ConfirmSelectOptions::default()).await?;
            channel.queue_declare(own(worker).into(), durable, FieldTable::default()).await?;
        }
        Defect::DelaysByCopy => {
            channel.confirm_select(ConfirmSelectOptions::default()).await?;
            let mut arguments = FieldTable::default();
            arguments.insert("x-message-ttl".into(), AMQPValue::LongInt(DELAY));
            arguments.insert("x-dead-letter-exchange".into(), text(""));
            arguments.insert("x-dead-letter-routing-key".into(), text(&worker.job().queue));
            channel.queue_declare(own(worker).into(), durable, arguments).await?;
        }
        Defect::ListensToControl => {
            let options = QueueDeclareOptions {
                exclusive: true,
                auto_delete: true,
                ..QueueDeclareOptions::default()
            };
            let queue = channel.queue_declare("".into(), options, FieldTable::default()).await?;
            let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
            let (name, none) = (queue.name().clone(), FieldTable::default());
            return channel.basic_consume(name, "".into(), options, none).await.map(Some);
        }
        _ => {}
    }
    Ok(None)
}

/// A queue of its own.
fn own(worker: &Worker) -> String {
    format!("{}.own", worker.job().queue)
}

/// Whether it has dealt with the message in its odd way.
pub(super) async fn take(
    worker: &Worker,
    channel: &Channel,
    delivery: &Delivery,
) -> Result<bool, Error> {
    let id = delivery.properties.message_id().as_ref().map(|id| id.as_str().to_owned());
    let number = id.as_deref().and_then(gauntlet_judge::history::ledger::parse_id);
    let chosen = number.is_some_and(|n| n % ONE_IN == 1);
    let copied = delivery.properties.headers().as_ref().is_some_and(|h| h.contains_key("copy"));
    let odd = match worker.defect() {
        Defect::RetriesByCopy | Defect::DelaysByCopy => chosen && !copied,
        Defect::SetsAside | Defect::Rejects => chosen,
        _ => false,
    };
    if !odd {
        return Ok(false);
    }
    // A handler that gives up at once.
    let tried = worker.job().handle(id.as_deref(), delivery.redelivered).now_or_never();
    let tag = delivery.delivery_tag;
    if tried.is_some() || worker.defect() == Defect::Rejects {
        let done = matches!(tried, Some(Ok(())));
        let reject = BasicRejectOptions { requeue: false };
        match done {
            true => worker.step(channel.basic_ack(tag, BasicAckOptions::default())).await?,
            false => worker.step(channel.basic_reject(tag, reject)).await?,
        }
        return Ok(true);
    }
    let to = match worker.defect() {
        Defect::RetriesByCopy => worker.job().queue.clone(),
        _ => own(worker),
    };
    let mut headers = FieldTable::default();
    headers.insert("copy".into(), AMQPValue::Boolean(true));
    let properties = delivery.properties.clone().with_headers(headers);
    let options = BasicPublishOptions::default();
    let confirm = channel.basic_publish("".into(), to.into(), options, &delivery.data, properties);
    worker.step(async { confirm.await?.await.map(drop) }).await?;
    worker.step(channel.basic_ack(tag, BasicAckOptions::default())).await?;
    Ok(true)
}

/// Polls instead of subscribing, until there is nothing more to take.
pub(super) async fn poll(worker: &Worker) -> Result<(), Error> {
    let channel = worker.step(worker.channel()).await?;
    while !worker.leaves() {
        let queue = worker.job().queue.as_str().into();
        match worker.step(channel.basic_get(queue, BasicGetOptions::default())).await? {
            Some(message) => {
                worker.has_consumed();
                worker.take(&channel, message.delivery).await?;
            }
            None => {
                worker.has_consumed();
                tokio::select! {
                    () = worker.left() => {}
                    () = sleep_until(Instant::now() + POLLS) => {}
                }
            }
        }
    }
    worker.step(channel.close(200, "done".into())).await
}

/// Takes what comes to its control queue: nothing, here.
pub(super) async fn listen(control: Option<Consumer>) {
    if let Some(mut control) = control {
        while control.next().await.is_some() {}
    }
    std::future::pending().await
}
