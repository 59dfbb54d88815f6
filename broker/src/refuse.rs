//! Ends a method with an error of the protocol, in RabbitMQ's words.

/// `Err` with RabbitMQ's words, formatted.
macro_rules! refuse {
    ($code:ident, $($text:tt)*) => {
        return Err($crate::wire::AmqpError::new($crate::wire::Code::$code, format!($($text)*)))
    };
}
pub(crate) use refuse;
