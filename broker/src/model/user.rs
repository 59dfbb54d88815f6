//! Users, their passwords and what they may touch in which virtual host.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use regex::Regex;
use sha2::{Digest as _, Sha256};

use super::Name;

/// A regular expression of a permission or policy; matching anywhere in the name, as RabbitMQ's do.
#[derive(Clone, Debug)]
pub struct Pattern {
    text: String,
    regex: Option<Regex>,
}

/// A pattern is no regular expression.
#[derive(Clone, Debug, thiserror::Error)]
#[error("failed to read {pattern:?} as a regular expression: {why}")]
pub struct BadPattern {
    pattern: String,
    why: String,
}

impl Pattern {
    /// Reads one. Nothing at all means `^$`, in permissions.
    pub fn new(text: &str) -> Result<Pattern, BadPattern> {
        // Most are this one, and every publish asks.
        if text == ".*" {
            return Ok(Pattern { text: text.to_owned(), regex: None });
        }
        let used = if text.is_empty() { "^$" } else { text };
        let regex = Regex::new(used)
            .map_err(|error| BadPattern { pattern: text.to_owned(), why: error.to_string() })?;
        Ok(Pattern { text: text.to_owned(), regex: Some(regex) })
    }

    /// Reads one. Nothing at all matches everything, in policies.
    pub fn of_names(text: &str) -> Result<Pattern, BadPattern> {
        if text.is_empty() {
            return Ok(Pattern { text: String::new(), regex: None });
        }
        Pattern::new(text)
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it is found in `name`.
    pub fn matches(&self, name: &str) -> bool {
        self.regex.as_ref().is_none_or(|regex| regex.is_match(name))
    }
}

/// What one may do in a virtual host.
#[derive(Clone, Debug)]
pub struct Permission {
    /// Declare and delete.
    pub configure: Pattern,
    /// Publish, bind to.
    pub write: Pattern,
    /// Consume, bind from.
    pub read: Pattern,
}

impl Permission {
    /// From three expressions.
    pub fn new(configure: &str, write: &str, read: &str) -> Result<Permission, BadPattern> {
        Ok(Permission {
            configure: Pattern::new(configure)?,
            write: Pattern::new(write)?,
            read: Pattern::new(read)?,
        })
    }

    /// The pattern for one kind of access.
    pub const fn pattern(&self, access: Access) -> &Pattern {
        match access {
            Access::Configure => &self.configure,
            Access::Write => &self.write,
            Access::Read => &self.read,
        }
    }
}

/// A kind of access to a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Declare and delete.
    Configure,
    /// Publish, bind to.
    Write,
    /// Consume, bind from.
    Read,
}

impl Access {
    /// As RabbitMQ names it.
    pub const fn name(self) -> &'static str {
        match self {
            Access::Configure => "configure",
            Access::Write => "write",
            Access::Read => "read",
        }
    }
}

/// Of a password: a salt and SHA-256 of salt and password, as RabbitMQ keeps it. An empty one fits no password.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hash(Vec<u8>);

/// Bytes of a salt.
const SALT: usize = 4;

impl Hash {
    /// Of `password`.
    pub fn of(salt: u32, password: &[u8]) -> Hash {
        let salt = salt.to_be_bytes();
        let digest = Sha256::new().chain_update(salt).chain_update(password).finalize();
        Hash([&salt[..], &digest[..]].concat())
    }

    /// From what [`Hash::text`] gives; none if it is no base64.
    pub fn read(text: &str) -> Option<Hash> {
        BASE64_STANDARD.decode(text).ok().map(Hash)
    }

    /// In base64.
    pub fn text(&self) -> String {
        BASE64_STANDARD.encode(&self.0)
    }

    fn fits(&self, password: &[u8]) -> bool {
        self.0
            .first_chunk::<SALT>()
            .is_some_and(|salt| Hash::of(u32::from_be_bytes(*salt), password) == *self)
    }
}

/// Somebody who may log in.
#[derive(Clone, Debug)]
pub struct User {
    /// Their name.
    pub name: Name,
    /// What their password must fit.
    pub password: Hash,
    /// Like `administrator`.
    pub tags: Vec<String>,
    /// By virtual host.
    pub permissions: BTreeMap<Name, Permission>,
}

/// All users.
#[derive(Clone, Debug, Default)]
pub struct Users(pub BTreeMap<Name, User>);

impl Users {
    /// Whether the password is theirs.
    pub fn authenticate(&self, name: &str, password: &[u8]) -> Option<Name> {
        let user = self.0.get(name)?;
        user.password.fits(password).then(|| user.name.clone())
    }

    /// What `user` may do in `vhost`.
    pub fn permission(&self, user: &str, vhost: &str) -> Option<&Permission> {
        self.0.get(user)?.permissions.get(vhost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_anywhere() {
        let check = |pattern: &str, name: &str, expect: bool| {
            let pattern = Pattern::new(pattern).expect("it is an expression");
            assert_eq!(pattern.matches(name), expect, "{} {name}", pattern.text());
        };
        check(".*", "x", true);
        check("", "x", false);
        check("", "", true);
        check("ab", "cabd", true);
        check("^ab", "cab", false);
        assert!(Pattern::new("(").is_err());
        let any = Pattern::of_names("").expect("it is an expression");
        assert!(any.matches("x") && any.text().is_empty());
    }

    #[test]
    fn a_hash_fits_its_password_alone() {
        // RabbitMQ's own example.
        let hash = Hash::read("kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR");
        let hash = hash.expect("it is base64");
        assert!(hash.fits(b"test12") && !hash.fits(b"test13"));
        assert_eq!(Hash::read(&Hash::of(7, b"x").text()), Some(Hash::of(7, b"x")));
        assert!(!Hash::default().fits(b"") && !Hash::of(7, b"x").fits(b""));
        assert_eq!(Hash::read("!!"), None);
    }
}
