//! The habit of `ack-multiple`: handlers run concurrently, and whichever is done acks everything up to
//! its own tag, whether the handlers before it are done or not.
//!
//! Stands for batched acks that forget that handlers overtake one another (the other side of rabbot#174,
//! where the batch waits for ever). It never acks a tag that an earlier ack covered.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use lapin::message::Delivery;
use lapin::options::BasicAckOptions;
use lapin::{Channel, Consumer};
use tokio::time::{Instant, sleep_until};

use super::body::Worker;

/// What every other message waits for before it can be handled, so that the one after it is done first.
const LOOK_UP: Duration = Duration::from_millis(5);

/// Consumes until there is nothing more to take, and everything begun is done.
pub(super) async fn consume(
    worker: &Worker,
    channel: &Channel,
    consumer: &mut Consumer,
) -> Result<(), lapin::Error> {
    let mut begun = FuturesUnordered::new();
    let (mut acked, mut more) = (0, true);
    while more || !begun.is_empty() {
        tokio::select! {
            Some(tag) = begun.next(), if !begun.is_empty() => {
                if let Some(tag) = tag
                    && tag > acked
                {
                    worker.step(channel.basic_ack(tag, BasicAckOptions { multiple: true })).await?;
                    acked = tag;
                }
            }
            delivery = worker.next(consumer), if more => match delivery {
                Some(delivery) => begun.push(handle(worker, delivery?)),
                None => more = false,
            },
        }
    }
    Ok(())
}

/// The delivery's tag once it is handled.
async fn handle(worker: &Worker, delivery: Delivery) -> Option<u64> {
    if !delivery.delivery_tag.is_multiple_of(2) {
        sleep_until(Instant::now() + LOOK_UP).await;
    }
    worker.handle(&delivery).await.ok().map(|()| delivery.delivery_tag)
}
