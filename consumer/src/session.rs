//! One channel's life: open, qos, consume, receive, settle, drain, close.
//!
//! What becomes of one delivery is `delivery.rs`; why and when to reopen is `worker.rs`.

use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use futures_util::{
    StreamExt,
    future::{Either, select},
    stream::FuturesUnordered,
};
use lapin::{
    Channel,
    message::Delivery,
    options::{BasicCancelOptions, BasicConsumeOptions, BasicQosOptions},
    types::FieldTable,
};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::{
    context::Context,
    delivery::{decide, settle},
    event::Event,
    handling::Verdict,
    link::Link,
    message::{Epoch, Message},
    trouble::{ConsumeError, Phase},
};

type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// How a session ended.
#[derive(Debug)]
pub(crate) enum End {
    /// Its connection is gone.
    LinkLost,
    /// Its channel failed; the connection lives.
    ChannelLost(ConsumeError),
    /// The server cancelled the consumer; the channel lives, with work in flight.
    Cancelled,
    /// A stop was asked for.
    Stop,
}

/// An open channel with a confirmed consumer.
pub(crate) struct Session {
    context: Arc<Context>,
    link: Arc<Link>,
    worker: usize,
    epoch: Epoch,
    channel: Channel,
    consumer: lapin::Consumer,
    /// Cancelled when the channel is known to be gone.
    gone: CancellationToken,
    /// Cancelled when nothing new may start on this channel.
    ending: CancellationToken,
    /// Received, not begun; never more than the prefetch.
    waiting: VecDeque<Delivery>,
    /// Received, not yet being settled: what the broker must count against the prefetch.
    held: Arc<AtomicUsize>,
    /// Begun: at most `concurrency`.
    begun: FuturesUnordered<Work>,
    consuming: bool,
}

async fn within<T>(
    limit: Duration,
    phase: Phase,
    step: impl Future<Output = lapin::Result<T>>,
) -> Result<T, ConsumeError> {
    match timeout(limit, step).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(ConsumeError::from_lapin(&error, phase)),
        Err(_) => Err(ConsumeError::Timeout { phase, limit }),
    }
}

impl Session {
    /// Open a channel, apply the prefetch, consume: in this order, each within its deadline. `None`
    /// when a stop came before it consumed.
    pub(crate) async fn open(
        context: Arc<Context>,
        link: Arc<Link>,
        worker: usize,
    ) -> Result<Option<Self>, ConsumeError> {
        let settings = context.settings.clone();
        let deadlines = &settings.deadlines;
        let open = link.connection.create_channel();
        let channel =
            within(deadlines.channel, Phase::Channel, open).await.inspect_err(|trouble| {
                // At a stop, connection.close is asked for all the same.
                if matches!(trouble, ConsumeError::Timeout { .. }) && !context.stop.is_cancelled() {
                    link.suspect();
                }
            })?;
        link.altered.forget(channel.id());
        let epoch = Epoch { connection: link.number, channel: context.next_channel() };
        let subscribe = async {
            let qos = channel.basic_qos(settings.prefetch, BasicQosOptions::default());
            within(deadlines.qos, Phase::Qos, qos).await?;
            if context.stop.is_cancelled() {
                return Ok(None);
            }
            let tag = format!("{}-{worker}-{epoch}", settings.name);
            let options =
                BasicConsumeOptions { exclusive: settings.exclusive, ..Default::default() };
            let queue = settings.queue.as_str().into();
            let consume = channel.basic_consume(queue, tag.into(), options, FieldTable::default());
            within(deadlines.consume, Phase::Consume, consume).await.map(Some)
        };
        let consumer = match subscribe.await {
            Ok(Some(consumer)) => consumer,
            Ok(None) => {
                close(&channel, deadlines.close, &link).await;
                return Ok(None);
            }
            Err(trouble) => {
                close(&channel, deadlines.channel, &link).await;
                return Err(trouble);
            }
        };
        let consumer_tag = consumer.tag().to_string();
        context.set_consumed();
        context.board.emit(Event::Consuming { worker, epoch, consumer_tag });
        Ok(Some(Self {
            gone: link.lost.child_token(),
            ending: context.stop.child_token(),
            context,
            link,
            worker,
            epoch,
            channel,
            consumer,
            waiting: VecDeque::new(),
            held: Arc::default(),
            begun: FuturesUnordered::new(),
            consuming: true,
        }))
    }

    /// Receive and handle until something ends it.
    pub(crate) async fn run(&mut self) -> End {
        let end = self.receive().await;
        self.not_consuming();
        if matches!(end, End::LinkLost | End::ChannelLost(_)) {
            self.gone.cancel();
        }
        self.ending.cancel();
        end
    }

    async fn receive(&mut self) -> End {
        loop {
            self.begin();
            tokio::select! {
                biased;
                () = self.context.stop.cancelled() => return End::Stop,
                () = self.link.lost.cancelled() => return End::LinkLost,
                Some(()) = self.begun.next(), if !self.begun.is_empty() => {}
                item = self.consumer.next() => match item {
                    Some(Ok(delivery)) => {
                        if !self.take(delivery) {
                            return End::LinkLost;
                        }
                    }
                    _ if !self.link.connected() => return End::LinkLost,
                    Some(Err(error)) => {
                        return End::ChannelLost(ConsumeError::from_lapin(&error, Phase::Steady));
                    }
                    None if self.channel.status().connected() => return End::Cancelled,
                    None => {
                        let text = "channel closed".to_owned();
                        return End::ChannelLost(ConsumeError::Protocol { code: 0, text });
                    }
                },
            }
        }
    }

    /// Take a delivery in, unless it is more than was asked for: then the connection is given up.
    fn take(&mut self, delivery: Delivery) -> bool {
        let prefetch = self.context.settings.prefetch;
        if self.held.load(Relaxed) >= usize::from(prefetch) {
            self.link.condemn(ConsumeError::Overrun { prefetch });
            return false;
        }
        self.held.fetch_add(1, Relaxed);
        self.waiting.push_back(delivery);
        true
    }

    /// Begin what may begin.
    fn begin(&mut self) {
        while self.begun.len() < self.context.settings.concurrency
            && let Some(mut delivery) = self.waiting.pop_front()
        {
            let mut message = Message::from_delivery(&mut delivery, self.epoch, self.worker);
            message.altered = self.link.altered.take(self.channel.id(), message.delivery_tag);
            if !message.altered.is_empty() {
                let (id, fields) = (message.label(), message.altered.clone());
                self.context.board.emit(Event::Altered { id, fields });
            }
            let (context, gone) = (self.context.clone(), self.gone.clone());
            let (ending, acker) = (self.ending.clone(), delivery.acker);
            let (held, link) = (self.held.clone(), self.link.clone());
            self.begun.push(Box::pin(async move {
                let id = message.label();
                let verdict = decide(&context, message, &gone, &ending).await;
                // Before the broker can know: it may send the next one at once.
                held.fetch_sub(1, Relaxed);
                if !settle(&context, id, verdict, &acker, &gone).await {
                    link.condemn(unwritten(&context));
                }
            }));
        }
    }

    /// Leave in good order: no new work, finish what runs, return the rest, close the channel.
    ///
    /// Unbounded by itself: the supervisor bounds it, and a lost connection ends it.
    pub(crate) async fn finish(mut self, end: &End) {
        match end {
            End::LinkLost | End::ChannelLost(_) => return,
            End::Cancelled => {}
            End::Stop => self.cancel().await,
        }
        if !self.link.is_suspect() {
            self.give_back().await;
        }
        while !self.gone() && !self.begun.is_empty() {
            tokio::select! {
                _ = self.begun.next() => {}
                () = self.link.lost.cancelled() => return,
            }
        }
        close(&self.channel, self.context.settings.deadlines.close, &self.link).await;
    }

    /// basic.cancel, and collect what was still on its way, while begun work goes on.
    async fn cancel(&mut self) {
        let (channel, tag) = (self.channel.clone(), self.consumer.tag());
        let limit = self.context.settings.deadlines.close;
        let mut cancel = Box::pin(timeout(limit, async move {
            channel.basic_cancel(tag, BasicCancelOptions::default()).await
        }));
        let mut waits = true;
        loop {
            tokio::select! {
                biased;
                () = self.link.lost.cancelled() => return,
                Some(()) = self.begun.next(), if !self.begun.is_empty() => {}
                // The stream ends with cancel-ok, after everything that came before it.
                item = self.consumer.next() => match item {
                    Some(Ok(delivery)) => {
                        if !self.take(delivery) {
                            return;
                        }
                    }
                    _ => return,
                },
                result = &mut cancel, if waits => match result {
                    Ok(Ok(())) => waits = false,
                    Ok(Err(_)) => return,
                    Err(_) => return self.link.suspect(),
                },
            }
        }
    }

    /// Return what was received and never begun, so that others get it before the channel closes.
    async fn give_back(&mut self) {
        for delivery in std::mem::take(&mut self.waiting) {
            let message_id = delivery.properties.message_id().as_ref().map(ToString::to_string);
            let id =
                message_id.unwrap_or_else(|| format!("{}#{}", self.epoch, delivery.delivery_tag));
            if !settle(&self.context, id, Verdict::Return, &delivery.acker, &self.gone).await {
                return self.link.condemn(unwritten(&self.context));
            }
        }
    }

    pub(crate) fn epoch(&self) -> Epoch {
        self.epoch
    }

    fn gone(&self) -> bool {
        self.gone.is_cancelled() || !self.channel.status().connected()
    }

    fn not_consuming(&mut self) {
        if std::mem::take(&mut self.consuming) {
            self.context.board.not_consuming();
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.not_consuming();
    }
}

/// A settlement that waits for the socket keeps its place in the prefetch for as long as the channel lives.
fn unwritten(context: &Context) -> ConsumeError {
    let limit = context.settings.deadlines.ack;
    ConsumeError::Network {
        phase: Phase::Steady,
        text: format!("an acknowledgement could not be written within {limit:?}"),
    }
}

/// Close a channel that lapin still takes for open; never through its drop, whose failure lapin
/// turns into a connection error.
async fn close(channel: &Channel, limit: Duration, link: &Link) {
    if !channel.status().connected() || !link.connected() || link.is_suspect() {
        return;
    }
    let close = Box::pin(timeout(limit, channel.close(200, "done".into())));
    let lost = Box::pin(link.lost.cancelled());
    if let Either::Left((Err(_), _)) = select(close, lost).await {
        link.suspect();
        tracing::warn!("the broker does not answer channel.close");
    }
}
