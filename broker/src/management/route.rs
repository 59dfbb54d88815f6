//! Which handler answers which path and method: one table, made of each concern's own.
//!
//! A path names its parts in braces; `{vhost}` is a virtual host that must be there, and one that the user sees.

use std::net::SocketAddr;

use super::access::{self, Need};
use super::answer::Answer;
use super::request::{Head, Object, Request};
use super::{
    bindings, connections, exchanges, list, messages, node, policies, queues, users, vhosts,
};
use crate::core::Core;
use crate::model::Name;

/// A name has so many bytes at most.
const LONGEST: usize = 255;

pub(super) type Reply = Result<Answer, Answer>;

/// What can be done with a resource.
pub(super) type Method = (&'static str, Need, fn(&mut Call<'_>) -> Reply);

/// A kind of path and what can be done with it.
#[derive(Debug)]
pub(super) struct Resource {
    pub path: &'static str,
    pub methods: &'static [Method],
}

/// Within each, what is more special stands before what is more general.
const TABLES: &[&[Resource]] = &[
    node::RESOURCES,
    connections::RESOURCES,
    messages::RESOURCES,
    queues::RESOURCES,
    exchanges::RESOURCES,
    bindings::RESOURCES,
    policies::RESOURCES,
    users::RESOURCES,
    vhosts::RESOURCES,
];

/// A request's resource and method.
pub(super) struct Found {
    resource: &'static Resource,
    method: &'static Method,
}

/// A request at work on the core.
pub(super) struct Call<'a> {
    pub core: &'a mut Core,
    pub user: Name,
    pub request: &'a Request<'a>,
    /// Where management listens.
    pub addr: SocketAddr,
    /// What the braces of the path stand for, without the virtual host.
    names: Vec<&'a str>,
    vhost: &'a str,
}

impl<'a> Call<'a> {
    /// What the braces of the path stand for, from 0, the virtual host apart.
    pub fn name(&self, at: usize) -> &'a str {
        self.names.get(at).copied().unwrap_or_default()
    }

    /// The virtual host of the path.
    pub fn vhost(&self) -> &'a str {
        self.vhost
    }

    /// Whether the path has none, or it is this one.
    pub fn is_here(&self, vhost: &str) -> bool {
        if self.vhost.is_empty() { self.sees(vhost) } else { self.vhost == vhost }
    }

    /// The body.
    pub fn object(&self) -> Result<Object, Answer> {
        self.request.object()
    }
}

/// Whether a path fits, and what its braces stand for.
fn fits<'a>(pattern: &str, path: &'a [String]) -> Option<Vec<(bool, &'a str)>> {
    let mut names = Vec::new();
    let mut parts = pattern.split('/');
    for segment in path {
        let part = parts.next()?;
        if part.starts_with('{') {
            names.push((part == "{vhost}", &**segment));
        } else if part != segment {
            return None;
        }
    }
    parts.next().is_none().then_some(names)
}

fn allow(resource: &Resource) -> String {
    let has_get = resource.methods.iter().any(|(method, ..)| *method == "GET");
    let mut all: Vec<&str> = if has_get { vec!["HEAD"] } else { Vec::new() };
    all.extend(resource.methods.iter().map(|(method, ..)| *method));
    all.push("OPTIONS");
    all.join(", ")
}

/// Finds what answers a request; otherwise says what RabbitMQ says.
pub(super) fn find(head: &Head) -> Result<Found, Answer> {
    let path = head.path.as_ref().ok_or_else(Answer::unknown)?;
    let mut all = TABLES.iter().copied().flatten();
    let resource = all.find(|it| fits(it.path, path).is_some()).ok_or_else(Answer::unknown)?;
    let wanted = if head.method == "HEAD" { "GET" } else { &head.method };
    match resource.methods.iter().find(|(method, ..)| *method == wanted) {
        Some(method) => Ok(Found { resource, method }),
        None if wanted == "OPTIONS" => Err(Answer::options(allow(resource))),
        None => Err(Answer::not_allowed(allow(resource))),
    }
}

impl Found {
    /// Checks the user's rights and answers.
    pub fn call(&self, core: &mut Core, request: &Request<'_>, addr: SocketAddr) -> Reply {
        let user = access::log_in(core, request.head)?;
        let path = request.head.path.as_deref().unwrap_or_default();
        let names = fits(self.resource.path, path).unwrap_or_default();
        let vhost = names.iter().find(|(is_vhost, _)| *is_vhost).map(|(_, name)| *name);
        let names = names.iter().filter(|(is_vhost, _)| !is_vhost).map(|(_, name)| *name).collect();
        let vhost_or_none = vhost.unwrap_or_default();
        let mut call = Call { core, user, request, addr, names, vhost: vhost_or_none };
        let (method, need, handler) = self.method;
        call.check(*need)?;
        // What does not fit a short string is no name of anything.
        if call.names.iter().chain(&vhost).any(|name| name.len() > LONGEST) {
            return Err(Answer::bad(format!("a name of more than {LONGEST} bytes")));
        }
        if let Some(vhost) = vhost {
            if !call.sees(vhost) {
                return Err(Answer::forbidden("User not authorised to access virtual host"));
            }
            if !call.core.model.vhosts.contains_key(vhost) {
                return Err(match *method {
                    "PUT" | "POST" => Answer::missing("vhost_not_found"),
                    _ => Answer::unknown(),
                });
            }
        }
        let answer = handler(&mut call)?;
        if *method == "GET" { list::shaped(answer, request.head) } else { Ok(answer) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(method: &str, path: &[&str]) -> Head {
        let path = path.iter().map(|part| (*part).to_owned()).collect();
        Head { method: method.to_owned(), path: Some(path), ..Head::default() }
    }

    #[test]
    fn the_first_path_that_fits_answers() {
        let check = |path: &[&str], expect: Option<&str>| {
            let found = find(&head("GET", path));
            assert_eq!(found.ok().map(|found| found.resource.path), expect, "{path:?}");
        };
        check(&["queues"], Some("queues"));
        check(&["queues", "/", "q"], Some("queues/{vhost}/{queue}"));
        check(&["queues", "/", "bindings"], Some("queues/{vhost}/{queue}"));
        check(&["queues", "/", "q", "bindings"], Some("queues/{vhost}/{queue}/bindings"));
        check(&["queues", "/", "q", "nothing"], None);
        check(&[""], None);
    }

    #[test]
    fn what_is_not_allowed_is_told_what_is() {
        let check = |method: &str, path: &[&str], status: u16, expect: &str| {
            let refused = find(&head(method, path)).err().expect("it is refused");
            assert_eq!((refused.status, refused.allow.as_deref()), (status, Some(expect)));
        };
        check("DELETE", &["overview"], 405, "HEAD, GET, OPTIONS");
        check("OPTIONS", &["overview"], 200, "HEAD, GET, OPTIONS");
        check("GET", &["queues", "/", "q", "get"], 405, "POST, OPTIONS");
    }

    #[test]
    fn no_path_hides_behind_another() {
        for resource in TABLES.iter().copied().flatten() {
            let plain = resource.path.replace(['{', '}'], "");
            let path: Vec<String> = plain.split('/').map(str::to_owned).collect();
            let first = TABLES.iter().copied().flatten().find(|it| fits(it.path, &path).is_some());
            assert_eq!(first.map(|it| it.path), Some(resource.path));
        }
    }
}
