//! The habits a mutant can have, and those of consumers that are odd and right: exactly one each.
//!
//! Owns their names and what each means at the place where [`body`](super::body) asks for it. Where a
//! habit takes more than a line it has a file of its own.

/// What a mutant does wrong. `None` is the control's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Defect {
    /// Nothing.
    None,

    // --- connecting ---
    /// A lost connection is not dialed again.
    NeverReconnects,
    /// A lost connection is dialed again by two parties.
    ReconnectsTwice,
    /// A lost connection is a panic.
    PanicsOnLoss,
    /// A failed attempt is the end.
    TransientFatal,
    /// Being refused is one more failed attempt.
    AuthRetry,
    /// No delay between attempts.
    HotLoop,
    /// No deadline on the handshake.
    NoHandshakeDeadline,
    /// No heartbeat asked for.
    HeartbeatsOff,
    /// The connection sends nothing while a handler runs.
    DeafHeartbeats,
    /// The broker's silence is not noticed.
    SilenceUnnoticed,

    // --- consuming ---
    /// basic.qos on the first connection only.
    QosForgotten,
    /// One worker fewer after the first connection.
    ForgetsWorker,
    /// Each worker has several channels, and on each the whole prefetch.
    MultipliesPrefetch,
    /// The end of a consumer on a live connection is not noticed.
    ServerCancelIgnored,
    /// After a while nothing more is taken up, on a connection that is fine.
    Wedges,
    /// A message handled before is handled again.
    NoDedup,
    /// A redelivered message is taken for one handled before.
    SkipsRedelivered,

    // --- settling ---
    /// No acknowledgements asked for.
    AutoAck,
    /// The ack goes before the handler.
    EarlyAck,
    /// The ack goes twice.
    DoubleAck,
    /// Now and then the ack is forgotten.
    ForgetsAck,
    /// Concurrent handlers; whichever is done acks everything before it.
    AckMultiple,
    /// The last ack of the old connection is repeated on the new one.
    StaleTag,

    // --- leaving things behind ---
    /// A connection whose consumer ended stays open when the next is dialed.
    LeaksConnection,
    /// A task for each lost connection.
    LeaksTasks,
    /// A thread for each lost connection.
    LeaksThreads,
    /// A socket for each lost connection.
    LeaksSockets,

    // --- stopping ---
    /// On a stop everything is dropped.
    DropsInFlight,
    /// On a stop what was received and not begun is acked.
    LosesPrefetched,
    /// On a stop it goes on while there is something to do.
    KeepsConsuming,
    /// On a stop while disconnected it waits for the connection.
    StopHangs,
    /// A second stop is not listened to.
    SecondStopIgnored,
    /// After the end something dials once more.
    Resurrects,

    // --- odd, and right ---
    /// What fails is published again to the same queue, confirmed, and acked.
    RetriesByCopy,
    /// The same, by way of a queue that delays it.
    DelaysByCopy,
    /// What fails is published to a queue of its own, confirmed, and acked.
    SetsAside,
    /// What fails is rejected, and dead-lettered.
    Rejects,
    /// basic.get instead of basic.consume.
    Polls,
    /// A control queue beside the work.
    ListensToControl,
    /// A prefetch of its own choice.
    OwnPrefetch,
}
