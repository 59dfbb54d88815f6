//! What users write: a handler, and how it says that it failed.

use std::{future::Future, pin::Pin, sync::Arc};

use crate::message::Message;

/// Why a handler failed, and whether running it again may help.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{reason}")]
pub struct HandlerError {
    reason: String,
    retryable: bool,
}

impl HandlerError {
    /// A passing trouble (a timeout, a deadlock): run the handler again, within the retry limit.
    pub fn retry(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), retryable: true }
    }

    /// No use in trying again: the failure policy decides at once.
    pub fn reject(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), retryable: false }
    }

    /// Whether it may be tried again.
    pub fn is_retryable(&self) -> bool {
        self.retryable
    }
}

/// Handles one message. Async closures implement it.
///
/// It runs on the runtime that called [`Consumer::run`](crate::Consumer::run); the connection lives on
/// a thread of its own, so a handler that blocks does not stop heartbeats. A handler past its
/// deadline, or at an abort, is dropped at its next await point.
pub trait Handler: Send + Sync + 'static {
    /// Handle the message; `Ok` lets it be acknowledged.
    fn handle(
        &self,
        message: Arc<Message>,
    ) -> impl Future<Output = Result<(), HandlerError>> + Send;
}

impl<F, Fut> Handler for F
where
    F: Fn(Arc<Message>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<(), HandlerError>> + Send,
{
    fn handle(
        &self,
        message: Arc<Message>,
    ) -> impl Future<Output = Result<(), HandlerError>> + Send {
        self(message)
    }
}

pub(crate) type HandlerFuture<'a> =
    Pin<Box<dyn Future<Output = Result<(), HandlerError>> + Send + 'a>>;

/// [`Handler`] with its future boxed, so that the machinery is compiled once.
pub(crate) trait AnyHandler: Send + Sync + 'static {
    fn call(&self, message: Arc<Message>) -> HandlerFuture<'_>;
}

impl<H: Handler> AnyHandler for H {
    fn call(&self, message: Arc<Message>) -> HandlerFuture<'_> {
        Box::pin(self.handle(message))
    }
}
