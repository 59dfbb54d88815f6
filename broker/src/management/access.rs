//! Who asks, and what they may: tags for management, permissions for what is in a virtual host.

use super::answer::Answer;
use super::request::Head;
use super::route::Call;
use crate::core::Core;
use crate::model::user::{Access, User};
use crate::model::{Name, exchange_in, queue_in};
use crate::wire::{AmqpError, Code};

/// The tag a user needs; a later one includes those before it, but that monitors make no policies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// Any of the tags there are.
    Management,
    /// To make policies.
    Policymaker,
    /// To see what is everybody's.
    Monitoring,
    /// To change what is everybody's.
    Administrator,
}

/// The user whose name and password these are.
pub(super) fn log_in(core: &Core, head: &Head) -> Result<Name, Answer> {
    let (user, password) = head.login.as_ref().ok_or_else(Answer::log_in)?;
    core.model.users.authenticate(user, password.as_bytes()).ok_or_else(Answer::stranger)
}

fn has_tag(user: &User, tags: &[&str]) -> bool {
    user.tags.iter().any(|tag| tags.contains(&&**tag))
}

impl Call<'_> {
    fn has_tag(&self, tags: &[&str]) -> bool {
        self.core.model.users.0.get(&self.user).is_some_and(|user| has_tag(user, tags))
    }

    /// Whether they see what is everybody's.
    pub fn is_monitor(&self) -> bool {
        self.has_tag(&["monitoring", "administrator"])
    }

    /// Whether they change what is everybody's.
    pub fn is_administrator(&self) -> bool {
        self.has_tag(&["administrator"])
    }

    /// Refuses users without the tag.
    pub fn check(&self, need: Need) -> Result<(), Answer> {
        let all = &["management", "policymaker", "monitoring", "administrator"];
        let (tags, reason): (&[&str], _) = match need {
            Need::Management => (all, "Not management user"),
            Need::Policymaker => {
                (&["policymaker", "administrator"], "User not authorised to access object")
            }
            Need::Monitoring => (&["monitoring", "administrator"], "Not monitor user"),
            Need::Administrator => (&["administrator"], "Not administrator user"),
        };
        // A user without any tag is told that first.
        if !self.has_tag(all) {
            return Err(Answer::forbidden("Not management user"));
        }
        if self.has_tag(tags) { Ok(()) } else { Err(Answer::forbidden(reason)) }
    }

    /// Whether a virtual host is any of their business.
    pub fn sees(&self, vhost: &str) -> bool {
        self.is_monitor() || self.core.model.users.permission(&self.user, vhost).is_some()
    }

    /// Refuses what the user has no permission for. The default exchange is called by its empty name.
    pub fn permit(&self, access: Access, thing: Thing<'_>) -> Result<(), AmqpError> {
        let vhost = self.vhost();
        let (name, shown) = match thing {
            Thing::Exchange("") => ("amq.default", exchange_in(vhost, "amq.default")),
            Thing::Exchange(name) => (name, exchange_in(vhost, name)),
            Thing::Queue(name) => (name, queue_in(vhost, name)),
        };
        let permission = self.core.model.users.permission(&self.user, vhost);
        if permission.is_some_and(|permission| permission.pattern(access).matches(name)) {
            return Ok(());
        }
        let access = access.name();
        let text = format!("{access} access to {shown} refused for user '{}'", self.user);
        Err(AmqpError::new(Code::AccessRefused, text))
    }
}

/// What a permission is about.
#[derive(Clone, Copy, Debug)]
pub(super) enum Thing<'a> {
    Exchange(&'a str),
    Queue(&'a str),
}
