//! Logging in: PLAIN, AMQPLAIN and ANONYMOUS.

use crate::core::Core;
use crate::model::Name;
use crate::refuse::refuse;
use crate::wire::{AmqpError, Code, Value, erlang_binary, table};

impl Core {
    /// The user that `response` proves, by `mechanism`.
    pub(super) fn authenticate(&self, mechanism: &str, response: &[u8]) -> Result<Name, AmqpError> {
        let (user, password) = match mechanism {
            "PLAIN" => plain(response)?,
            "AMQPLAIN" => amqplain(response)?,
            "ANONYMOUS" => (b"guest".to_vec(), b"guest".to_vec()),
            other => {
                refuse!(CommandInvalid, "unknown authentication mechanism '{other}'")
            }
        };
        std::str::from_utf8(&user)
            .ok()
            .and_then(|user| self.model.users.authenticate(user, &password))
            .ok_or_else(|| {
                AmqpError::new(
                    Code::AccessRefused,
                    format!(
                        "Login was refused using authentication mechanism {mechanism}. For \
                         details see the broker logfile."
                    ),
                )
            })
    }
}

type Login = (Vec<u8>, Vec<u8>);

fn plain(response: &[u8]) -> Result<Login, AmqpError> {
    let mut parts = response.split(|byte| *byte == 0);
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some([]), Some(user), Some(password), None) => Ok((user.to_vec(), password.to_vec())),
        _ => refuse!(SyntaxError, "response {} invalid", erlang_binary(response)),
    }
}

fn amqplain(response: &[u8]) -> Result<Login, AmqpError> {
    // The table comes without its size.
    let login = table::read(response).map_err(|_| AmqpError::internal())?;
    let bytes = |key: &str| match login.get(key) {
        Some(Value::Long(bytes) | Value::Binary(bytes)) => Some(bytes.clone()),
        _ => None,
    };
    match (bytes("LOGIN"), bytes("PASSWORD")) {
        (Some(user), Some(password)) => Ok((user, password)),
        _ => refuse!(SyntaxError, "AMQPLAIN auth info [] is missing LOGIN or PASSWORD field"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_is_nothing_user_password() {
        let check = |response: &[u8], expect: Option<(&str, &str)>| {
            let expect = expect.map(|(u, p)| (u.as_bytes().to_vec(), p.as_bytes().to_vec()));
            assert_eq!(plain(response).ok(), expect);
        };
        check(b"\0guest\0secret", Some(("guest", "secret")));
        check(b"\0guest\0", Some(("guest", "")));
        check(b"guest\0secret", None);
        check(b"\0guest", None);
        check(b"", None);
    }
}
